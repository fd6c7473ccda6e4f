"""The order in which models see the columns of a table, and the numbers that stand for its values."""

import numpy as np
import pandas as pd

from flowzoo.tabular.schema import INFINITE, Schema, as_numbers, refuse


class Layout:
    """The columns that models see: categories, narrow integers, other integers, reals, then given ones.

    Arguments:
        schema: `Schema`.
        given: names of the columns that densities are conditional on.
    """

    def __init__(self, schema, given=()):
        self.schema = schema
        varying = [column for column in schema.columns if column.kind != "constant"]
        free = [column for column in varying if column.name not in given]
        self.discrete = [column for column in free if column.kind == "category"]
        self.discrete += [column for column in free if column.is_narrow]
        self.discrete += [column for column in free if column.kind == "integer" and not column.is_narrow]
        self.reals = [column for column in free if column.kind == "real"]
        self.given = [column for column in varying if column.name in given]
        self.columns = [*self.discrete, *self.reals, *self.given]
        places, of_reals = np.arange(len(self.columns)), len(self.discrete)
        self.real_places = slice(of_reals, of_reals + len(self.reals))
        self.seen_by_flow = np.delete(places, self.real_places)

    @property
    def free(self):
        return [*self.discrete, *self.reals]

    def encode(self, frame):
        """(n, columns) float64, NaN where missing, and log |d encoded / d frame| of each, both (n, columns).

        Raises: ValueError or TypeError that names column and row, for what does not fit the schema.
        """
        for column in self.schema.columns:
            if column.kind == "constant":
                check_constant(column, frame[column.name])
        shape = len(frame), len(self.columns)
        encoded, log_dets = np.full(shape, np.nan), np.zeros(shape)
        for i, column in enumerate(self.columns):
            numbers = numbers_of(column, frame[column.name])
            there = ~np.isnan(numbers)
            encoded[there, i], log_dets[there, i] = column.encode(numbers[there])
        return encoded, log_dets

    def decode(self, encoded, kept=None):
        """The pandas frame of encoded columns, in the order and the dtypes of the schema.

        `kept` is a frame whose reals and dates stay to the last bit, and whose index the rows have.
        """
        names = [column.name for column in self.columns]
        parts = {}
        for column in self.schema.columns:
            if column.kind == "constant":
                parts[column.name] = series_of(column, np.zeros(len(encoded)))
            else:
                values = encoded[:, names.index(column.name)]
                there = np.isfinite(values)
                numbers = np.full(len(values), np.nan)
                numbers[there] = column.decode(values[there])
                if kept is not None and column.kind == "real":
                    own = numbers_of(column, kept[column.name])
                    numbers = np.where(np.isnan(own), numbers, own)
                parts[column.name] = series_of(column, numbers)
                if kept is not None and column.is_date:  # which days, as float64, round
                    own = kept[column.name].reset_index(drop=True).astype(column.dtype)
                    parts[column.name] = own.where(own.notna(), parts[column.name])
        frame = pd.DataFrame(parts)
        return frame if kept is None else frame.set_axis(kept.index, axis=0)


def fitted(schema, frame):
    """The schema with the statistics of a frame, which must fit it."""
    columns = []
    for column in schema.columns:
        numbers = numbers_of(column, frame[column.name]) if column.kind in ("real", "integer") else None
        if numbers is not None:
            numbers = numbers[~np.isnan(numbers)]
            if len(numbers) == 0:
                raise ValueError(f"Column {column.name!r} has no value: all {len(frame)} are missing.")
            column = column.fitted(numbers)
        columns.append(column)
    return Schema(tuple(columns))


