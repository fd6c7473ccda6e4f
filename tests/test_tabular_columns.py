"""Columns of tables: what is found in a frame, the numbers that stand for it, and the way back."""

import datetime
import json

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from flowzoo.frames import form_of, in_form, to_pandas
from flowzoo.tabular import Schema
from flowzoo.tabular.layout import Layout
from flowzoo.tabular.schema import Column
from flowzoo.tabular.storage import schema_from_json, schema_to_json
from flowzoo.tabular.transforms import from_line, to_line


def mixed():
    """Eight rows of every kind of column."""
    return pd.DataFrame(
        {
            "real": [0.5, -1.25, 3.0, 2.5, 0.1, 7.0, -2.0, 0.0],
            "single": np.array([0.5, 1.5, 2.25, 0.125, 3, 4, 5, 6], "float32"),
            "whole": [1, 5, 2, 2, 3, 4, 1, 1],
            "nullable": pd.array([1, None, 3, 400, 5, 6, 7, 8], "Int64"),
            "flag": [True, False, True, True, False, True, True, True],
            "text": ["a", "b", None, "a", "a", "c", "b", "a"],
            "group": pd.Categorical(list("xyxyxyxy"), categories=["y", "x", "z"], ordered=True),
            "day": pd.to_datetime(["2020-01-01", "2021-05-06"] * 4),
            "time": pd.to_datetime(["2020-01-01 10:30", "2021-05-06 11:45"] * 4).tz_localize("Europe/Vienna"),
            "waited": pd.to_timedelta([1.5, 2.25, 3, 4, 5, 6, 7, 8], "h"),
            "always": 3,
        }
    )


COLUMNS = {
    "linear": Column("x", "real"),
    "asinh": Column("x", "real", transform="asinh", pivot=3.0, unit=2.0),
    "log": Column("x", "real", low=-1.0, transform="log"),
    "log from above": Column("x", "real", high=9.0, transform="log"),
    "softplus": Column("x", "real", low=-1.0, transform="softplus", unit=0.5),
    "softplus from above": Column("x", "real", high=9.0, transform="softplus", unit=0.5),
    "logit": Column("x", "real", low=-1.0, high=9.0, transform="logit"),
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_transforms_invert_and_know_their_slope(column):
    x = np.linspace(-0.9, 8.9, 50)
    u, log_slope = to_line(column, x)
    np.testing.assert_allclose(from_line(column, u), x, rtol=1e-9, atol=1e-9)
    step = 1e-5
    slope = (to_line(column, x + step)[0] - to_line(column, x - step)[0]) / (2 * step)
    np.testing.assert_allclose(np.log(slope), log_slope, atol=1e-6)


@pytest.mark.parametrize("name", ["log", "softplus", "logit", "log from above"])
def test_values_on_a_bound_have_finite_densities_and_nothing_comes_out_of_bounds(name):
    column = COLUMNS[name]
    ends = np.array([bound for bound in (column.low, column.high) if bound is not None])
    assert all(np.isfinite(part).all() for part in to_line(column, ends))
    out = from_line(column, np.array([-1e4, -50, 0, 50, 1e4]))
    assert np.isfinite(out).all()
    assert column.low is None or (out > column.low).all()
    assert column.high is None or (out < column.high).all()


def test_kinds_are_inferred():
    kinds = {column.name: column.kind for column in Schema.infer(mixed()).columns}
    assert kinds == {
        "real": "real",
        "single": "real",
        "whole": "integer",
        "nullable": "integer",
        "flag": "category",
        "text": "category",
        "group": "category",
        "day": "integer",
        "time": "real",
        "waited": "real",
        "always": "constant",
    }


def test_a_schema_prints_its_columns():
    text = repr(Schema.infer(mixed(), {"real": {"low": -3}}))
    assert "real      real      float64" in text
    assert "from -3 to inf, softplus" in text
    assert "3: y, x, z" in text
    assert "always 3" in text


def test_schemas_come_back_from_dicts():
    schema = Schema.infer(mixed())
    assert Schema.from_dicts(schema.as_dicts()) == schema


def test_what_is_said_of_columns_comes_back_from_json():
    said = {
        0: {"low": pd.Timedelta("1h")},
        "d": {"high": pd.Timestamp("2026-01-01")},
        "c": {"values": ["a", "b"]},
    }
    frame = pd.DataFrame({0: pd.to_timedelta([2.5, 3], "h"), "d": pd.to_datetime(["2020-01-01 10:30"] * 2)})
    frame["d"] += frame[0]
    frame["c"] = "a"
    again = schema_from_json(json.loads(json.dumps(schema_to_json(said))))
    assert Schema.infer(frame, again) == Schema.infer(frame, said)
    schema = Schema.infer(frame, said)
    assert schema_from_json(json.loads(json.dumps(schema_to_json(schema)))) == schema


def test_long_tails_are_found():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"normal": rng.normal(size=500), "cauchy": rng.standard_cauchy(500)})
    schema = Schema.infer(frame.assign(wide=np.exp(3 * frame["normal"])), {"wide": {"low": 0}})
    assert [column.transform for column in schema.columns] == ["linear", "asinh", "log"]


