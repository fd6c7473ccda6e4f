"""Checks of what users pass in, with messages that say what was given, expected and to be done."""

import contextlib

import keras
import numpy as np
from keras import ops


def positive_integer(name, value):
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a positive integer; got {value!r}.")
    return int(value)


def positive_number(name, value):
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 < value < np.inf:
        raise ValueError(f"{name} must be a positive number; got {value!r}.")
    return float(value)


def shape(name, value, *, scalar=False):
    """A shape as a tuple of positive integers, `scalar` allows the empty one; D stands for (D,)."""
    if isinstance(value, (int, np.integer)):
        value = (value,)
    if not isinstance(value, (tuple, list)) or not (value or scalar):
        raise ValueError(f"{name} must be a tuple of positive integers such as (2,); got {value!r}.")
    return tuple(positive_integer(f"each entry of {name}", size) for size in value)


def hidden_units(value):
    """The widths of hidden layers as a tuple; an integer stands for one layer."""
    if isinstance(value, (int, np.integer)):
        value = (value,)
    if not isinstance(value, (tuple, list)) or not value:
        raise ValueError(
            f"hidden_units must be the widths of the hidden layers, such as (64, 64); got {value!r}."
        )
    return tuple(positive_integer("each entry of hidden_units", units) for units in value)


def choice(name, value, choices):
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}.")
    return value


def one_dtype(model):
    """Refuses a built model that claims another precision than its weights, or the backend, have."""
    dtype = model.variable_dtype
    if dtype == "float64" and keras.backend.standardize_dtype(ops.zeros((), dtype).dtype) != dtype:
        raise ValueError(
            f"{model.name} has dtype 'float64', which JAX computes only where the environment variable "
            "JAX_ENABLE_X64 is 1 before Python starts."
        )
    others = [w for w in model.weights if keras.backend.is_float_dtype(w.dtype) and w.dtype != dtype]
    if others:
        raise ValueError(
            f"{model.name} has dtype {dtype!r}, but {len(others)} of its weights, {others[0].path} among "
            f"them, have {others[0].dtype!r}. Build its layers, and the networks in them, with "
            f"dtype={dtype!r} too, or all of them after keras.config.set_floatx({dtype!r})."
        )


def batch(name, value, event_shape, dtype):
    """`value` as an array or tensor of shape (batch, *event_shape) and floating dtype; see `array`."""
    return cast(name, array(name, value, event_shape), dtype)


def cast(name, value, dtype):
    """An array or tensor in a floating dtype; ValueError for numbers that are too large for it."""
    if isinstance(value, keras.KerasTensor):
        raise TypeError(
            f"{name} is symbolic. In functional models call the flow, flow(x), or its log_prob, "
            "bits_per_dim, encode or decode; other methods take no symbolic tensors."
        )
    if ops.is_tensor(value):
        return ops.cast(value, dtype)
    fits(name, value, dtype)
    return value.astype(dtype, copy=False)


def fits(name, value, dtype):
    """Refuses an array of finite numbers, some of which are infinite in a floating dtype."""
    largest = np.finfo(dtype).max
    if value.dtype.kind != "f" or np.finfo(value.dtype).max <= largest:
        return
    for extreme in (value.min(), value.max()):
        if abs(extreme) > largest:
            raise ValueError(
                f"{name} has values up to {extreme:.3g}, but the largest {dtype} is {largest:.3g}. Give them "
                "in another unit, or build the model with dtype='float64'."
            )


