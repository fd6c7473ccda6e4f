"""TableFlow: tables in, tables out."""

import textwrap

import numpy as np
import pandas as pd
import polars as pl
import pytest
from helpers import run_python
from scipy import stats
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from tabular_cases import TABLES, draw_mixture, make_gaps

import flowzoo
from flowzoo.tabular import Schema, TableFlow, parts
from flowzoo.tabular.blocks import BLOCK
from flowzoo.tabular.features import Features


def small(**arguments):
    """A flow that compiles quickly."""
    return flowzoo.MAF(autoregressive_layers=1, hidden_units=(8,), standardize=False, **arguments)


QUICK = {"epochs": 5, "width": 8, "verbose": 0}


@pytest.fixture(scope="module")
def frame():
    return draw_mixture(400, np.random.default_rng(0)).assign(always="same")


@pytest.fixture(scope="module")
def table(frame):
    return TableFlow(small, imputer=True, **QUICK).fit(frame)


@pytest.fixture(scope="module")
def conditional(frame):
    """p(k, y, always | c, x), fitted to a frame with gaps."""
    gaps = make_gaps(frame.drop(columns="always"), np.random.default_rng(1))
    return TableFlow(small, **QUICK).fit(gaps, given=["c", "x"])


@pytest.mark.parametrize(("c", "k"), [("a", 2), ("c", 7)])
def test_the_density_integrates_to_the_probability_of_category_and_count(table, c, k):
    x, y = np.linspace(-14, 16, 100), np.linspace(-12, 16, 100)
    grid = np.array(np.meshgrid(x, y)).reshape(2, -1)
    rows = pd.DataFrame({"c": c, "k": k, "x": grid[0], "y": grid[1], "always": "same"})
    mass = np.exp(table.score_samples(rows)).sum() * (x[1] - x[0]) * (y[1] - y[0])
    encoded, _ = table.layout_.encode(rows[:1])
    assert mass == pytest.approx(np.exp(table.discrete_.log_prob(encoded))[0], rel=1e-3)


def test_probabilities_add_up_to_one(table):
    counts = np.arange(-30, 80)
    rows = pd.DataFrame({"c": np.repeat(list("abc"), len(counts)), "k": np.tile(counts, 3)})
    rows = rows.assign(x=np.nan, y=np.nan, always="same")
    assert np.exp(table.score_samples(rows)).sum() == pytest.approx(1, abs=1e-3)  # the imputer's
    encoded, _ = table.layout_.encode(rows)
    assert np.exp(table.discrete_.log_prob(encoded)).sum() == pytest.approx(1, abs=1e-3)


def test_another_unit_only_shifts_the_density(frame):
    numbers = frame[["x", "y"]]
    scaled = numbers * [1e3, 1e-6] + [1e8, 0]
    first, second = (TableFlow(small, **QUICK).fit(each).score_samples(each) for each in (numbers, scaled))
    np.testing.assert_allclose(second + np.log(1e3) + np.log(1e-6), first, atol=1e-3)


def test_samples_are_frames_like_those_of_training(frame, table):
    drawn = table.sample(50, seed=0)
    assert drawn.shape == (50, 5)
    assert list(drawn.columns) == list(frame.columns)
    assert (drawn.dtypes == frame.dtypes).all()
    assert (drawn["always"] == "same").all()
    pd.testing.assert_frame_equal(drawn, table.sample(50, seed=0))
    assert not drawn.equals(table.sample(50, seed=1))
    assert np.isfinite(table.score_samples(drawn)).all()


def test_samples_given_columns_have_these(table, conditional):
    drawn = table.sample(20, given={"c": "b", "y": 0.25}, seed=0)
    assert (drawn["c"] == "b").all()
    np.testing.assert_allclose(drawn["y"], 0.25, rtol=1e-5)
    drawn = conditional.sample(3, given={"c": ["a", "b", "c"], "x": 1.5}, seed=0)
    assert drawn["c"].tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"sample needs given=\['c'\] too"):
        conditional.sample(3, given={"x": 1.5})
    with pytest.raises(ValueError, match="given has 'z'"):
        table.sample(3, given={"z": 1})


