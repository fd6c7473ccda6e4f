"""What values data hold: found where they can be seen, in one pass, and told of where they do not fit."""

import warnings
from typing import NamedTuple

import numpy as np
from keras import ops

from flowzoo import backend

PIECE = 2**20  # numbers looked at together


class Range(NamedTuple):
    """The least and the greatest of some numbers, and whether all are integers."""

    low: float
    high: float
    whole: bool


def seen(value):
    """`value` as an array; None where it is being traced, or lies in parts on several machines."""
    if not ops.is_tensor(value):
        return np.asarray(value)
    if backend.name == "jax":
        import jax

        if isinstance(value, jax.core.Tracer) or not getattr(value, "is_fully_addressable", True):
            return None
    else:
        import tensorflow as tf

        if not tf.executing_eagerly() or tf.is_symbolic_tensor(value):
            return None
    value = np.asarray(ops.convert_to_numpy(value))
    return value if value.dtype.kind in "buif" else value.astype("float32")  # bfloat16


def value_range(x):
    """The `Range` of an array; NaN if it has any.

    Example:
        >>> value_range(np.array([0.0, 2.5]))
        Range(low=0.0, high=2.5, whole=False)
    """
    low, high, whole = np.inf, -np.inf, True
    for part in _pieces(x):
        low, high = float(np.minimum(low, part.min())), float(np.maximum(high, part.max()))
        whole = whole and (part.dtype.kind != "f" or bool((part == np.rint(part)).all()))
    return Range(low, high, whole)


def _finite_range(name, x):
    found = value_range(x)
    if not np.isfinite([found.low, found.high]).all():
        raise ValueError(f"{name} has NaN or infinite values; remove or replace them first.")
    return found


