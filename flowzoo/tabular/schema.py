"""What the columns of a table are: kinds, bounds and categories, found in a frame or said by the user."""

import dataclasses
from typing import Any, Self

import numpy as np
import pandas as pd

from flowzoo.tabular.transforms import chosen, deviation, from_line, spread, to_line, transforms_for
from flowzoo.types import ArrayLike

KINDS = ("real", "integer", "category", "constant")
NARROW = 32  # an integer column of at most so many values has a probability of its own for each
MOST_CATEGORIES = 1000
DAY = pd.Timedelta(days=1)
EPOCH = pd.Timestamp(0)
INFINITE = "is infinite", "Replace it by a number, or leave it missing"


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table.

    Arguments:
        name: as in the frame; its number, in an array.
        kind: "real", with a density; "integer" or "category", with probabilities; or "constant", which
            counts for nothing.
        dtype: of the frame, as a string. Dates and durations are numbers of days: integers where all
            that are seen are whole days, reals otherwise.
        low, high: bounds of a real or integer column, or None.
        transform: of a real column, see `flowzoo.tabular.transforms`.
        values: the categories in order; of an integer column the least and the largest seen; of a
            constant one its value.
        pivot, unit: place and width of the data, in the column's unit, that some transforms use.
        center, scale: mean and standard deviation after the transform.
        ordered: whether pandas's categories are.
    """

    name: object
    kind: str
    dtype: str = "float64"
    low: float | None = None
    high: float | None = None
    transform: str = "linear"
    values: tuple = ()
    pivot: float = 0.0
    unit: float = 1.0
    center: float = 0.0
    scale: float = 1.0
    ordered: bool = False

    @property
    def is_date(self) -> bool:
        return self.dtype.startswith(("datetime", "timedelta"))

    @property
    def is_narrow(self) -> bool:
        """Whether an integer column has few enough values for a probability of its own for each."""
        return self.kind == "integer" and self.values[1] - self.values[0] < NARROW

    def fitted(self, numbers: np.ndarray) -> "Column":
        """The column with the statistics of float64 numbers, none of them missing."""
        if self.kind not in ("real", "integer"):
            return self
        placed = dataclasses.replace(self, pivot=float(np.median(numbers)), unit=spread(numbers))
        u = to_line(placed, numbers)[0] if self.kind == "real" else numbers
        return dataclasses.replace(placed, center=float(np.mean(u)), scale=deviation(u))

    def encode(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What models see, float64 (n,), and its log-derivative in nats: codes, or standardised numbers."""
        if self.kind == "real":
            u, log_det = to_line(self, numbers)
            return (u - self.center) / self.scale, log_det - np.log(self.scale)
        if self.kind == "integer":
            return (numbers - self.center) / self.scale, np.zeros(len(numbers))
        return numbers, np.zeros(len(numbers))

    def decode(self, encoded: np.ndarray) -> np.ndarray:
        """The numbers that `encode` makes `encoded` of."""
        if self.kind == "real":
            return from_line(self, encoded * self.scale + self.center)
        if self.kind == "integer":
            low, high = (
                (-np.inf if self.low is None else self.low),
                (np.inf if self.high is None else self.high),
            )
            return np.clip(np.rint(encoded * self.scale + self.center), low, high)
        return encoded

    def describe(self) -> str:
        """What there is to say of the column beyond its kind."""
        if self.kind == "category":
            shown = ", ".join(str(value) for value in self.values[:6])
            return f"{len(self.values)}: {shown}{', ...' if len(self.values) > 6 else ''}"
        if self.kind == "constant":
            return f"always {self.values[0]}"
        parts = ["in days"] if self.is_date else []
        if self.low is not None or self.high is not None:
            low = "-inf" if self.low is None else f"{self.low:g}"
            parts.append(f"from {low} to {'inf' if self.high is None else f'{self.high:g}'}")
        if self.kind == "integer":
            parts.append(f"seen {self.values[0]:.17g} to {self.values[1]:.17g}")
        elif self.transform != "linear":
            parts.append(self.transform)
        return ", ".join(parts)


