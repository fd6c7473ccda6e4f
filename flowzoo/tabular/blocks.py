"""Rows in blocks of one size, so that each program is compiled once for all numbers of rows."""

import keras
import numpy as np
from keras import ops

from flowzoo.compiled import in_batches

BLOCK = 1024


def in_blocks(compute, arrays, *, progress=True):
    """What `compute(*arrays)` gives for arrays (n, ...), of which it gets `BLOCK` rows at a time.

    The last block is filled up by the last row.

    Arguments:
        progress: whether a bar shows what takes over two seconds.

    Returns: a NumPy array (n, ...), or a list of them.

    Example:
        >>> from flowzoo.tabular.blocks import in_blocks
        >>> in_blocks(lambda x: 2 * x, [np.arange(3.0)]).tolist()
        [0.0, 2.0, 4.0]
    """
    n = len(arrays[0])
    filled = [np.concatenate([array, np.repeat(array[-1:], -n % BLOCK, axis=0)]) for array in arrays]
    found = in_batches(
        lambda start, *block: compute(*block), filled, BLOCK, what="rows" if progress else None
    )
    return keras.tree.map_structure(lambda part: ops.convert_to_numpy(part)[:n], found)
