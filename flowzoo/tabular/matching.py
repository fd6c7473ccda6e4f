"""Whether what a user gives goes with a table: frames, schemas, given columns, weights."""

import warnings

import numpy as np
import pandas as pd

from flowzoo.tabular.frames import to_pandas
from flowzoo.tabular.layout import fitted
from flowzoo.tabular.schema import Schema


def schema_of(frame, said):
    """The schema of a training frame: inferred with what is said of columns, or given whole."""
    if not isinstance(said, Schema):
        return Schema.infer(frame, said)
    if set(said.names) != set(frame.columns):
        raise ValueError(f"The schema has the columns {said.names}, but the frame has {list(frame.columns)}.")
    return fitted(said, frame)


def given_names(frame, given):
    """The names of given columns as a list."""
    names = [] if given is None else [given] if isinstance(given, (str, int)) else list(given)
    if unknown := [name for name in names if name not in frame.columns]:
        raise ValueError(f"given has {unknown[0]!r}, no column of the frame: {list(frame.columns)}.")
    if set(names) == set(frame.columns):
        raise ValueError("given has all columns; one or more must be left to model.")
    return names


def matched(X, names, were_named):
    """A table as a pandas frame of the columns `names`, in this order.

    Arguments:
        were_named: whether the table was trained on a frame with names, of which an array warns.
    """
    frame = to_pandas(X, "X")
    if not hasattr(X, "columns"):
        if frame.shape[1] != len(names):
            raise ValueError(
                f"X has {frame.shape[1]} features, but TableFlow is expecting {len(names)} features as input."
            )
        if were_named:
            warnings.warn(
                "X does not have valid feature names, but TableFlow was fitted with feature names",
                stacklevel=4,
            )
        return frame.set_axis(names, axis=1)
    for given, known, what in (
        (frame.columns, names, "has a column {!r}, which was not in training"),
        (names, frame.columns, "lacks the column {!r}"),
    ):
        if odd := [name for name in given if name not in known]:
            raise ValueError(f"X {what.format(odd[0])}. The columns are {names}.")
    return frame[names]


def rows_given(n, given, names, needed):
    """A pandas frame of `n` rows in which all is missing but for given columns.

    Arguments:
        given: dict from names to one value or n, a frame of n rows, or None.
        names: of all columns.
        needed: names of those that must be given.
    """
    if given is not None and not isinstance(given, dict):
        given = to_pandas(given, "given")
        given = {name: given[name] for name in given.columns}
    given = given or {}
    if missing := [name for name in needed if name not in given]:
        raise ValueError(f"The table was fitted given {needed}; sample needs given={missing} too.")
    if unknown := [name for name in given if name not in names]:
        raise ValueError(f"given has {unknown[0]!r}; the columns are {names}.")
    columns = {name: pd.Series([None] * n, dtype=object) for name in names}
    for name, values in given.items():
        one = np.ndim(values) == 0
        if not one and len(values) != n:
            raise ValueError(f"given has {len(values)} values of {name!r}, but n is {n}: give one or n.")
        columns[name] = pd.Series([values] * n if one else list(values)).infer_objects()
    return pd.DataFrame(columns)


def weights_of(sample_weight, n):
    """Weights of n rows with mean 1, as float64."""
    if sample_weight is None:
        return np.ones(n)
    weight = np.asarray(sample_weight, "float64")
    if weight.shape != (n,) or not np.isfinite(weight).all() or weight.min() < 0:
        raise ValueError(
            f"sample_weight must be {n} numbers, one for each row, none negative; got an array of shape "
            f"{weight.shape}."
        )
    if weight.sum() == 0:
        raise ValueError("sample_weight is zero for every row.")
    return weight / weight.mean()
