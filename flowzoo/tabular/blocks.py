"""Rows in blocks of one size, so that each program is compiled once for all numbers of rows."""

import keras
import numpy as np
from keras import ops

from flowzoo.compiled import in_batches

BLOCK = 1024


def in_blocks(compute, arrays, *, what="rows"):
    """What `compute(*arrays)` gives for arrays (n, ...), or None, of which it gets `BLOCK` rows at a time.

    The last block is filled up by its last row. Gives a NumPy array (n, ...), or a list of them.

    Example:
        >>> from flowzoo.tabular.blocks import in_blocks
        >>> in_blocks(lambda x: 2 * x, [np.arange(3.0)]).tolist()
        [0.0, 2.0, 4.0]
    """
    n = next(len(array) for array in arrays if array is not None)
    padded = [None if array is None else filled_up(array, -(-n // BLOCK) * BLOCK) for array in arrays]
    found = in_batches(lambda start, *block: compute(*block), padded, BLOCK, what=what)
    return keras.tree.map_structure(lambda part: ops.convert_to_numpy(part)[:n], found)


def filled_up(array, size):
    """The array with its last row repeated, up to `size` rows."""
    return np.concatenate([array, np.broadcast_to(array[-1:], (size - len(array), *array.shape[1:]))])
