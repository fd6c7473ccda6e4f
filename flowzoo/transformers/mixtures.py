"""Transformers by the distribution functions of mixtures."""

import math

import keras
from keras import ops

from flowzoo import backend
from flowzoo.backend import tfd
from flowzoo.transformers.affine import soft_clamp
from flowzoo.transformers.logistic import log_sigmoid_slope
from flowzoo.transformers.transformer import Transformer
from flowzoo.types import Tensor

LOG_SQRT_2_PI = 0.5 * math.log(2 * math.pi)


class Mixture(Transformer):
    """z = Q(F(x)) for a mixture's distribution function F(x) = sum_k w_k G((x - m_k) / s_k).

    G is a standard distribution function and Q its quantile function, both on the whole line: with z
    of that distribution, x has exactly the mixture's density. A subclass says what G and Q are, by

        log_cdf(y), log_density(y)      of G, for any y
        quantile(log_below, log_above)  Q from the logarithms of F and 1 - F

    `forward` has no formula: x is found by halving an interval, and one step of Newton's method, which
    also carries the exact gradient.
    """

    iterations = 50

    def __init__(self, components: int = 10, log_scale_bound: float = 2.0):
        self.components = components
        self.log_scale_bound = log_scale_bound

    @property
    def parameters(self) -> int:
        return 3 * self.components

    def _mixture(self, parameters):
        """Log-weights, means and log-scales, each (batch, ..., components, D)."""
        logits, means, raw = ops.split(parameters, 3, axis=-2)
        # Spread the means: equal components would get equal gradients and stay equal.
        spread = ops.reshape(ops.linspace(-1.0, 1.0, self.components + 2)[1:-1], (-1, 1))
        means = means + ops.cast(spread, means.dtype)
        return ops.log_softmax(logits, axis=-2), means, soft_clamp(raw, self.log_scale_bound)

    def _components(self, x, mixture):
        """x in each component's standard units, (batch, ..., components, D)."""
        _, means, log_scales = mixture
        return (ops.expand_dims(x, -2) - means) * ops.exp(-log_scales)

    def _log_tails(self, y, log_weights):
        """log P(X < x) and log P(X > x)."""
        return (
            ops.logsumexp(log_weights + self.log_cdf(y), axis=-2),
            ops.logsumexp(log_weights + self.log_cdf(-y), axis=-2),
        )

    def _log_derivative(self, z, y, mixture):
        """log dz/dx: the mixture's log-density less that of z."""
        log_weights, _, log_scales = mixture
        return ops.logsumexp(log_weights + self.log_density(y) - log_scales, axis=-2) - self.log_density(z)

    def _inverse(self, x, mixture):
        y = self._components(x, mixture)
        z = self.quantile(*self._log_tails(y, mixture[0]))
        return z, self._log_derivative(z, y, mixture)

    def _forward(self, z, mixture):
        fixed = [ops.stop_gradient(part) for part in mixture]
        target = ops.stop_gradient(z)
        target_below, target_above = self.log_cdf(target), self.log_cdf(-target)
        _, means, log_scales = fixed
        # z * s_k + m_k, over all k, brackets the solution.
        ends = ops.expand_dims(target, -2) * ops.exp(log_scales) + means

        def halve(_, low, high):
            middle = 0.5 * (low + high)
            log_below, log_above = self._log_tails(self._components(middle, fixed), fixed[0])
            below = ops.where(target < 0, log_below < target_below, log_above > target_above)
            return ops.where(below, middle, low), ops.where(below, high, middle)

        start = (ops.min(ends, axis=-2), ops.max(ends, axis=-2))
        low, high = backend.repeat(self.iterations, halve, start)
        x = ops.stop_gradient(0.5 * (low + high))
        reached, log_slope = self._inverse(x, mixture)
        x = x + (z - reached) * ops.exp(-ops.stop_gradient(log_slope))
        return x, -self._log_derivative(z, self._components(x, mixture), mixture)

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return self._inverse(x, self._mixture(self.by_dimension(parameters)))

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return self._forward(z, self._mixture(self.by_dimension(parameters)))


