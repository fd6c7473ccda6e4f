"""Rows in blocks of one size, so that each program is compiled once for all numbers of rows."""

import time

import keras
import numpy as np
from keras import ops

from flowzoo.compiled import PATIENCE

BLOCK = 1024


def in_blocks(compute, arrays, *, progress=True):
    """What `compute(*arrays)` gives for arrays (n, ...), or None, of which it gets `BLOCK` rows at a time.

    The last block is filled up by its last row.

    Arguments:
        progress: whether a bar shows what takes over two seconds after the first block, which compiles.

    Returns: a NumPy array (n, ...), or a list of them.

    Example:
        >>> from flowzoo.tabular.blocks import in_blocks
        >>> in_blocks(lambda x: 2 * x, [np.arange(3.0)]).tolist()
        [0.0, 2.0, 4.0]
    """
    n = next(len(array) for array in arrays if array is not None)
    found, bar, started = [], None, None
    for start in range(0, n, BLOCK):
        block = [None if array is None else filled_up(array[start : start + BLOCK]) for array in arrays]
        found.append(keras.tree.map_structure(ops.convert_to_numpy, compute(*block)))
        started = started or time.monotonic()
        if progress and time.monotonic() - started > PATIENCE:
            bar = bar or keras.utils.Progbar(n, unit_name="row")
            bar.update(min(start + BLOCK, n))
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts)[:n], *found)


def filled_up(array):
    """The array with its last row repeated, up to the size of a block."""
    return np.concatenate([array, np.broadcast_to(array[-1:], (BLOCK - len(array), *array.shape[1:]))])
