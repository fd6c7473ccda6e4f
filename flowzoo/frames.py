"""Tables of whatever library as pandas frames, and back."""

import ast
import re

import narwhals as nw
import numpy as np
import pandas as pd


def to_pandas(frame, what="frame"):
    """Any table as a `pandas.DataFrame`; the columns of an array are numbered.

    Raises: TypeError for what is no table; ValueError for one without rows or columns, and for names that
        stand twice.
    """
    if isinstance(frame, pd.DataFrame):
        found = frame
    elif is_foreign(frame):
        eager = as_eager(frame)
        dates = [name for name, dtype in eager.schema.items() if dtype == nw.Date]
        found = eager.with_columns(nw.col(*dates).cast(nw.Datetime("us")) if dates else []).to_pandas()
    else:
        found = from_array(frame, what)
    repeated = found.columns[found.columns.duplicated()]
    if len(repeated):
        raise ValueError(f"{what} has several columns named {repeated[0]!r}: give each a name of its own.")
    if found.shape[1] == 0:
        raise ValueError(
            f"0 feature(s) (shape={found.shape}) while a minimum of 1 is required: {what} has no columns."
        )
    if len(found) == 0:
        raise ValueError(
            f"{what} is empty: it has 0 sample(s) (shape={found.shape}) while a minimum of 1 is required."
        )
    return found.infer_objects()


def from_array(values, what):
    if hasattr(values, "toarray"):
        raise TypeError(f"{what} is a sparse matrix; dense data is required: {what}.toarray().")
    values = np.asarray(values)
    if values.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {what} is complex.")
    if values.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {values.ndim}D array instead: {what} has shape {values.shape}. "
            "Reshape your data with array.reshape(-1, 1) if it is one column, or array.reshape(1, -1) if it "
            "is one row."
        )
    return pd.DataFrame(values)


def is_foreign(frame):
    """Whether narwhals knows the frame."""
    return nw.dependencies.is_into_dataframe(frame) or nw.dependencies.is_polars_lazyframe(frame)


def as_eager(frame):
    found = nw.from_native(frame)
    return found.collect() if isinstance(found, nw.LazyFrame) else found


def form_of(frame):
    """What `in_form` needs to know of a table to make others like it: for JSON."""
    if isinstance(frame, pd.DataFrame):
        return {"library": "pandas"}
    if is_foreign(frame):
        eager = as_eager(frame)
        types = {name: str(dtype) for name, dtype in eager.schema.items()}
        return {"library": eager.implementation.value, "types": types}
    values = frame if hasattr(frame, "dtype") else np.asarray(frame)
    return {"library": "numpy", "dtype": str(values.dtype)}


def in_form(frame, form):
    """A pandas frame in the form of another table."""
    if form["library"] == "pandas":
        return frame
    if form["library"] == "numpy":
        dtype = np.dtype(form["dtype"])
        return frame.to_numpy(dtype=None if dtype.kind in "US" else dtype)
    types = {name: dtype_named(form["types"].get(name, "Float64")) for name in frame.columns}
    columns = {name: as_list(frame[name], types[name]) for name in frame.columns}
    return nw.from_dict(columns, schema=types, backend=form["library"]).to_native()


def as_list(series, dtype):
    """The values as Python's, None where missing, for a narwhals dtype."""
    as_type = int if dtype.is_integer() else (lambda x: x.date()) if dtype == nw.Date else (lambda x: x)
    missing = series.isna()
    return [None if gap else as_type(value) for value, gap in zip(series.tolist(), missing, strict=True)]


def dtype_named(text):
    """The narwhals dtype that prints as `text`, such as Int64 or Datetime(time_unit='us', time_zone=None)."""
    name, arguments = re.fullmatch(r"(\w+)(?:\((.*)\))?", text, re.DOTALL).groups()
    if name == "Enum":
        return nw.Enum(ast.literal_eval(arguments.removeprefix("categories=")))
    unit = re.search(r"time_unit='(\w+)'", arguments or "")
    zone = re.search(r"time_zone='([^']+)'", arguments or "")
    if name == "Datetime":
        return nw.Datetime(unit[1], zone[1] if zone else None)
    return nw.Duration(unit[1]) if name == "Duration" else getattr(nw, name)()
