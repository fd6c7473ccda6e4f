"""A context at the places of what it conditions: flat beside vectors, spread or resized beside images."""

import math

from keras import ops

from flowzoo.types import Tensor


def context_at(values: Tensor, context: Tensor) -> Tensor:
    """The context of each place of `values`, to be concatenated to their last axis.

    Arguments:
        values: (batch, ..., d).
        context: flat, (batch, c), it is the same at all places. An image, (batch, H, W, C), stays one beside
            images (batch, h, w, d): where it is larger, it is averaged over blocks down to twice h and w, and
            every place gets the block of 2 x 2 under it as 4 C channels, in the order of
            `flowzoo.layers.Squeeze`; where it is smaller, its places are repeated. H must be a multiple or a
            divisor of h, and so W of w. Beside anything else an image is flat.

    Returns: (batch, ..., c).

    Example:
        >>> context = np.arange(64, dtype="float32").reshape(1, 8, 8, 1)
        >>> np.asarray(context_at(np.zeros((1, 4, 4, 6)), context))[0, 0, 0].tolist()
        [0.0, 1.0, 8.0, 9.0]
        >>> np.asarray(context_at(np.zeros((1, 2, 2, 6)), context))[0, 0, 0].tolist()
        [4.5, 6.5, 20.5, 22.5]
        >>> tuple(context_at(np.zeros((1, 16, 16, 6)), context).shape)
        (1, 16, 16, 1)
    """
    if len(values.shape) == 4 and len(context.shape) == 4:
        return _resized(context, values.shape[1:3])
    if len(context.shape) > 2:
        context = ops.reshape(context, (-1, math.prod(context.shape[1:])))
    if len(values.shape) == 2:
        return context
    context = ops.reshape(context, (-1, *[1] * (len(values.shape) - 2), context.shape[-1]))
    return ops.broadcast_to(context, (*ops.shape(values)[:-1], context.shape[-1]))


def context_channels(values_shape, context_shape):
    """How many numbers `context_at` gives each place; 0 without a context. Both shapes hold the batch.

    Raises: ValueError for an image that does not fit.

    Example:
        >>> context_channels((None, 4, 4, 6), (None, 8, 8, 3)), context_channels((None, 5), (None, 8, 8, 3))
        (12, 192)
    """
    if context_shape is None:
        return 0
    if len(values_shape) != 4 or len(context_shape) != 4:
        return math.prod(context_shape[1:])
    if any(a % b and b % a for a, b in zip(context_shape[1:3], values_shape[1:3], strict=True)):
        raise ValueError(
            f"A context of height and width {context_shape[1]} x {context_shape[2]} does not fit a scale of "
            f"{values_shape[1]} x {values_shape[2]}: its sizes must be multiples or divisors of those of the "
            "scale. Resize it, to the size of the images best, or let a context_network do so."
        )
    return math.prod(kept for _, kept, _ in _blocks(context_shape, values_shape[1:3])) * context_shape[3]


def _blocks(context_shape, sizes):
    """For height and width: how often a place is repeated, how many of a block stay, means of how many."""
    found = []
    for given, wanted in zip(context_shape[1:3], sizes, strict=True):
        ratio = max(given // wanted, 1)
        kept = 2 if ratio % 2 == 0 else 1
        found.append((max(wanted // given, 1), kept, ratio // kept))
    return found


def _resized(context, sizes):
    (up, rows, tall), (across, columns, wide) = _blocks(context.shape, sizes)
    for axis, times in ((1, up), (2, across)):
        if times > 1:
            context = ops.repeat(context, times, axis=axis)
    if rows * tall * columns * wide == 1:
        return context
    height, width, channels = *sizes, context.shape[3]
    context = ops.reshape(context, (-1, height, rows, tall, width, columns, wide, channels))
    context = ops.transpose(ops.mean(context, axis=(3, 6)), (0, 1, 3, 2, 4, 5))
    return ops.reshape(context, (-1, height, width, rows * columns * channels))