def test_frames_come_back_from_numbers():
    frame = mixed()
    layout = Layout(Schema.infer(frame))
    encoded, log_dets = layout.encode(frame)
    assert np.isnan(encoded).sum() == 2
    assert np.isfinite(log_dets).all()
    found = layout.decode(encoded)
    pd.testing.assert_frame_equal(found, frame, rtol=1e-6)


def test_what_is_kept_stays_to_the_last_bit():
    times = pd.to_datetime(["2020-01-01 10:30:00.123456789", None, "2021-05-06 01:02:03.000000001"])
    frame = pd.DataFrame({"time": times.as_unit("ns"), "x": [0.1, 0.2, None]}, index=[5, 6, 7])
    layout = Layout(Schema.infer(frame))
    encoded, _ = layout.encode(frame)
    found = layout.decode(np.nan_to_num(encoded), kept=frame)
    assert not found.isna().any().any()
    assert found[frame.notna()].equals(frame)


@pytest.mark.parametrize(("center", "spread"), [(1e8, 1.0), (1e-6, 1e-9), (-3e15, 1e3), (0, 1e300)])
def test_numbers_of_any_unit_become_standard(center, spread):
    values = center + spread * np.random.default_rng(0).normal(size=100)
    layout = Layout(Schema.infer(pd.DataFrame({"x": values}), {"x": {"kind": "real", "transform": "linear"}}))
    encoded, log_dets = layout.encode(pd.DataFrame({"x": values}))
    assert abs(encoded.mean()) < 1e-3
    assert abs(encoded.std() - 1) < 1e-3
    np.testing.assert_allclose(log_dets, -np.log(np.std(values / spread)) - np.log(spread), rtol=1e-4)
    np.testing.assert_allclose(layout.decode(encoded)["x"], values, rtol=1e-12)


@pytest.mark.parametrize("make", [pl.from_pandas, pa.Table.from_pandas], ids=["polars", "pyarrow"])
def test_frames_of_other_libraries_come_back_as_they_are(make):
    frame = make(mixed().drop(columns=["group"]))
    read = to_pandas(frame)
    layout = Layout(Schema.infer(read))
    found = in_form(layout.decode(layout.encode(read)[0]), form_of(frame))
    assert type(found) is type(frame)
    assert nw.from_native(found).schema == nw.from_native(frame).schema
    nullable = (frame["nullable"].astype("float64") for frame in (to_pandas(found), read))
    pd.testing.assert_series_equal(*nullable)
    found, read = (frame.drop(columns="nullable") for frame in (to_pandas(found), read))
    pd.testing.assert_frame_equal(found, read, check_dtype=False, rtol=1e-6)


def test_polars_keeps_dates_and_enums():
    days = [datetime.date(2020, 1, 1), datetime.date(2021, 5, 6), None]
    frame = pl.DataFrame({"d": days, "e": pl.Series(["a", "b", "a"], dtype=pl.Enum(["b", "a", "c"]))})
    read = to_pandas(frame)
    layout = Layout(Schema.infer(read))
    assert layout.schema["e"].values == ("b", "a", "c")
    assert in_form(layout.decode(layout.encode(read)[0]), form_of(frame)).equals(frame)


