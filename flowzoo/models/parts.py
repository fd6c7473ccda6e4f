"""What the catalogue's models share."""

import math

from flowzoo import checks
from flowzoo.layers import ActNorm, BatchNormalization, Dequantize, Logit, Rescale, Reshape

NORMALIZATIONS = (None, "actnorm", "batch")


def data_end(event_shape, alpha=None):
    """The layers between a flat vector and the data.

    Images, event shapes (H, W, C), are integers 0 ... 255: they are dequantised, divided by 256
    and, if `alpha` is given, mapped to the reals by the logit. Other shapes hold real numbers.
    """
    shape = checks.shape("event_shape", event_shape)
    layers = [] if len(shape) == 1 else [Reshape((math.prod(shape),))]
    if len(shape) == 3:
        layers += [] if alpha is None else [Logit(alpha)]
        layers += [Rescale(256.0), Dequantize(256)]
    return layers


def normalization_layer(normalization, policy):
    """A list with the normalisation layer of that name, or an empty list for None."""
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization must be one of {NORMALIZATIONS}; got {normalization!r}.")
    if normalization is None:
        return []
    return [ActNorm(dtype=policy) if normalization == "actnorm" else BatchNormalization(dtype=policy)]