def numbers_of(column, series):
    """Codes of categories, numbers of others; float64 (n,), NaN where missing; checked against the column."""
    missing = series.isna().to_numpy()
    if column.kind == "category":
        places = {value: i for i, value in enumerate(column.values)}
        found, different = pd.factorize(series)
        codes = np.array([*(places.get(value, np.nan) for value in different), np.nan], "float64")[found]
        refuse(
            series,
            ~missing & np.isnan(codes),
            f"is none of the categories {shortly(column.values)}",
            "Say them all in the schema, {'values': [...]}, or replace it",
        )
        return codes
    if missing.all():
        return np.full(len(series), np.nan)
    if series.dtype.kind not in "biufmM" and not isinstance(series.dtype, pd.DatetimeTZDtype):
        raise TypeError(
            f"Column {column.name!r} should be of dtype {column.dtype}, as in training; got "
            f"{series.dtype}, with {series[~missing].iloc[0]!r} in row "
            f"{series.index[~missing][0]!r}."
        )
    if column.is_date != (series.dtype.kind in "mM"):
        raise TypeError(
            f"Column {column.name!r} should be of dtype {column.dtype}, as in training; got {series.dtype}."
        )
    numbers = as_numbers(series)
    refuse(series, np.isinf(numbers), *INFINITE)
    if column.kind == "integer":
        refuse(
            series,
            ~missing & (numbers != np.rint(numbers)),
            "is no integer",
            "If the column holds reals, say {'kind': 'real'} of it",
        )
    for bound, wrong in ((column.low, np.less), (column.high, np.greater)):
        if bound is not None:
            refuse(
                series,
                wrong(numbers, bound),
                f"lies outside of its bounds, {column.low} to {column.high}",
                "Correct it, or the bounds in the schema",
            )
    return numbers


def check_constant(column, series):
    wrong = (series.notna() & (series != column.values[0])).to_numpy(dtype=bool)
    refuse(
        series,
        wrong,
        f"is not the only value seen in training, {column.values[0]!r}",
        "Train on rows with both, or say in the schema what the column may hold",
    )


def series_of(column, numbers):
    """Numbers, NaN where missing, as a pandas series of the column's dtype."""
    if column.kind == "constant":
        return pd.Series([column.values[0]] * len(numbers), dtype=object).astype(column.dtype)
    missing = np.isnan(numbers)
    if column.kind == "category":
        values = np.empty(len(column.values), dtype=object)
        values[:] = column.values
        if column.dtype == "category":
            codes = np.where(missing, -1, numbers).astype(int)
            return pd.Series(pd.Categorical.from_codes(codes, values, ordered=column.ordered))
        found = values[np.where(missing, 0, numbers).astype(int)]
        found[missing] = None
        dtype = "object" if missing.any() and column.dtype == "bool" else column.dtype
        return pd.Series(found, dtype=object).astype(dtype)
    if column.is_date:
        return dates_of(column, numbers, missing)
    if column.dtype == "object":
        return pd.Series(numbers)
    dtype = pd.api.types.pandas_dtype(column.dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype.name.lower())
        numbers = np.clip(numbers, float(limits.min), np.nextafter(float(limits.max), 0))
        if missing.any() and isinstance(dtype, np.dtype):
            dtype = np.dtype("float64")
    if dtype.kind == "f":
        limit = np.finfo(dtype.name.lower()).max
        numbers = np.clip(numbers, -limit, limit)
    found = pd.Series(numbers)
    return found.astype(dtype) if not isinstance(dtype, np.dtype) else pd.Series(numbers.astype(dtype))


def dates_of(column, days, missing):
    """Days, NaN where missing, as dates or durations."""
    unit = pd.Timedelta(days=1).value
    nanoseconds = np.where(missing, 0, np.clip(days * unit, -9.2e18, 9.2e18)).astype("int64")
    if column.dtype.startswith("timedelta"):
        return pd.Series(nanoseconds.astype("timedelta64[ns]")).mask(missing).astype(column.dtype)
    found = pd.Series(nanoseconds.astype("datetime64[ns]")).mask(missing)
    if "," in column.dtype:  # datetime64[ns, UTC]
        found = found.dt.tz_localize("UTC")
    return found.astype(column.dtype)


def shortly(values):
    shown = ", ".join(map(repr, values[:8]))
    return shown if len(values) <= 8 else f"{shown} and {len(values) - 8} more"
