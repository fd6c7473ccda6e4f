"""Transformers that shift and scale."""

import math

import keras
from keras import ops

from flowzoo.transformers.transformer import Transformer
from flowzoo.types import Tensor


@keras.saving.register_keras_serializable(package="flowzoo")
class Additive(Transformer):
    """x = z + shift; volume preserving (Dinh et al., 2014, arXiv:1410.8516)."""

    parameters = 1

    def __init__(self):
        pass

    def forward(self, z: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        return z + shift, ops.zeros_like(z)

    def inverse(self, x: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        return x - shift, ops.zeros_like(x)


@keras.saving.register_keras_serializable(package="flowzoo")
class Affine(Transformer):
    """x = z * exp(s) + shift, with s = b * tanh(a / b) so that |s| < b.

    Zero parameters give the identity (Dinh et al., 2016, arXiv:1605.08803).

    Arguments:
        log_scale_bound: b above, in nats.
    """

    parameters = 2
    start_scales = (1.0, 0.1)  # log-scales add up from layer to layer, to a flow that explodes

    def __init__(self, log_scale_bound: float = 2.0):
        self.log_scale_bound = log_scale_bound

    def _shift_and_log_scale(self, parameters):
        shift, raw = ops.split(parameters, 2, axis=-1)
        return shift, soft_clamp(raw, self.log_scale_bound)

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._shift_and_log_scale(parameters)
        return z * ops.exp(log_scale) + shift, log_scale

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._shift_and_log_scale(parameters)
        return (x - shift) * ops.exp(-log_scale), -log_scale


@keras.saving.register_keras_serializable(package="flowzoo")
class LatentAffine(Affine):
    """z = x * exp(s) + shift, with |s| < b: the affine map whose shift is in the unit of the latent.

    Data in narrow clusters have a large exp(s), by which the error of `Affine`'s shift, in the unit of the
    data, is multiplied. Zero parameters give the identity (Dinh et al., 2016, arXiv:1605.08803).

    Arguments:
        log_scale_bound: b above, in nats.
    """

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return super().inverse(z, parameters)

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(x, parameters)


@keras.saving.register_keras_serializable(package="flowzoo")
class SoftplusAffine(Transformer):
    """x = z * softplus(a + c) + shift, with c = log(e - 1), so that zero parameters give the identity.

    The scale grows as a does, not as its exponential, which spares deep autoregressive flows of images the
    explosions of the latter (STARFlow, Gu et al., 2025, arXiv:2506.06276). Both are softly bounded.

    Arguments:
        log_scale_bound: bound of |a|, and so of a small scale's logarithm, in nats, to 0.54.
        shift_bound: bound of |shift|.
    """

    parameters = 2

    def __init__(self, log_scale_bound: float = 4.0, shift_bound: float = 8.0):
        self.log_scale_bound = log_scale_bound
        self.shift_bound = shift_bound

    def _shift_and_scale(self, parameters):
        shift, raw = ops.split(parameters, 2, axis=-1)
        scale = ops.softplus(soft_clamp(raw, self.log_scale_bound) + math.log(math.e - 1))
        return soft_clamp(shift, self.shift_bound), scale

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale = self._shift_and_scale(parameters)
        return z * scale + shift, ops.log(scale)

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale = self._shift_and_scale(parameters)
        return (x - shift) / scale, -ops.log(scale)


@keras.saving.register_keras_serializable(package="flowzoo")
class SigmoidAffine(Affine):
    """x = z * 2 sigmoid(a) + shift: the scale lies in (0, 2), and zero parameters give the identity.

    The transformer of Jet (Kolesnikov et al., 2024, arXiv:2412.15129).

    Arguments:
        log_scale_bound: soft bound of |a|, and so of a small scale's logarithm, in nats, to log 2.
    """

    start_scales = (1.0, 1.0)

    def __init__(self, log_scale_bound: float = 4.0):
        super().__init__(log_scale_bound)

    def _shift_and_log_scale(self, parameters):
        shift, clamped = super()._shift_and_log_scale(parameters)
        return shift, math.log(2) - ops.softplus(-clamped)


@keras.saving.register_keras_serializable(package="flowzoo")
class Gated(Transformer):
    """z = sigmoid(a + forget_bias) * x + (1 - sigmoid(a + forget_bias)) * m, as LSTM cells update.

    Inverse autoregressive flows map their latent to their data by this `inverse`. The result lies
    between x and m, so that it stays bounded however many such steps follow one another; with
    forget_bias = 1 or 2 a step of zero parameters keeps most of x (Kingma et al., 2016,
    arXiv:1606.04934).
    """

    parameters = 2

    def __init__(self, forget_bias: float = 1.0):
        self.forget_bias = forget_bias

    def _gates(self, parameters):
        """m, log sigmoid(a + forget_bias) and log(1 - sigmoid(a + forget_bias))."""
        m, raw = ops.split(parameters, 2, axis=-1)
        raw = raw + self.forget_bias
        return m, -ops.softplus(-raw), -ops.softplus(raw)

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        m, log_keep, log_change = self._gates(parameters)
        return (z - ops.exp(log_change) * m) * ops.exp(-log_keep), -log_keep

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        m, log_keep, log_change = self._gates(parameters)
        return ops.exp(log_keep) * x + ops.exp(log_change) * m, log_keep


def soft_clamp(x, bound):
    """bound * tanh(x / bound), by the sigmoid: `keras.ops.tanh` turns float64 to float32 on JAX."""
    return bound * (2 * ops.sigmoid(2 * x / bound) - 1)
