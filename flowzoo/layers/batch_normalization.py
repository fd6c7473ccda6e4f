"""Batch normalisation as a flow layer."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowzoo import replicas
from flowzoo.layers.flow_layer import FlowLayer, positions
from flowzoo.layers.statistics import ROUNDING
from flowzoo.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="flowzoo")
class BatchNormalization(FlowLayer):
    """z = exp(g) * (x - mean) / sqrt(variance + epsilon) + beta, over all but the last axis.

    In training, mean and variance are those of the batch, on several devices of the global one, and
    the gradient passes through them; elsewhere, and in a layer that is frozen (`trainable = False`),
    they are the running averages, which then stay. A column that is constant in the batch counts as one
    of variance 1. log_det is minus the sum of g and of
    -log(variance + epsilon) / 2, times H * W for images.

    References:
        Density estimation using Real NVP (Dinh et al., 2016, arXiv:1605.08803), section 3.7
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017, arXiv:1705.07057)

    Arguments:
        momentum: of the running averages.
        epsilon: added to the variance.

    Example:
        >>> layer = flowzoo.layers.BatchNormalization()
        >>> layer.build((None, 3))
        >>> tuple(layer.inverse_and_log_det(keras.ops.ones((5, 3)))[0].shape)
        (5, 3)
    """

    def __init__(self, *, momentum: float = 0.99, epsilon: float = 1e-5, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1); got {momentum!r}.")
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive; got {epsilon!r}.")
        self.momentum = momentum
        self.epsilon = epsilon
        self.statistics = BatchStatistics(momentum, dtype=self.dtype_policy, name="statistics")

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        self.positions = positions(x_shape)
        self.statistics.build(x_shape)
        size = x_shape[-1]
        self.gamma = self.add_weight(shape=(size,), initializer="zeros", name="gamma")
        self.beta = self.add_weight(shape=(size,), initializer="zeros", name="beta")

    def _log_det(self, log_scale, values):
        return self.per_example(self.positions * ops.sum(log_scale), values)

    def _log_scale(self, variance):
        return self.gamma - 0.5 * ops.log(variance + self.epsilon)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mean, variance = self.statistics.mean, self.statistics.variance
        log_scale = self._log_scale(variance)
        return (z - self.beta) * ops.exp(-log_scale) + mean, -self._log_det(log_scale, z)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mean, variance = self.statistics(x)
        log_scale = self._log_scale(variance)
        return (x - mean) * ops.exp(log_scale) + self.beta, self._log_det(log_scale, x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}

    def named_parts(self) -> dict[str, Any]:
        return {"statistics": self.statistics}


class BatchStatistics(keras.layers.Layer):
    """Mean and variance of the batch in training, the running averages elsewhere and where it is frozen.

    A layer of its own, so that Keras hands `training` to it from the model's call.
    """

    def __init__(self, momentum: float, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.momentum = momentum

    def build(self, input_shape: Shape) -> None:
        size = input_shape[-1]
        self.mean = self.add_weight(
            shape=(size,), initializer="zeros", trainable=False, autocast=False, name="mean"
        )
        self.variance = self.add_weight(
            shape=(size,), initializer="ones", trainable=False, autocast=False, name="variance"
        )

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        if not training or not self.trainable:
            return ops.convert_to_tensor(self.mean), ops.convert_to_tensor(self.variance)
        axes = tuple(range(len(x.shape) - 1))
        mean = replicas.global_mean(x, axes)
        variance = replicas.global_mean(ops.square(x - mean), axes)
        rounding = (ROUNDING * np.finfo(keras.backend.standardize_dtype(x.dtype)).eps) ** 2
        constant = variance <= rounding * replicas.global_mean(ops.square(x), axes)
        variance = ops.where(constant, ops.ones_like(variance), variance)
        for average, value in ((self.mean, mean), (self.variance, variance)):
            average.assign(self.momentum * average + (1 - self.momentum) * ops.stop_gradient(value))
        return mean, variance

    def compute_output_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        return (input_shape[-1:], input_shape[-1:])