@dataclasses.dataclass(frozen=True, repr=False)
class Schema:
    """The columns of a table, in the order of the frame.

    `Schema.infer(frame)` finds them; `schema["age"]` is one. A `TableFlow` takes a schema, or for some
    columns what is not to be guessed: TableFlow(schema={"income": {"low": 0}, "zip": {"kind": "category"}}).

    Example:
        >>> import pandas as pd
        >>> sex = pd.Categorical(["f", "m", "f"])
        >>> frame = pd.DataFrame({"x": [0.5, 1.25, 2.0], "n": [3, 4, 3], "sex": sex})
        >>> flowzoo.tabular.Schema.infer(frame, {"x": {"low": 0}})
        column  kind      dtype
        x       real      float64   from 0 to inf, softplus
        n       integer   int64     seen 3 to 4
        sex     category  category  2: f, m
    """

    columns: tuple

    @property
    def names(self) -> list[Any]:
        return [column.name for column in self.columns]

    def __getitem__(self, name):
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"There is no column {name!r}; there are {', '.join(map(repr, self.names))}.")

    def __repr__(self):
        rows = [("column", "kind", "dtype", "")]
        rows += [(str(c.name), c.kind, c.dtype, c.describe()) for c in self.columns]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(row, [*widths, 0], strict=True)).rstrip()
            for row in rows
        )

    @classmethod
    def infer(cls, frame: ArrayLike, said: dict[Any, dict[str, Any]] | None = None) -> Self:
        """The schema of a pandas frame.

        Arguments:
            frame: `pandas.DataFrame`.
            said: dict from names to dicts of what is not to be guessed of that column: "kind", "low",
                "high", "transform", "values" (the categories).

        Raises: ValueError or TypeError that names the column.
        """
        said = {} if said is None else said
        if not isinstance(said, dict):
            raise TypeError(f"schema must be a Schema, or a dict from columns to dicts; got {said!r}.")
        for name in said:
            if name not in frame.columns:
                raise ValueError(
                    f"schema has a column {name!r}, which the frame has not; it has {list(frame.columns)}."
                )
        return cls(tuple(column_of(frame[name], said.get(name, {})) for name in frame.columns))

    def as_dicts(self) -> list[dict[str, Any]]:
        """What `from_dicts` makes the schema of, for JSON."""
        return [dataclasses.asdict(column) for column in self.columns]

    @classmethod
    def from_dicts(cls, dicts: list[dict[str, Any]]) -> Self:
        return cls(tuple(Column(**{**one, "values": tuple(one["values"])}) for one in dicts))


def column_of(series, said):
    """The `Column` of a pandas series, with what is `said` of it in place of what would be guessed."""
    name = series.name
    if not isinstance(said, dict):
        raise TypeError(f"schema must say a dict of column {name!r}, such as {{'low': 0}}; got {said!r}.")
    if unknown := set(said) - {"kind", "low", "high", "transform", "values"}:
        raise ValueError(
            f"schema says {sorted(unknown)} of column {name!r}; it takes kind, low, high, "
            "transform and values."
        )
    there = series[series.notna()]
    if len(there) == 0:
        raise ValueError(f"Column {name!r} has no value: all {len(series)} are missing. Drop it.")
    kind = said.get("kind") or guessed_kind(there, "values" in said)
    if kind not in KINDS:
        raise ValueError(f"Column {name!r} has kind {kind!r}; kinds are {', '.join(KINDS)}.")
    dtype = str(series.dtype)
    if kind == "category":
        ordered = dtype == "category" and bool(series.cat.ordered)
        return Column(name, kind, dtype, values=categories(there, said.get("values")), ordered=ordered)
    if kind == "constant":
        return Column(name, kind, dtype, values=(plain(there.iloc[0]),))
    numbers = as_numbers(there)
    refuse(there, np.isinf(numbers), *INFINITE)
    low, high = bounds(name, dtype, kind, said)
    if kind == "integer":
        refuse(
            there,
            (numbers != np.rint(numbers)) | (np.abs(numbers) >= 2**53),
            "is no whole number below 2^53, as the kind 'integer' has",
            "Correct it, or say {'kind': 'real'} of the column",
        )
        values = (float(numbers.min()), float(numbers.max()))
        return Column(name, kind, dtype, low, high, values=values).fitted(numbers)
    allowed = transforms_for(low, high)
    transform = said.get("transform") or chosen(low, high, numbers)
    if transform not in allowed:
        raise ValueError(
            f"Column {name!r} with bounds {low} and {high} takes the transform "
            f"{' or '.join(map(repr, allowed))}; got {transform!r}."
        )
    return Column(name, kind, dtype, low, high, transform).fitted(numbers)


