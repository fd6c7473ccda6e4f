"""About how large a model would be, before it is built.

What is larger than an eighth and smaller than eight times the truth serves its purpose: not to start
what would fill the memory. Each model of the catalogue has a class method `estimated_size`, which takes
the constructor's arguments and gives about how many layers with weights these make, and how many weights.
"""

import itertools
import math

MOST_LEVELS = 16
ABSURD = (math.inf, math.inf)


def sizes(shape):
    """A shape as a list; an integer stands for one size.

    Example:
        >>> sizes(2), sizes((28, 28, 1))
        ([2], [28, 28, 1])
    """
    return list(shape) if isinstance(shape, (list, tuple)) else [shape]


def size_of(shape):
    """How many numbers a shape holds; 1 for None."""
    return math.prod(sizes(shape or 1))


def context_size(shape):
    """How many numbers of a context each place of an image flow sees: an image is squeezed once.

    Example:
        >>> context_size((32, 32, 3)), context_size((10,)), context_size(None)
        (12, 10, 1)
    """
    return 4 * shape[-1] if len(sizes(shape)) == 3 else size_of(shape)


def dense_size(depth, hidden_units, inputs, outputs):
    """Layers and weights of `depth` dense networks from `inputs` to `outputs` numbers.

    Example:
        >>> dense_size(2, (8, 8), inputs=3, outputs=4)
        (4, 240)
    """
    widths = sizes(hidden_units or 64)
    inner = sum(a * b for a, b in itertools.pairwise(widths))
    return depth * len(widths), depth * (inner + inputs * widths[0] + outputs * widths[-1])


def glow_size(levels, steps, width, inputs, channels):
    """Layers and weights of a Glow's steps, with networks that see so many inputs at the coarsest scale."""
    depth = sum(steps) if isinstance(steps, (list, tuple)) else steps * levels
    return depth, depth * (width**2 + 9 * width * inputs + channels**2)


def transformer_size(depth, hidden_size):
    """Layers and weights of so many transformer layers.

    Example:
        >>> transformer_size(16, 128)
        (16, 3145728)
    """
    return depth, 12 * depth * hidden_size**2


def autoencoder_size(width, levels, blocks):
    """Layers and weights of a `ConvEncoder` and a `ConvDecoder`."""
    return 4 * blocks + 2 * levels, 9 * width**2 * (4 * blocks + 6)
