"""Rows in blocks of one size, so that each program is compiled once for all numbers of rows."""

import keras
import numpy as np
from keras import ops

from flowzoo.compiled import in_batches

BLOCK = 1024


def in_blocks(compute, arrays, *, progress=True):
    """What `compute(*arrays)` gives for arrays (n, ...), of which it gets `BLOCK` rows at a time.

    The last block is filled up by its last row.

    Arguments:
        progress: whether a bar shows what takes over two seconds after the first block.

    Returns: a NumPy array (n, ...), or a list of them.

    Example:
        >>> from flowzoo.tabular.blocks import in_blocks
        >>> in_blocks(lambda x: 2 * x, [np.arange(3.0)]).tolist()
        [0.0, 2.0, 4.0]
    """

    def compute_block(start, *block):
        return compute(*map(filled_up, block))

    found = in_batches(compute_block, arrays, BLOCK, what="rows" if progress else None)
    return keras.tree.map_structure(lambda part: ops.convert_to_numpy(part)[: len(arrays[0])], found)


def filled_up(array):
    """The array with its last row repeated, up to the size of a block."""
    return np.concatenate([array, np.broadcast_to(array[-1:], (BLOCK - len(array), *array.shape[1:]))])
