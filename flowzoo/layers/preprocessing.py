"""Fixed layers near the data: rescaling, the logit, another shape."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from flowzoo import checks
from flowzoo.layers.flow_layer import FlowLayer, sum_event
from flowzoo.transformers.logistic import log_sigmoid_slope
from flowzoo.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="flowzoo")
class Rescale(FlowLayer):
    """x = scale * z + offset with fixed numbers; log_det = D log |scale|.

    Example:
        >>> layer = flowzoo.layers.Rescale(256.0)
        >>> layer.build((None, 2))
        >>> round(float(layer.forward_and_log_det(keras.ops.ones((1, 2)))[1][0]), 3)
        11.09
    """

    def __init__(self, scale: float, offset: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        if not math.isfinite(scale) or scale == 0:
            raise ValueError(f"scale must be finite and not 0; got {scale!r}.")
        self.scale = float(scale)
        self.offset = float(offset)

    def _log_det(self, values):
        return self.per_example(math.prod(values.shape[1:]) * math.log(abs(self.scale)), values)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.scale * z + self.offset, self._log_det(z)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (x - self.offset) / self.scale, -self._log_det(x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}


@keras.saving.register_keras_serializable(package="flowzoo")
class Logit(FlowLayer):
    """z = logit(p) with p = alpha + (1 - 2 alpha) x, for x in the unit interval.

    log_det = sum(log(1 - 2 alpha) - log p - log(1 - p)), data to latent. `alpha` keeps the
    logit finite at 0 and 1. Latent to data gives what has p in (0, 1), that is -a < x < 1 + a with
    a = alpha / (1 - 2 alpha); elsewhere the density is 0, log_det = -inf.

    References:
        Density estimation using Real NVP (Dinh et al., 2016, arXiv:1605.08803), section 4.1

    Arguments:
        alpha: in [0, 0.5); 0.05 in RealNVP, 1e-6 for MNIST in MAF's paper.

    Example:
        >>> layer = flowzoo.layers.Logit(0.05)
        >>> layer.build((None, 2))
        >>> keras.ops.convert_to_numpy(layer(keras.ops.array([[0.5, 0.5]]))).tolist()
        [[0.0, 0.0]]
    """

    def __init__(self, alpha: float = 0.05, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= alpha < 0.5:
            raise ValueError(f"alpha must lie in [0, 0.5); got {alpha!r}.")
        self.alpha = float(alpha)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = log_sigmoid_slope(z) - math.log1p(-2 * self.alpha)
        return (ops.sigmoid(z) - self.alpha) / (1 - 2 * self.alpha), sum_event(log_det)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        outside = self.outside(x)
        log_p, log_not_p = (ops.log(part) for part in self._probabilities(ops.where(outside, 0.5, x)))
        log_det = sum_event(math.log1p(-2 * self.alpha) - log_p - log_not_p)
        log_det = ops.where(ops.any(outside, axis=tuple(range(1, len(x.shape)))), -np.inf, log_det)
        return log_p - log_not_p, log_det

    def outside(self, x: Tensor) -> Tensor | None:
        p, not_p = self._probabilities(x)
        return ops.logical_or(p <= 0, not_p <= 0)

    def _probabilities(self, x):
        """p and 1 - p, each exact where it is small."""
        slope = 1 - 2 * self.alpha
        return self.alpha + slope * x, self.alpha + slope * (1 - x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha}


@keras.saving.register_keras_serializable(package="flowzoo")
class Reshape(FlowLayer):
    """The same numbers in another shape; log_det = 0.

    Arguments:
        latent_shape: shape of one example on the latent side.

    Example:
        >>> layer = flowzoo.layers.Reshape((784,))
        >>> layer.build((None, 28, 28, 1))
        >>> tuple(layer(keras.ops.ones((5, 28, 28, 1))).shape)
        (5, 784)
    """

    def __init__(self, latent_shape: Shape, **kwargs: Any):
        super().__init__(**kwargs)
        self.latent_shape = checks.shape("latent_shape", latent_shape)

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        self.data_shape = tuple(x_shape[1:])
        if math.prod(self.data_shape) != math.prod(self.latent_shape):
            raise ValueError(
                f"latent_shape {self.latent_shape} holds {math.prod(self.latent_shape)} numbers, "
                f"but the data of shape {self.data_shape} has {math.prod(self.data_shape)}."
            )

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return ops.reshape(z, (-1, *self.data_shape)), self.per_example(0.0, z)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return ops.reshape(x, (-1, *self.latent_shape)), self.per_example(0.0, x)

    def compute_output_shape(self, x_shape: Shape, context_shape: Shape | None = None) -> Shape:
        return (x_shape[0], *self.latent_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "latent_shape": self.latent_shape}
