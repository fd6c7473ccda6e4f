"""Checks of what users pass in, with messages that say what was given, expected and to be done."""

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


def batch(name, value, event_shape, dtype):
    """`value` as an array or tensor of shape (batch, *event_shape) and floating dtype; see `array`."""
    if isinstance(value, keras.KerasTensor):
        raise TypeError(
            f"{name} is symbolic. In functional models call the flow, flow(x), or its log_prob, "
            "bits_per_dim, encode or decode; other methods take no symbolic tensors."
        )
    value = array(name, value, event_shape)
    return ops.cast(value, dtype) if ops.is_tensor(value) else value.astype(dtype, copy=False)


def array(name, value, event_shape):
    """`value` as an array or tensor, found to have the shape (batch, *event_shape).

    Raises: TypeError for values that are no numbers; ValueError for a wrong shape, an empty
    batch, and (where the values can be seen, that is outside compiled code) NaN or infinity.
    """
    if value is None:
        raise ValueError(f"{name} is missing: expected an array of shape ({_sizes(event_shape)}).")
    if isinstance(value, keras.Variable):
        value = ops.convert_to_tensor(value)
    if not ops.is_tensor(value) and not isinstance(value, keras.KerasTensor):
        value = np.asarray(value)
        if value.dtype.kind not in "buif":
            raise TypeError(f"{name} must be an array of numbers; got dtype {value.dtype}.")
        if not np.isfinite(value).all():
            raise ValueError(f"{name} has NaN or infinite values; remove or replace them first.")
    given = tuple(value.shape)
    if len(given) != 1 + len(event_shape) or any(
        got is not None and got != wanted for got, wanted in zip(given[1:], event_shape, strict=True)
    ):
        hint = ""
        if given == tuple(event_shape):
            hint = f" For a single example, add a batch axis: {name}[None]."
        raise ValueError(f"{name} must have shape ({_sizes(event_shape)}); got shape {given}.{hint}")
    if given[0] == 0:
        raise ValueError(f"{name} is an empty batch: its shape is {given}. Give at least one example.")
    return value


def _sizes(event_shape):
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