def test_imputation_fills_gaps_and_leaves_the_rest(frame, table):
    gaps = make_gaps(frame, np.random.default_rng(2))
    first, second = table.impute(gaps, 2, seed=0)
    assert (first.dtypes == frame.dtypes).all()
    assert not first.isna().any().any()
    kept = gaps.notna()
    assert first[kept].equals(frame[kept]) or (first[kept].fillna(0) == frame[kept].fillna(0)).all().all()
    assert not first.equals(second)
    pd.testing.assert_frame_equal(table.impute(gaps, seed=0), first)


def test_rows_with_gaps_have_the_density_of_what_is_there(conditional, frame):
    rows = frame.drop(columns="always")[:5]
    rows["k"] = rows["k"].astype("float64")
    gaps = rows.assign(k=np.nan)
    assert (conditional.score_samples(gaps) != conditional.score_samples(rows)).all()
    assert conditional.score_samples(gaps.assign(y=np.nan)) == pytest.approx(np.zeros(5))


def test_ranks_lie_between_0_and_1(frame, table):
    ranks = table.ranks(frame.assign(x=frame["x"].where(frame["x"] > 0)), seed=0)
    assert list(ranks.columns) == ["c", "k", "x", "y"]
    assert ranks.min().min() >= 0
    assert ranks.max().max() <= 1
    assert (ranks["x"].isna() == (frame["x"] <= 0)).all()
    assert np.all(table.ranks(frame, seed=0, draws=4) * 4 % 1 == 0)


def test_the_strangest_rows_come_first(frame, table):
    odd = pd.concat([frame, frame[:1].assign(x=50.0)], ignore_index=True)
    found = table.strangest(odd, 3)
    assert found.index[0] == len(frame)
    np.testing.assert_allclose(found["score"], np.sort(table.score_samples(odd))[:3])


def test_strange_rows_with_gaps_are_found_among_others(frame, table):
    gap = pd.DataFrame({"c": "c", "k": np.nan, "x": [10.0], "y": np.nan, "always": "same"})
    rows = pd.concat([frame, gap], ignore_index=True)
    assert table.score_samples(gap)[0] > table.score_samples(frame).min()  # that of two values
    assert table.strangest(rows, 1).index[0] == len(frame)


def test_features_are_made_for_a_batch_at_a_time(monkeypatch):
    seen, make = [], Features.__call__
    monkeypatch.setattr(Features, "__call__", lambda self, rows: seen.append(len(rows)) or make(self, rows))
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"c": rng.choice(list("ab"), 5000), "x": rng.normal(size=5000)})
    table = TableFlow(small, **QUICK | {"epochs": 1}, batch_size=100, gaussians=False).fit(frame)
    table.score_samples(frame)
    table.sample(5000)
    assert max(seen) <= BLOCK
    assert seen.count(100) >= 2 * 42


def test_arrays_and_polars_frames_come_back_in_kind(frame):
    array = frame[["x", "y"]].to_numpy().astype("float32")
    table = TableFlow(small, **QUICK).fit(array)
    assert table.sample(7, seed=0).dtype == np.float32
    assert table.sample(7, seed=0).shape == (7, 2)
    named = pl.from_pandas(frame[["x", "y"]].astype("float32"))
    table = TableFlow(small, **QUICK).fit(named)
    drawn = table.sample(7, seed=0)
    assert drawn.schema == named.schema
    assert table.strangest(named, 2).columns == ["x", "y", "score"]


def test_a_saved_table_is_the_same_in_another_process(frame, table, conditional, tmp_path):
    wanted = [each.score_samples(frame[each.schema_.names]) for each in (table, conditional)]
    table.save(tmp_path / "a.flow")
    conditional.save(tmp_path / "b.flow")
    frame.to_parquet(tmp_path / "frame")
    np.save(tmp_path / "wanted.npy", wanted)
    drawn = table.sample(5, seed=3)
    drawn.to_parquet(tmp_path / "drawn")
    code = f"""
        import numpy as np, pandas as pd, flowzoo
        folder = {str(tmp_path)!r}
        frame, wanted = pd.read_parquet(folder + "/frame"), np.load(folder + "/wanted.npy")
        for name, scores in zip("ab", wanted):
            table = flowzoo.tabular.TableFlow.load(f"{{folder}}/{{name}}.flow")
            np.testing.assert_allclose(table.score_samples(frame[table.schema_.names]), scores, atol=1e-5)
        table = flowzoo.tabular.TableFlow.load(folder + "/a.flow")
        pd.testing.assert_frame_equal(table.sample(5, seed=3), pd.read_parquet(folder + "/drawn"), rtol=1e-5)
    """
    run_python(textwrap.dedent(code))


