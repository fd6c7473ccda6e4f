"""Where the weights of networks start.

NumPy draws them. JAX would compile a program for each shape, which takes longer than all else in making a
model.
"""

import math
import random
from collections.abc import Callable

import numpy as np
from keras import ops

from flowzoo import backend
from flowzoo.types import Seed, Shape, Tensor

INITIALIZERS = ("he_normal", "uniform")


def he_normal(shape: Shape, dtype: str | None = None) -> Tensor:
    """A kernel (..., fan-in, units) of He's normal initialisation, as Keras's initializer of the name.

    The numbers are normal, without those beyond two standard deviations, and of variance 2 / fan-in.

    References:
        Delving deep into rectifiers (He et al., 2015, arXiv:1502.01852)

    Example:
        >>> kernel = keras.ops.convert_to_numpy(he_normal((3, 3, 8, 64)))
        >>> kernel.shape, round(float(kernel.std() * (3 * 3 * 8 / 2) ** 0.5), 1)
        ((3, 3, 8, 64), 1.0)
    """
    scale = math.sqrt(2 / max(1, math.prod(shape[:-1]))) / TRUNCATED
    return ops.convert_to_tensor(scale * truncated_normal(generator(), shape), dtype)


TRUNCATED = 0.87962566  # the standard deviation of `truncated_normal`


def truncated_normal(generator, shape):
    """N(0, 1) between -2 and 2."""
    values = generator.normal(size=shape)
    while np.any(outside := np.abs(values) > 2):
        values[outside] = generator.normal(size=np.count_nonzero(outside))
    return values


def evenly(limit: float) -> Callable[..., Tensor]:
    """The initializer of numbers of Uniform(-limit, limit).

    Example:
        >>> bool(keras.ops.all(keras.ops.abs(evenly(0.5)((1000,))) < 0.5))
        True
    """

    def initializer(shape, dtype=None):
        return ops.convert_to_tensor(generator().uniform(-limit, limit, shape), dtype)

    return initializer


def generator(seed: Seed = None) -> np.random.Generator:
    """The one that a seed of any kind gives; without a seed, one that `keras.utils.set_random_seed` seeds."""
    if seed is None:
        return np.random.default_rng(random.randrange(2**63))
    return np.random.default_rng(ops.convert_to_numpy(backend.random_key(seed)).astype("uint32"))


def kernel_and_bias(initializer, fan_in):
    """The initializers of a dense layer with so many inputs.

    "he_normal" is He's normal kernels, and biases of zero. "uniform" draws both evenly from
    -1 / sqrt(fan_in) to 1 / sqrt(fan_in), as PyTorch does: with biases of zero all kinks of a ReLU
    network would meet at the origin, the middle of the data.

    Example:
        >>> bool(keras.ops.max(kernel_and_bias("uniform", 4)[1]((1000,))) > 0.49)
        True
    """
    if initializer == "he_normal":
        return he_normal, "zeros"
    return (evenly(1 / math.sqrt(fan_in)),) * 2


def in_blocks(initializer, scales):
    """`initializer` of weights whose last axis has equal blocks, times the scale of each block.

    Example:
        >>> start = in_blocks(keras.initializers.Ones(), (1.0, 0.5))
        >>> keras.ops.convert_to_numpy(start((4,), "float32")).tolist()
        [1.0, 1.0, 0.5, 0.5]
    """

    def scaled(shape, dtype=None):
        values = initializer(shape, dtype)
        return values * ops.cast(np.repeat(scales, shape[-1] // len(scales)), values.dtype)

    return scaled
