"""Where the weights of dense networks start."""

import math

import keras
import numpy as np
from keras import ops

INITIALIZERS = ("he_normal", "uniform")


def kernel_and_bias(initializer, fan_in):
    """The Keras initializers of a dense layer with so many inputs.

    "he_normal" is He's normal kernels, and biases of zero. "uniform" draws both evenly from
    -1 / sqrt(fan_in) to 1 / sqrt(fan_in), as PyTorch does: with biases of zero all kinks of a ReLU
    network would meet at the origin, the middle of the data.

    Example:
        >>> kernel_and_bias("uniform", 4)[1].maxval
        0.5
    """
    if initializer == "he_normal":
        return "he_normal", "zeros"
    limit = 1 / math.sqrt(fan_in)
    return tuple(keras.initializers.RandomUniform(-limit, limit) for _ in range(2))


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