def guessed_kind(series, has_values):
    """The kind of a series without missing values."""
    dtype = series.dtype
    if has_values or pd.api.types.is_bool_dtype(dtype) or isinstance(dtype, pd.CategoricalDtype):
        return "category"
    try:
        constant = series.nunique() == 1
    except TypeError as error:
        raise TypeError(
            f"Column {series.name!r} holds {type(series.iloc[0]).__name__}, no values of a "
            "table: give numbers, texts, categories, booleans or dates."
        ) from error
    if pd.api.types.is_complex_dtype(dtype):
        raise TypeError(f"Column {series.name!r} holds complex numbers: give real and imaginary parts.")
    if constant:
        return "constant"
    if dtype.kind in "fiumM" or pd.api.types.is_numeric_dtype(dtype) or isinstance(dtype, pd.DatetimeTZDtype):
        numbers = as_numbers(series)
        whole = (numbers == np.rint(numbers)).all() and np.abs(numbers).max() < 2**53
        return "integer" if whole else "real"
    wrong = np.array([not isinstance(value, (str, bool, int, float, np.generic)) for value in series])
    if wrong.any():
        row = np.flatnonzero(wrong)[0]
        raise TypeError(
            f"Column {series.name!r} has {series.iloc[row]!r} in row {plain(series.index[row])!r}: give "
            "numbers, texts, booleans, categories, or dates as pandas.to_datetime makes them."
        )
    return "category"


def categories(series, given):
    """The categories of a series without missing values, in order."""
    if given is None and isinstance(series.dtype, pd.CategoricalDtype):
        given = series.cat.categories
    elif given is None and pd.api.types.is_bool_dtype(series.dtype):
        given = (False, True)
    elif given is None:
        given = series.unique()
        given = sorted(given) if len({type(value) for value in given}) == 1 else sorted(given, key=str)
        if len(given) > MOST_CATEGORIES:
            raise ValueError(
                f"Column {series.name!r} has {len(given):,} different values, such as {given[0]!r}: too many "
                f"for categories, of which there may be {MOST_CATEGORIES:,}. Drop it, or group them."
            )
    given = tuple(plain(value) for value in given)
    if len(given) == 0 or len(set(given)) < len(given):
        raise ValueError(f"The categories of column {series.name!r} must be different; got {given}.")
    return given


def bounds(name, dtype, kind, said):
    """The bounds that are said of a column, or that an unsigned dtype sets, as numbers or None."""
    low, high = said.get("low"), said.get("high")
    if dtype.startswith(("datetime", "timedelta")):
        low, high = (None if b is None else as_numbers(pd.Series([b]).astype(dtype))[0] for b in (low, high))
    if kind == "integer" and low is None and dtype.lower().startswith("uint"):
        low = 0
    if kind == "real" and dtype.lower() in ("float32", "float16"):
        low, high = (None if b is None else np.dtype(dtype.lower()).type(b) for b in (low, high))
    if None not in (low, high) and not low < high:
        raise ValueError(f"Column {name!r} has the bounds {low} and {high}; low must lie below high.")
    return (None if low is None else float(low)), (None if high is None else float(high))


def as_numbers(series):
    """A series as float64, NaN where missing: numbers, and days of dates (since 1970) and of durations."""
    dtype = series.dtype
    if isinstance(dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    if series.dtype.kind == "M":
        series = series - EPOCH
    if series.dtype.kind == "m":
        return (series / DAY).to_numpy(dtype="float64", na_value=np.nan)
    try:
        return series.to_numpy(dtype="float64", na_value=np.nan)
    except (TypeError, ValueError) as error:
        wrong = series.notna() & pd.to_numeric(series.astype(object), errors="coerce").isna()
        row = f" in row {plain(series.index[wrong][0])!r}" if wrong.any() else ""
        raise TypeError(
            f"Column {series.name!r} should hold numbers, but is of dtype {dtype}: {error}{row}."
        ) from error


def refuse(series, wrong, what, advice):
    """Raises a ValueError for the first row of a series that is `wrong`."""
    if wrong.any():
        row = np.flatnonzero(wrong)[0]
        value, name = plain(series.iloc[row]), plain(series.index[row])
        more = f", and {wrong.sum() - 1} other rows" if wrong.sum() > 1 else ""
        raise ValueError(
            f"Column {series.name!r} has {value!r} in row {name!r}, which {what}{more}. {advice}."
        )


def plain(value):
    """A NumPy scalar as Python's, so that JSON takes it."""
    return value.item() if isinstance(value, np.generic) else value