@keras.saving.register_keras_serializable(package="flowzoo")
class MixtureOfGaussians(Mixture):
    """z = Phi^-1(sum_k w_k Phi((x - m_k) / s_k)): x has a Gaussian mixture's density.

    Phi is the standard normal distribution function. With z standard normal, the density of x
    is exactly sum_k w_k N(x; m_k, s_k^2), the conditional of MADE MoG and MAF MoG
    (Papamakarios et al., 2017, arXiv:1705.07057).

    Arguments:
        components: number of Gaussians.
        log_scale_bound: soft bound of the log s_k, in nats.
    """

    def log_cdf(self, y: Tensor) -> Tensor:
        return log_normal_cdf(y)

    def log_density(self, y: Tensor) -> Tensor:
        return -0.5 * ops.square(y) - LOG_SQRT_2_PI

    def quantile(self, log_below: Tensor, log_above: Tensor) -> Tensor:
        lower = log_below < log_above
        tail = normal_quantile(ops.where(lower, log_below, log_above))
        return ops.where(lower, tail, -tail)


@keras.saving.register_keras_serializable(package="flowzoo")
class MixtureOfLogistics(Mixture):
    """z = logit(sum_k w_k sigmoid((x - m_k) / s_k)) * exp(a) + b, Flow++'s transformer.

    The distribution function of a mixture of logistics takes x to (0, 1), the logit back to the line,
    where an affine map follows (Ho et al., 2019, arXiv:1902.00275).

    Arguments:
        components: number of logistics, 32 in the paper.
        log_scale_bound: soft bound of a and of the log s_k, in nats.
    """

    @property
    def parameters(self) -> int:
        return 3 * self.components + 2

    def log_cdf(self, y: Tensor) -> Tensor:
        return -ops.softplus(-y)

    def log_density(self, y: Tensor) -> Tensor:
        return log_sigmoid_slope(y)

    def quantile(self, log_below: Tensor, log_above: Tensor) -> Tensor:
        return log_below - log_above

    def _affine(self, parameters):
        """b and a, and the parameters of the mixture."""
        shift, log_scale, mixture = ops.split(self.by_dimension(parameters), [1, 2], axis=-2)
        log_scale = soft_clamp(ops.squeeze(log_scale, axis=-2), self.log_scale_bound)
        return ops.squeeze(shift, axis=-2), log_scale, self._mixture(mixture)

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale, mixture = self._affine(parameters)
        z, log_derivative = self._inverse(x, mixture)
        return z * ops.exp(log_scale) + shift, log_derivative + log_scale

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale, mixture = self._affine(parameters)
        x, log_derivative = self._forward((z - shift) * ops.exp(-log_scale), mixture)
        return x, log_derivative - log_scale


def log_normal_cdf(x):
    """log Phi(x), accurate in the lower tail."""
    return tfd.Normal(ops.zeros((), x.dtype), ops.ones((), x.dtype)).log_cdf(x)


def normal_quantile(log_p):
    """The z <= 0 with log Phi(z) = log_p, for log_p <= log(1/2), however small p is.

    Newton's method on log Phi, which is concave: as Phi(z) <= exp(-z^2 / 2) / 2, it starts on
    the left of the solution and rises to it. The last step carries the exact gradient.
    """
    fixed = ops.stop_gradient(log_p)
    z = -ops.sqrt(ops.maximum(-2 * (fixed + math.log(2.0)), 0.0))
    for step in range(6):
        log_cdf = log_normal_cdf(z)
        slope = ops.exp(log_cdf + 0.5 * ops.square(z) + LOG_SQRT_2_PI)
        z = z - ops.stop_gradient(slope) * (ops.stop_gradient(log_cdf) - (log_p if step == 5 else fixed))
    return z
