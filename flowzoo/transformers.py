"""Invertible functions of one number, whose parameters a conditioner gives.

Coupling and autoregressive layers share them. A transformer has `parameters`, how many numbers
it wants for each transformed dimension, and two methods that take values of shape (..., D) and
a parameter tensor of shape (..., parameters * D):

    forward(z, parameters) -> x, log |dx/dz|        latent to data
    inverse(x, parameters) -> z, log |dz/dx|        data to latent

Both results have the shape of the values; log-derivatives are in nats.
"""

import math

from keras import ops

from flowzoo import backend
from flowzoo.backend import tfd

LOG_SQRT_2_PI = 0.5 * math.log(2 * math.pi)


class Additive:
    """x = z + shift; volume preserving (Dinh et al., 2014, arXiv:1410.8516)."""

    parameters = 1

    def forward(self, z, shift):
        return z + shift, ops.zeros_like(z)

    def inverse(self, x, shift):
        return x - shift, ops.zeros_like(x)


class Affine:
    """x = z * exp(s) + shift, with s = b * tanh(a / b) so that |s| < b.

    Zero parameters give the identity (Dinh et al., 2016, arXiv:1605.08803).
    """

    parameters = 2

    def __init__(self, log_scale_bound=5.0):
        self.bound = log_scale_bound

    def _shift_and_log_scale(self, parameters):
        shift, raw = ops.split(parameters, 2, axis=-1)
        return shift, soft_clamp(raw, self.bound)

    def forward(self, z, parameters):
        shift, log_scale = self._shift_and_log_scale(parameters)
        return z * ops.exp(log_scale) + shift, log_scale

    def inverse(self, x, parameters):
        shift, log_scale = self._shift_and_log_scale(parameters)
        return (x - shift) * ops.exp(-log_scale), -log_scale


class Gated:
    """z = sigmoid(a + forget_bias) * x + (1 - sigmoid(a + forget_bias)) * m, as LSTM cells update.

    Inverse autoregressive flows map their latent to their data by this `inverse`. The result lies
    between x and m, so that it stays bounded however many such steps follow one another; with
    forget_bias = 1 or 2 a step of zero parameters keeps most of x (Kingma et al., 2016,
    arXiv:1606.04934).
    """

    parameters = 2

    def __init__(self, forget_bias=1.0):
        self.forget_bias = forget_bias

    def _gates(self, parameters):
        """m, log sigmoid(a + forget_bias) and log(1 - sigmoid(a + forget_bias))."""
        m, raw = ops.split(parameters, 2, axis=-1)
        raw = raw + self.forget_bias
        return m, -ops.softplus(-raw), -ops.softplus(raw)

    def forward(self, z, parameters):
        m, log_keep, log_change = self._gates(parameters)
        return (z - ops.exp(log_change) * m) * ops.exp(-log_keep), -log_keep

    def inverse(self, x, parameters):
        m, log_keep, log_change = self._gates(parameters)
        return ops.exp(log_keep) * x + ops.exp(log_change) * m, log_keep


class MixtureOfGaussians:
    """z = Phi^-1(sum_k w_k Phi((x - m_k) / s_k)): x has a Gaussian mixture's density.

    Phi is the standard normal distribution function. With z standard normal, the density of x
    is exactly sum_k w_k N(x; m_k, s_k^2), the conditional of MADE MoG and MAF MoG
    (Papamakarios et al., 2017, arXiv:1705.07057). `forward` inverts by bisection and one
    Newton step, which also carries the exact gradient. Vectors only: values are (batch, D).
    """

    iterations = 50

    def __init__(self, components, log_scale_bound=5.0):
        self.components = components
        self.parameters = 3 * components
        self.bound = log_scale_bound

    def _mixture(self, parameters):
        """Log-weights, means and log-scales, each (batch, components, D)."""
        size = parameters.shape[-1] // self.parameters
        parameters = ops.reshape(parameters, (-1, 3, self.components, size))
        logits, means, raw = (parameters[:, i] for i in range(3))
        # Spread the means: equal components would get equal gradients and stay equal.
        spread = ops.linspace(-1.0, 1.0, self.components + 2)[1:-1]
        means = means + ops.cast(ops.reshape(spread, (1, -1, 1)), means.dtype)
        return ops.log_softmax(logits, axis=1), means, soft_clamp(raw, self.bound)

    def _components(self, x, mixture):
        """x in each component's standard units, (batch, components, D)."""
        _, means, log_scales = mixture
        return (ops.expand_dims(x, 1) - means) * ops.exp(-log_scales)

    def _log_tails(self, y, log_weights):
        """log P(X < x) and log P(X > x)."""
        return (
            ops.logsumexp(log_weights + log_normal_cdf(y), axis=1),
            ops.logsumexp(log_weights + log_normal_cdf(-y), axis=1),
        )

    def _log_derivative(self, z, y, mixture):
        """log dz/dx: the mixture's log-density less that of z."""
        log_weights, _, log_scales = mixture
        log_density = ops.logsumexp(log_weights - 0.5 * ops.square(y) - LOG_SQRT_2_PI - log_scales, axis=1)
        return log_density + 0.5 * ops.square(z) + LOG_SQRT_2_PI

    def _inverse(self, x, mixture):
        y = self._components(x, mixture)
        log_below, log_above = self._log_tails(y, mixture[0])
        lower = log_below < log_above
        tail = normal_quantile(ops.where(lower, log_below, log_above))
        z = ops.where(lower, tail, -tail)
        return z, self._log_derivative(z, y, mixture)

    def inverse(self, x, parameters):
        return self._inverse(x, self._mixture(parameters))

    def forward(self, z, parameters):
        mixture = self._mixture(parameters)
        fixed = [ops.stop_gradient(part) for part in mixture]
        target = ops.stop_gradient(z)
        target_below, target_above = log_normal_cdf(target), log_normal_cdf(-target)
        _, means, log_scales = fixed
        # z * s_k + m_k, over all k, brackets the solution.
        ends = ops.expand_dims(target, 1) * ops.exp(log_scales) + means

        def halve(_, low, high):
            middle = 0.5 * (low + high)
            log_below, log_above = self._log_tails(self._components(middle, fixed), fixed[0])
            below = ops.where(target < 0, log_below < target_below, log_above > target_above)
            return ops.where(below, middle, low), ops.where(below, high, middle)

        start = (ops.min(ends, axis=1), ops.max(ends, axis=1))
        low, high = backend.repeat(self.iterations, halve, start)
        x = ops.stop_gradient(0.5 * (low + high))
        reached, log_slope = self._inverse(x, mixture)
        x = x + (z - reached) * ops.exp(-ops.stop_gradient(log_slope))
        return x, -self._log_derivative(z, self._components(x, mixture), mixture)


def soft_clamp(x, bound):
    """bound * tanh(x / bound), by the sigmoid: `keras.ops.tanh` turns float64 to float32 on JAX."""
    return bound * (2 * ops.sigmoid(2 * x / bound) - 1)


def log_sigmoid_slope(x):
    """log of the derivative of sigmoid(x), which is the standard logistic log-density."""
    return -ops.softplus(x) - ops.softplus(-x)


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