def array(name, value, event_shape):
    """`value` as an array or tensor of shape (batch, *event_shape); of single numbers, (batch,) will do.

    Raises: as `numbers`; ValueError for a wrong shape, an empty batch, and (where the values can be seen,
        that is outside compiled code) NaN or infinity.
    """
    value = numbers(name, value)
    if isinstance(value, np.ndarray) and not np.isfinite(value).all():
        raise ValueError(f"{name} has NaN or infinite values; remove or replace them first.")
    value = ranked(value, event_shape)
    given = tuple(value.shape)
    if len(given) != 1 + len(event_shape) or any(
        got is not None and got != wanted for got, wanted in zip(given[1:], event_shape, strict=True)
    ):
        hint = ""
        if given == tuple(event_shape):
            hint = f" For a single example, add a batch axis: {name}[None]."
        raise ValueError(f"{name} must have shape ({sizes(event_shape)}); got shape {given}.{hint}")
    if given[0] == 0:
        raise ValueError(f"{name} is an empty batch: its shape is {given}. Give at least one example.")
    return value


def ranked(value, event_shape):
    """`value` with as many dimensions as a batch, if its examples are single numbers or nobody knows.

    TensorFlow forgets the rank of a tensor where one traced function has met several.
    """
    unknown = getattr(value.shape, "rank", 0) is None
    if not unknown and {*value.shape[1:], *event_shape} != {1}:
        return value
    shape = (-1, *event_shape)
    return value.reshape(shape) if isinstance(value, np.ndarray) else ops.reshape(value, shape)


def numbers(name, value):
    """`value` as a tensor, or as a NumPy array of numbers if it is anything else that holds some.

    Lists of rows, pandas's frames and series (of nullable dtypes too) and the arrays of other libraries do.

    Raises: TypeError for values that are no numbers; ValueError where some are missing, and for rows of
        different lengths.
    """
    if value is None:
        raise ValueError(f"{name} is missing: expected an array.")
    if isinstance(value, keras.Variable):
        value = ops.convert_to_tensor(value)
    if ops.is_tensor(value) or isinstance(value, keras.KerasTensor):
        return value
    if hasattr(value, "isna") and np.any(missing := np.asarray(value.isna())):
        columns = _names(value, missing.any(axis=0)) if missing.ndim == 2 else ""
        raise ValueError(f"{name} has NaN or missing values{columns}; remove or replace them first.")
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked values; remove or replace them first.")
    try:
        found = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is no array, its rows differ in length: {error}") from error
    if found.dtype.kind == "O" and not any(isinstance(entry, (str, bytes)) for entry in found.flat):
        with contextlib.suppress(TypeError, ValueError):
            found = found.astype("float64")
    if found.dtype.kind not in "buif":
        columns = ""
        if hasattr(value, "columns") and hasattr(value, "dtypes"):
            columns = _names(value, [dtype.kind not in "buif" for dtype in value.dtypes])
        raise TypeError(
            f"{name} must be an array of numbers; got dtype {found.dtype}{columns}, of a "
            f"{type(value).__name__}."
        )
    return found


def _names(frame, chosen):
    """The names of columns of a pandas frame, for a message."""
    return f" in column {', '.join(repr(str(name)) for name in frame.columns[np.asarray(chosen)])}"


def sizes(event_shape):
    """The shape of a batch in words.

    Example:
        >>> sizes((2, 3)), sizes(())
        ('batch, 2, 3', 'batch,')
    """
    return ", ".join(["batch", *map(str, event_shape)]) + "," * (not event_shape)


def periodic(places, transformer):
    """The places that are angles, as a tuple; ValueError if the transformer is no spline."""
    places = tuple(int(place) for place in places)
    if places and not hasattr(transformer, "with_angles"):
        raise ValueError(
            f"periodic={places} needs a spline, which can close a circle; the transformer is "
            f'{transformer!r}. Give transformer="spline".'
        )
    return places


def places(name, values, size):
    """Different places of a vector of that size, as a sorted tuple."""
    values = (values,) if isinstance(values, int) else tuple(values)
    if len(set(values)) < len(values) or not all(
        isinstance(i, (int, np.integer)) and 0 <= i < size for i in values
    ):
        raise ValueError(f"{name} must hold different numbers from 0 to {size - 1}; got {values}.")
    return tuple(sorted(int(i) for i in values))