FITTED = Layout(Schema.infer(mixed(), {"real": {"low": -3, "high": 9}}))
WRONG = [
    ("text", "d", "'text' has 'd' in row 'third', which is none of the categories 'a', 'b', 'c'"),
    ("real", 9.5, "'real' has 9.5 in row 'third', which lies outside of its bounds, -3.0 to 9.0"),
    ("real", np.inf, "'real' has inf in row 'third', which is infinite"),
    ("whole", 2.5, "'whole' has 2.5 in row 'third', which is no integer"),
    ("always", 4, "'always' has 4 in row 'third', which is not the only value seen in training, 3"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_values_that_do_not_fit_are_named_with_column_and_row(name, value, message):
    frame = mixed().set_axis(["first", "second", "third", *"abcde"], axis=0)
    if isinstance(value, float):
        frame[name] = frame[name].astype("float64")
    frame.loc["third", name] = value
    with pytest.raises(ValueError, match=message):
        FITTED.encode(frame)


@pytest.mark.parametrize(
    ("name", "values"), [("real", list("abcdefgh")), ("day", range(8)), ("whole", ["1"] * 8)]
)
def test_another_dtype_is_named_with_its_column(name, values):
    with pytest.raises(TypeError, match=f"Column '{name}' should be of dtype"):
        FITTED.encode(mixed().assign(**{name: values}))


@pytest.mark.parametrize(
    ("frame", "said", "message"),
    [
        (pd.DataFrame({"x": [np.nan, np.nan]}), {}, "'x' has no value: all 2 are missing"),
        (
            pd.DataFrame({"x": [1.5, 2.0]}),
            {"x": {"kind": "integer"}},
            "'x' has 1.5 in row 0, which is no whole number",
        ),
        (pd.DataFrame({"x": [1.5, np.inf]}), {}, "'x' has inf in row 1, which is infinite"),
        (pd.DataFrame({"x": [1.5, 2.0]}), {"y": {}}, "schema has a column 'y', which the frame has not"),
        (pd.DataFrame({"x": [1.5, 2.0]}), {"x": {"lo": 0}}, r"schema says \['lo'\] of column 'x'"),
        (pd.DataFrame({"x": [1.5, 2.0]}), {"x": {"low": 3, "high": 2}}, "low must lie below high"),
        (pd.DataFrame({"x": [1.5, 2.0]}), {"x": {"kind": "reel"}}, "kinds are real, integer"),
        (
            pd.DataFrame({"x": [1.5, 2.0]}),
            {"x": {"transform": "log"}},
            "takes the transform 'linear' or 'asinh'",
        ),
        (pd.DataFrame({"x": [f"{i}" for i in range(1001)]}), {}, "1,001 different values"),
    ],
)
def test_a_schema_that_cannot_be_is_refused(frame, said, message):
    with pytest.raises(ValueError, match=message):
        Schema.infer(frame, said)


DAYS = pd.date_range("2020", periods=2)
TEXTS = pd.DataFrame({"x": ["1.5", "two"]}, index=["first", "second"])


@pytest.mark.parametrize(
    ("frame", "said", "message"),
    [
        (pd.DataFrame({"x": DAYS.date}), {}, r"'x' has datetime.date\(2020, 1, 1\) in row 0: give numbers"),
        (pd.DataFrame({"x": DAYS.to_period("D")}), {}, r"'x' has Period\('2020-01-01', 'D'\) in row 0"),
        (pd.DataFrame({"x": [1j, 1j]}), {}, "'x' holds complex numbers"),
        (TEXTS, {"x": {"kind": "real"}}, "'x' should hold numbers.* in row 'second'"),
        (TEXTS, {"x": "real"}, "schema must say a dict of column 'x'"),
        (TEXTS, "real", "schema must be a Schema, or a dict"),
    ],
)
def test_columns_of_another_type_are_refused(frame, said, message):
    with pytest.raises(TypeError, match=message):
        Schema.infer(frame, said)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame(np.ones((2, 2)), columns=["x", "x"]), "several columns named 'x'"),
        (pd.DataFrame({"x": []}), "empty"),
        (np.ones(3), "Expected 2D array"),
    ],
)
def test_what_is_no_table_is_refused(frame, message):
    with pytest.raises(ValueError, match=message):
        to_pandas(frame)