def _pieces(x):
    """An array (n, ...) in parts of whole examples."""
    size = max(1, PIECE * len(x) // max(1, x.size))
    return (x[start : start + size] for start in range(0, len(x), size))


# Pixels.


def check_pixels(name, x, *, model, bins=256, step=1, whole=True):
    """Refuses an array whose values are not the integers 0 ... bins * step - 1, and says what they look like.

    Arguments:
        name: of the argument.
        x: array (n, ...) of numbers.
        model: name of the model that takes them.
        bins, step: as in `flowzoo.layers.Dequantize`.
        whole: False for a model that takes all numbers of that range, which then may not all be within
            [0, 1].

    Raises: ValueError.
    Warns: UserWarning if x holds 0 and 1 alone, or 0 and the highest alone of a flow that drops bits.
    """
    top = bins * step - 1
    found = _finite_range(name, x)
    boolean = x.dtype == bool and top > 1
    fractions = not found.whole and (whole or found.high <= 1)
    if boolean or found.low < 0 or found.high > top or fractions:
        what, remedy = _looks_like(x, found, name, top)
        raise ValueError(
            f"{model} takes pixels, {'integers' if whole else 'numbers'} from 0 to {top}; {name} has values "
            f"from {found.low:g} to {found.high:g} of dtype {x.dtype}, {what}. {remedy}"
        )
    if found.high == 1 < top:
        warnings.warn(
            f"{name} holds 0 and 1 alone, but {model} takes pixels from 0 to {top}, to which these are two "
            f"shades of black. Multiply them by {top}.",
            stacklevel=2,
        )
    if step > 1 and found.high == top and all(((part == 0) | (part == top)).all() for part in _pieces(x)):
        kept = top // step * step
        warnings.warn(
            f"{name} holds 0 and {top} alone. {model} keeps multiples of {step}, so they come back as 0 and "
            f"{kept}, the same images but darker: multiply its samples by {top} / {kept}.",
            stacklevel=2,
        )


def _looks_like(x, found, name, top):
    """What wrong pixels seem to be, and what to do with them."""
    low, high, whole = found
    reals = (
        "Real numbers are for flows without flowzoo.layers.Dequantize, such as flowzoo.RealNVP of the "
        f"flattened array, or scale them to 0 ... {top} and round them."
    )
    if x.dtype == bool:
        return "true and false", f"Make pixels of them: {top} * {name}.astype('uint8')."
    if low >= 0 and high <= 1:
        return "as images scaled to [0, 1]", f"Make pixels of them: np.round({top} * {name})."
    if low >= -1 and high <= 1:
        return "as images scaled to [-1, 1]", f"Make pixels of them: np.round({top / 2:g} * ({name} + 1))."
    if whole and low >= -128 and high <= 127 and low < 0:
        return "as signed bytes", f"Make pixels of them: {name} + 128."
    if whole and low >= 0:
        bits = int(high).bit_length()
        drop = 2 ** (bits - (top + 1).bit_length() + 1)
        return f"as integers of {bits} bits", f"Drop the lowest bits: {name} // {drop}."
    if low >= 0 and high <= top:
        return "not all integers, as in images that were resized", f"Round them: np.round({name})."
    mean, deviation = float(np.mean(x[:100])), float(np.std(x[:100]))
    if low < 0 and abs(mean) < 1 and deviation < 3:
        return (
            f"as numbers brought to mean 0 and standard deviation 1 (here {mean:.2g} and {deviation:.2g})",
            f"Undo that, or leave it out: pixels are taken as they are. {reals}",
        )
    return "as a field of real numbers", reals


def check_within(name, x, *, model, low, high, hint=""):
    """Refuses an array of numbers, not all of which lie from `low` to `high`."""
    found = _finite_range(name, x)
    if found.low < low or found.high > high:
        raise ValueError(
            f"{model} takes values from {low} to {high}; {name} has values from {found.low:g} to "
            f"{found.high:g}.{hint}"
        )


# Vectors.


def warn_of_integers(name, x, *, model):
    """Warns of an array of integers that a flow of real numbers is to learn."""
    if x.dtype.kind not in "bui":
        return
    shape = x.shape[1:]
    if len(shape) > 1 and x.dtype == np.uint8:
        remedy = (
            f"If they are images, give them a channel, {name}[..., None], and build the flow with "
            f"event_shape={(*shape, 1)}."
            if len(shape) == 2
            else "If they are images, build an image flow, of event shape (height, width, channels)."
        )
    else:
        remedy = (
            f"For counts, add noise of the width of a step, {name} + rng.uniform(size={name}.shape), or put "
            "flowzoo.layers.Dequantize at the data end of a flowzoo.Flow."
        )
    warnings.warn(
        f"{name} holds integers ({x.dtype}), which {model} models as real numbers: their density has no "
        f"bound, and its value means little. {remedy} If that is as you want it, give them as floats.",
        stacklevel=2,
    )


STEPS = 16  # of the dtype that a standard deviation should span


def warn_of_coarse_columns(name, x, dtype, *, model):
    """Warns of columns whose spread the dtype in which a model computes does not resolve.

    Arguments:
        x: array (n, ...) of numbers.
        dtype: floating, such as "float32".
    """
    x = x.reshape(len(x), -1)
    first = x[0].astype("float64")
    total, squares = np.zeros_like(first), np.zeros_like(first)
    for part in _pieces(x):
        away = part - first
        total += away.sum(axis=0)
        squares += np.square(away).sum(axis=0)
    mean = total / len(x)
    deviation = np.sqrt(np.maximum(squares / len(x) - mean**2, 0))
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.spacing(np.abs(first + mean).astype(dtype)).astype("float64")
    coarse = np.flatnonzero((deviation > 0) & (deviation < STEPS * step))
    if len(coarse) == 0:
        return
    column = coarse[0]
    others = f", and {len(coarse) - 1} more like it" if len(coarse) > 1 else ""
    warnings.warn(
        f"Column {column} of {name} lies at {first[column] + mean[column]:.7g} with a standard deviation of "
        f"{deviation[column]:.3g}, which {dtype}, in steps of {step[column]:.3g} there, does not resolve"
        f"{others}. {model} sees few values, or one. Subtract an offset first, in float64, such as "
        f"{name} - {name}.mean(axis=0), and undo it on samples.",
        stacklevel=2,
    )
