"""Likelihood in the units of the field."""

import io
import math

import keras
import numpy as np
from keras import ops
from PIL import Image

from flowzoo.layers.preprocessing import Logit, Rescale
from flowzoo.types import ArrayLike, Seed, Tensor


def bits_per_dim(log_prob: ArrayLike, dimensions: int) -> Tensor:
    """-log_prob / (dimensions * ln 2): nats per example to bits for each dimension.

    Arguments:
        log_prob: log-density in nats, any shape. For images it must be the density of pixels
            0 ... 255 with dequantisation noise; then a uniform model has 8 bits/dim.
        dimensions: numbers in one example, H * W * C for images.

    Returns: bits per dimension, of the shape of `log_prob`.

    Example:
        >>> dimensions = 28 * 28
        >>> bits_per_dim(-dimensions * math.log(256.0), dimensions)
        8.0
    """
    return -log_prob / (dimensions * math.log(2.0))


def log_likelihoods(
    flow: keras.Model, x: ArrayLike, context: ArrayLike | None = None, *, seed: Seed = None
) -> dict[str, Tensor]:
    """Log-density of images in every space that papers report, from one pass.

    Papers give nats in different spaces, apart by the log-determinant of the preprocessing:
    "pixels", x + u in [0, 256), flowzoo's own; "unit", (x + u) / 256, as NICE's; "logit", the
    logit of alpha + (1 - 2 alpha) (x + u) / 256, as MAF's.

    Arguments:
        flow: a `flowzoo.Flow` on images, with Dequantize, Rescale and perhaps Logit at its end.
        x: images (batch, H, W, C) with values 0 ... 255.
        context: (batch, *context_shape) for a conditional flow.
        seed: draws the dequantisation noise: an integer, a `keras.random.SeedGenerator` or a key of the
            backend.

    Returns: dict from the space's name to a tensor (batch,) in nats.
    """
    z, log_dets = flow.inverse_and_log_dets(x, context, seed=seed)
    kinds = [type(layer) for layer in reversed(flow.flow_layers)]
    total = flow.base_distribution.log_prob(z) + sum(log_dets)
    found = {"pixels": total}
    for space, kind in (("unit", Rescale), ("logit", Logit)):
        if kind in kinds:
            total = total - log_dets[kinds.index(kind)]
            found[space] = total
    return found


def png_bits_per_dim(images: ArrayLike) -> np.ndarray:
    """The size of each image as a PNG file, in bits per number: (n, H, W, 1 or 3) -> (n,).

    An image of three equal channels is written in shades of grey, since a PNG file in colours does not
    become smaller for it.

    Example:
        >>> flat = np.zeros((1, 32, 32, 3), "uint8")
        >>> bool(flowzoo.metrics.png_bits_per_dim(flat)[0] < 1)
        True
    """
    images = np.asarray(images).astype("uint8")
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"images must have shape (n, H, W, 1) or (n, H, W, 3); got {images.shape}.")
    sizes = []
    for image in images:
        file = io.BytesIO()
        grey = (image == image[..., :1]).all()
        Image.fromarray(image[..., 0] if grey else image).save(file, "PNG", optimize=True)
        sizes.append(file.tell())
    return 8 * np.array(sizes) / images[0].size


def image_statistics(images: ArrayLike) -> dict[str, float]:
    """What samples may be held to real images by: brightness, contrast, smoothness, detail.

    Arguments:
        images: (n, H, W, 1 or 3), values 0 ... 255; a few hundred.

    Returns: dict of "mean" and "deviation" of all values; "contrast", the mean deviation within one image;
        "neighbours", the correlation of values beside or below each other, 1 where all are equal; "black" and
        "white", the shares of values 0 and 255; "png", the mean of `png_bits_per_dim`.

    Example:
        >>> stripes = np.tile(np.array([0, 255], "uint8")[:, None], (2, 8, 4, 1))
        >>> found = flowzoo.metrics.image_statistics(stripes)
        >>> found["mean"], found["contrast"], found["black"]
        (127.5, 127.5, 0.5)
    """
    images = np.asarray(images)
    png, values = png_bits_per_dim(images), images.astype("float64")
    first = np.concatenate([values[:, :-1].ravel(), values[:, :, :-1].ravel()])
    second = np.concatenate([values[:, 1:].ravel(), values[:, :, 1:].ravel()])
    varied = np.ptp(first) > 0 and np.ptp(second) > 0
    return {
        "mean": float(values.mean()),
        "deviation": float(values.std()),
        "contrast": float(values.std(axis=(1, 2, 3)).mean()),
        "neighbours": float(np.corrcoef(first, second)[0, 1]) if varied else 1.0,
        "black": float(np.mean(values == 0)),
        "white": float(np.mean(values == 255)),
        "png": float(png.mean()),
    }


def psnr(images: ArrayLike, reconstructions: ArrayLike) -> np.ndarray:
    """Peak signal-to-noise ratio, 10 log10(255^2 / mean squared error), in dB: (n, ...) twice -> (n,).

    Arguments:
        images, reconstructions: pixels 0 ... 255.

    Example:
        >>> images = np.zeros((1, 2, 2, 1))
        >>> round(float(flowzoo.metrics.psnr(images, images + 25.5)[0]), 3)
        20.0
    """
    images, reconstructions = (
        ops.convert_to_numpy(part).astype("float64") for part in (images, reconstructions)
    )
    if images.shape != reconstructions.shape:
        raise ValueError(f"images have shape {images.shape}, but reconstructions {reconstructions.shape}.")
    error = np.mean((images - reconstructions) ** 2, axis=tuple(range(1, images.ndim)))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255.0**2 / error)