def test_a_file_that_holds_no_table_is_refused(tmp_path):
    (tmp_path / "no.flow").write_text("no")
    with pytest.raises(ValueError, match="holds no table"):
        TableFlow.load(tmp_path / "no.flow")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.rename(columns={"x": "z"}), "has a column 'z', which was not in training"),
        (lambda frame: frame.drop(columns="x"), "lacks the column 'x'"),
        (lambda frame: frame.assign(c="d"), "Column 'c' has 'd' in row 0, which is none of the categories"),
        (lambda frame: frame[:0], "empty"),
        (lambda frame: pd.concat([frame, frame["x"]], axis=1), "several columns named 'x'"),
    ],
)
def test_frames_that_do_not_fit_are_refused(frame, table, change, message):
    with pytest.raises(ValueError, match=message):
        table.score_samples(change(frame))


def test_columns_may_come_in_any_order(frame, table):
    np.testing.assert_array_equal(table.score_samples(frame[frame.columns[::-1]]), table.score_samples(frame))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"given": ["z"]}, "given has 'z', no column"),
        ({"given": ["c", "k", "x", "y", "always"]}, "one or more must be left"),
        ({"sample_weight": [1, 2]}, "sample_weight must be 400 numbers"),
        ({"sample_weight": np.zeros(400)}, "sample_weight is zero"),
    ],
)
def test_arguments_of_fit_are_checked(frame, arguments, message):
    with pytest.raises(ValueError, match=message):
        TableFlow(small, **QUICK).fit(frame, **arguments)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", -5),
        ("width", 0),
        ("patience", 0),
        ("learning_rate", 0),
        ("validation_fraction", 1.0),
    ],
)
def test_arguments_of_the_estimator_are_checked(frame, name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        TableFlow(small, verbose=0).set_params(**{name: value}).fit(frame)


def test_what_is_not_fitted_says_so(frame):
    for ask in ("score_samples", "ranks", "strangest", "impute"):
        with pytest.raises(NotFittedError):
            getattr(TableFlow(), ask)(frame)


def test_an_unknown_flow_is_refused(frame):
    with pytest.raises(ValueError, match="'nsf', 'maf' or 'realnvp'"):
        TableFlow("nfs", **QUICK).fit(frame[["x", "y"]])
    with pytest.raises(TypeError, match="flow must be a name, a class or a function; got 3"):
        TableFlow(3, **QUICK).fit(frame[["x", "y"]])


def test_what_needs_an_imputer_says_so_where_none_can_be_learnt(frame):
    table = TableFlow(small, **QUICK).fit(frame[["x", "y"]], given="x")
    with pytest.raises(ValueError, match="imputer=True"):
        table.impute(frame[["x", "y"]].assign(y=np.nan))


def test_scikit_learn_clones_searches_and_chains(frame):
    names = frame[["c"]]
    assert clone(TableFlow(epochs=3)).epochs == 3
    search = GridSearchCV(TableFlow(**QUICK), {"learning_rate": [1e-9, 0.1]}, cv=2, refit=False).fit(names)
    assert search.best_params_ == {"learning_rate": 0.1}
    scores = cross_val_score(TableFlow(**QUICK, learning_rate=0.1), names, cv=2)
    assert scores.mean() == search.cv_results_["mean_test_score"][1]  # equal seeds
    scaler = StandardScaler().set_output(transform="pandas")
    pipeline = make_pipeline(scaler, TableFlow(small, **QUICK)).fit(frame[["x"]])
    assert np.isfinite(pipeline.score(frame[["x"]]))


@pytest.mark.slow
def test_scikit_learns_contracts_hold(monkeypatch):
    """All that it checks of an estimator without `predict` or `transform`; no exception is needed."""
    monkeypatch.setattr(parts, "train", lambda *arguments, **options: [])  # they are not about training
    check_estimator(TableFlow(small, **QUICK))


def test_a_schema_of_the_whole_table_serves_its_parts(frame):
    names = frame[["k"]]
    table = TableFlow(schema=Schema.infer(names), **QUICK).fit(names[names["k"] < 5])
    assert np.isfinite(table.score_samples(names)).all()
    with pytest.raises(ValueError, match="The schema has the columns"):
        TableFlow(schema=Schema.infer(names)).fit(frame[["x"]])


def hard_columns(rng, n=300):
    return pd.DataFrame(
        {
            "rare": np.arange(n) == 7,
            "large": 1e8 + rng.normal(size=n),
            "small": 1e-6 * rng.normal(size=n),
            "tails": rng.standard_cauchy(n) ** 3,
            "huge": np.exp(20 * rng.normal(size=n)),
            "line": np.linspace(0, 1, n),
            "same line": np.linspace(0, 2, n),
            "zeros": rng.normal(size=n) * (rng.uniform(size=n) < 0.1),
            "constant": 5.0,
        }
    )


HARD = {
    "columns": hard_columns,
    "two rows": lambda rng: pd.DataFrame({"a": [1.5, 2.25], "b": ["u", "v"]}),
    "constants": lambda rng: pd.DataFrame({"a": [2.0] * 20, "b": ["u"] * 20}),
}


@pytest.mark.parametrize("name", HARD)
def test_nothing_becomes_nan(name):
    frame = HARD[name](np.random.default_rng(0))
    table = TableFlow(small, **QUICK).fit(frame)
    assert np.isfinite(table.score_samples(frame)).all()
    drawn = table.sample(20, seed=0)
    assert (drawn.dtypes == frame.dtypes).all()
    assert not drawn.isna().any().any()
    assert np.isfinite(table.score_samples(drawn)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_scores_lie_within_a_twentieth_of_a_nat_of_the_truth(name):
    made, rng = TABLES[name], np.random.default_rng(1)
    frame, test = made.gaps(made.draw(10_000, rng), rng), made.draw(5_000, rng)
    table = TableFlow(schema=made.schema, verbose=0).fit(frame)
    assert abs((made.log_prob(test) - table.score_samples(test)).mean()) < 0.05


@pytest.mark.slow
def test_imputations_are_distributed_as_what_was_there():
    rng = np.random.default_rng(1)
    table = TableFlow(verbose=0).fit(make_gaps(draw_mixture(10_000, rng), rng))
    test = draw_mixture(1_000, rng)
    drawn = table.impute(
        test.assign(x=np.nan, c=pd.Categorical([None] * 1_000, categories=list("abc"))), seed=0
    )
    other = draw_mixture(20_000, rng)
    near = other[(other["k"] == 4) & (abs(other["y"] - 1) < 0.3)]
    here = table.impute(near.assign(x=np.nan), seed=0)
    assert stats.ks_2samp(here["x"], near["x"]).pvalue > 1e-3
    assert stats.ks_2samp(drawn["x"], other["x"]).pvalue > 1e-3
    assert stats.chi2_contingency([drawn["c"].value_counts(), other["c"].value_counts()]).pvalue > 1e-3


@pytest.mark.slow
def test_what_is_given_may_have_gaps_that_depend_on_what_is_asked():
    rng = np.random.default_rng(1)
    x = rng.normal(size=4000)
    frame = pd.DataFrame({"x": x, "y": x + rng.normal(size=4000)})
    told = rng.uniform(size=4000) < np.where(frame["y"] > 0, 0.15, 0.95)
    table = TableFlow(verbose=0).fit(frame.assign(x=frame["x"].where(told)))
    alike = frame[told & (abs(frame["x"] - 1) < 0.3)]
    assert alike["y"].mean() < 0.6  # the truth is 1
    assert table.sample(4000, given={"x": 1.0}, seed=0)["y"].mean() == pytest.approx(1, abs=0.15)


def real_or_drawn(frame, drawn):
    """AUROC of a classifier that tells the rows of a frame from drawn ones, on those that it has not seen."""
    both = pd.concat([frame, drawn], ignore_index=True)
    both["c"] = both["c"].cat.codes
    drawn = np.arange(len(both)) >= len(frame)
    classifier = HistGradientBoostingClassifier(random_state=0)
    found = cross_val_predict(classifier, both, drawn, cv=5, method="predict_proba")[:, 1]
    return roc_auc_score(drawn, found)


@pytest.mark.slow
def test_a_classifier_hardly_tells_samples_from_rows():
    rng = np.random.default_rng(3)
    frame = draw_mixture(10_000, rng)
    drawn = TableFlow(verbose=0).fit(frame).sample(10_000, seed=0)
    assert real_or_drawn(frame, drawn) < 0.65
    independent = frame.apply(lambda column: column.sample(frac=1, random_state=rng).to_numpy())
    assert real_or_drawn(frame, independent.astype(frame.dtypes)) > 0.8
