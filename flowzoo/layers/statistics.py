"""Means and spreads that layers start from."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowzoo.types import Shape, Tensor

ROUNDING = 8  # spreads of so many units in the last place are rounding errors
LARGEST = 80.0  # log-scale, whose exponential float32 holds both ways


def moments(x):
    """Mean and standard deviation over all but the last axis, and which columns are constant.

    A column is constant if its spread is no more than the rounding errors of its numbers.

    Arguments:
        x: floats (batch, ...).

    Returns: three arrays of the length of the last axis, float64, float64 and bool.

    Example:
        >>> mean, deviation, constant = moments(np.array([[1e8, 0.0], [1e8 + 16, 0.0]], "float32"))
        >>> mean.tolist(), deviation.tolist(), constant.tolist()
        ([100000008.0, 0.0], [8.0, 0.0], [True, True])
    """
    x = np.asarray(ops.convert_to_numpy(x))
    rounding = ROUNDING * np.finfo(x.dtype).eps
    x = x.reshape(-1, x.shape[-1]).astype("float64")
    deviation = x.std(axis=0)
    return x.mean(axis=0), deviation, deviation <= rounding * np.abs(x).max(axis=0)


class Statistics(keras.layers.Layer):
    """Mean and log-scale of each place of the last axis, set once from data and not trained.

    Before that they are 0. `standardized(x)` is (x - mean) * exp(-log_scale): the mean is taken off first,
    so that columns such as 1e8 + 1e6 * N(0, 1) keep what float32 has of them.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)

    def build(self, shape: Shape) -> None:
        def weight(name, shape, dtype=None):
            return self.add_weight(
                shape=shape, dtype=dtype, initializer="zeros", trainable=False, autocast=False, name=name
            )

        self.mean = weight("mean", (shape[-1],))
        self.log_scale = weight("log_scale", (shape[-1],))
        self.initialized = weight("initialized", (), "int32")

    @property
    def needs_initialization(self) -> bool:
        return not int(ops.convert_to_numpy(self.initialized))

    def initialize(self, x: Tensor) -> None:
        """Sets both from examples (batch, ...), unless they are set."""
        if not self.needs_initialization:
            return
        mean, deviation, constant = moments(x)
        size = np.where(mean == 0, 1.0, np.abs(mean))
        log_scale = np.log(np.where(constant, size, deviation))
        self.mean.assign(mean)
        self.log_scale.assign(np.clip(log_scale, -LARGEST, LARGEST))
        self.initialized.assign(1)

    def standardized(self, x: Tensor) -> Tensor:
        return (x - self.mean) * ops.exp(-self.log_scale)

    def call(self, x: Tensor) -> Tensor:
        return self.standardized(x)
