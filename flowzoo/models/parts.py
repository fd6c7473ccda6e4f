"""What the catalogue's models share."""

import math

from flowzoo import checks
from flowzoo.layers import (
    ActNorm,
    BatchNormalization,
    Dequantize,
    GaussianDequantize,
    Logit,
    Rescale,
    Reshape,
    Standardize,
    VariationalDequantize,
)

NORMALIZATIONS = (None, "actnorm", "batch")
DEQUANTIZATIONS = ("uniform", "variational")


def flat_data_end(event_shape, alpha=None, *, standardize=True, dtype=None):
    """The layers between a flat vector and the data.

    Images, event shapes (H, W, C), are integers 0 ... 255: they are dequantised, divided by 256
    and, if `alpha` is given, mapped to the reals by the logit. Other shapes hold real numbers, which
    `standardize` brings to mean 0 and variance 1.
    """
    shape = checks.shape("event_shape", event_shape)
    layers = [] if len(shape) == 1 else [Reshape((math.prod(shape),))]
    if len(shape) == 3:
        layers += image_data_end(alpha=alpha)
    elif standardize:
        layers.insert(0, Standardize(dtype=dtype))
    return layers


def affine_for(event_shape, transformer):
    """`transformer`, or that of the default: "affine" for images, "latent_affine" for other data."""
    return _given_or(transformer, event_shape, image="affine", other="latent_affine")


def initializer_for(event_shape, initializer):
    """`initializer`, or that of the default: "he_normal" for images, "uniform" for other data."""
    return _given_or(initializer, event_shape, image="he_normal", other="uniform")


def _given_or(given, event_shape, *, image, other):
    if given is not None:
        return given
    return image if len(checks.shape("event_shape", event_shape)) == 3 else other


def image_data_end(
    *, alpha=None, centered=False, bits=8, dequantization="uniform", noise_scale=None, dtype=None
):
    """The layers between real and integer images of pixels 0 ... 255.

    Latent to data: the logit if `alpha` is given, [0, 1) or, if centered, [-1/2, 1/2) to
    [0, 2^bits), and dequantisation, for under 8 bits after dropping the lowest. `noise_scale` is that of
    Gaussian noise in its stead, of which [0, 2^bits) is 1.
    """
    checks.choice("dequantization", dequantization, DEQUANTIZATIONS)
    if bits not in range(1, 9):
        raise ValueError(f"bits must be an integer from 1 to 8; got {bits!r}.")
    bins = 2**bits
    kind = Dequantize if dequantization == "uniform" else VariationalDequantize
    options = {}
    if noise_scale is not None:
        kind, options = GaussianDequantize, {"scale": bins * noise_scale}
    return [
        *([] if alpha is None else [Logit(alpha)]),
        Rescale(bins, offset=bins / 2 if centered else 0.0),
        kind(bins, step=256 // bins, dtype=dtype, **options),
    ]


def image_shape(event_shape, levels):
    """`event_shape` as (H, W, C), found to be squeezable `levels` times.

    Raises: ValueError that names the padding, where height or width do not divide.
    """
    shape = checks.shape("event_shape", event_shape)
    if len(shape) != 3:
        raise ValueError(f"event_shape must be (height, width, channels) for images; got {shape}.")
    block = 2 ** checks.positive_integer("levels", levels)
    padded = tuple(-(-size // block) * block for size in shape[:2])
    if padded != shape[:2]:
        rows, columns = padded[0] - shape[0], padded[1] - shape[1]
        raise ValueError(
            f"Height and width must be divisible by {block} for {levels} levels; got {shape[0]} x "
            f"{shape[1]}. Pad the images by {rows} rows and {columns} columns to {padded[0]} x {padded[1]}, "
            "or use fewer levels."
        )
    return shape


def normalization_layer(normalization, policy):
    """A list with the normalisation layer of that name, or an empty list for None."""
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization must be one of {NORMALIZATIONS}; got {normalization!r}.")
    if normalization is None:
        return []
    return [ActNorm(dtype=policy) if normalization == "actnorm" else BatchNormalization(dtype=policy)]


def for_form(shape, for_vectors, for_images, **given):
    """The arguments of the form that `shape` asks for, by default where None; None for the others."""
    form, defaults = ("images", for_images) if len(shape) == 3 else ("vectors", for_vectors)
    for name, value in given.items():
        if value is not None and name not in defaults:
            raise ValueError(
                f"{name} is not for {form}, and event_shape {shape} holds {form}; they take "
                f"{', '.join(defaults)}."
            )
    return {name: defaults.get(name) if value is None else value for name, value in given.items()}
