"""Where the weights of dense networks start."""

import math

import keras

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
