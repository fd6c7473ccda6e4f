"""Diagonal scaling and activation normalisation."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowzoo.layers.flow_layer import FlowLayer, positions
from flowzoo.layers.statistics import moments
from flowzoo.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="flowzoo")
class DiagonalScaling(FlowLayer):
    """x = z * exp(s), one s = log_scale_factor * w for each place of the last axis.

    log_det = sum(s) for vectors, H * W * sum(s) for images. NICE's last layer, which lets the
    flow weigh dimensions against each other. It starts so that the first data have variance 1 on
    the latent side, `epsilon` added to the data's variance; a column that is constant there keeps
    its scale, s = 0. The start is set once, by `Flow.fit` or `Flow.initialize`, and is saved; before
    it the layer is the identity.

    References:
        NICE: Non-linear Independent Components Estimation (Dinh et al., 2014, arXiv:1410.8516)

    Arguments:
        epsilon: added to the variance at the start; it bounds exp(-s) by 1 / sqrt(epsilon).
        log_scale_factor: how far s moves when an optimizer such as Adam moves the weight w by 1.

    Example:
        >>> layer = flowzoo.layers.DiagonalScaling()
        >>> layer.build((None, 4))
        >>> tuple(layer.log_scale().shape)
        (4,)
    """

    def __init__(self, *, epsilon: float = 1e-6, log_scale_factor: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        if not log_scale_factor > 0:
            raise ValueError(f"log_scale_factor must be positive; got {log_scale_factor!r}.")
        self.log_scale_factor = log_scale_factor
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive; got {epsilon!r}.")
        self.epsilon = epsilon

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        self.positions = positions(x_shape)
        self.weight = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="weight")
        self.initialized = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, name="initialized"
        )

    @property
    def needs_initialization(self) -> bool:
        return not int(ops.convert_to_numpy(self.initialized))

    def initialize(self, x: Tensor, context: Tensor | None = None, noise: Tensor | None = None) -> None:
        if not self.needs_initialization:
            return
        mean, deviation, constant = moments(x)
        variance = np.where(constant, 1.0, deviation**2 + self.epsilon)
        self.weight.assign(0.5 * np.log(variance) / self.log_scale_factor)
        self.initialize_shift(mean)
        self.initialized.assign(1)

    def initialize_shift(self, mean: Tensor) -> None:
        """For a subclass that shifts, too."""

    def log_scale(self) -> Tensor:
        """s, of the length of the last axis."""
        return self.log_scale_factor * self.weight

    def _log_det(self, log_scale, values):
        return self.per_example(self.positions * ops.sum(log_scale), values)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_scale = self.log_scale()
        return z * ops.exp(log_scale), self._log_det(log_scale, z)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_scale = self.log_scale()
        return x * ops.exp(-log_scale), -self._log_det(log_scale, x)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "epsilon": self.epsilon,
            "log_scale_factor": self.log_scale_factor,
        }


@keras.saving.register_keras_serializable(package="flowzoo")
class ActNorm(DiagonalScaling):
    """x = z * exp(s) + shift, started so that the first data have mean 0 and variance 1.

    One s and one shift for each place of the last axis; log_det and the start of s as
    `DiagonalScaling`'s.

    References:
        Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018, arXiv:1807.03039)

    Arguments:
        epsilon: added to the variance at the start.
        log_scale_factor: as `DiagonalScaling`'s; 3 in Glow's reference implementation.

    Example:
        >>> layer = flowzoo.layers.ActNorm()
        >>> layer.build((None, 2))
        >>> layer.initialize(keras.ops.array([[0.0, 5.0], [2.0, 5.5]]))
        >>> keras.ops.convert_to_numpy(layer(keras.ops.array([[1.0, 5.25]]))).tolist()
        [[0.0, 0.0]]
    """

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        super().build(x_shape, context_shape)
        self.shift = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="shift")

    def initialize_shift(self, mean: Tensor) -> None:
        self.shift.assign(mean)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = super().forward_and_log_det(z)
        return x + self.shift, log_det

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return super().inverse_and_log_det(x - self.shift)
