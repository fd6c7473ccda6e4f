"""The distribution of one column given others: probabilities of classes and mixtures of logistics.

A category has the probabilities of a softmax. A real number, standardised, has a mixture of logistic
densities. An integer k, of width d after it is standardised to y, has the mixture's mass of its unit,

    P(k) = sum_m w_m (F((y + d/2 - mu_m) / s_m) - F((y - d/2 - mu_m) / s_m)),    F(t) = 1 / (1 + exp(-t))

where the first and the last integer, if there are any, have all that lies beyond (Salimans et al., 2017,
arXiv:1701.05517). With t the upper end, so that t - d/s is the lower one, the difference is computed without
cancellation as F(t) F(d/s - t) (1 - exp(-d/s)). A narrow integer has a softmax over the values seen, with a
class more for the mixture, which gives all integers some probability. So sums over categories and integers
are 1.
"""

import numpy as np
from keras import ops

LEAST_LOG_SCALE = -7.0


def log_mixture(y, parameters, width, at_low, at_high):
    """Log-density, or log-probability of a unit, under mixtures of logistics.

    Arguments:
        y: (n, K) standardised numbers.
        parameters: (n, K, 3 M) logits of the weights, means and log-scales.
        width: (K,) of a unit, 0 for reals.
        at_low, at_high: (n, K) booleans, whether all beyond belongs to this unit.

    Returns: (n, K).
    """
    weights, means, log_scales = parts(parameters, ops)
    real = width == 0
    ratio = ops.where(real, 1.0, width)[:, None] / ops.exp(log_scales)
    away = (y[..., None] - means) / ops.exp(log_scales)
    half = ops.where(real[:, None], 0.0, 0.5 * ratio)
    below_upper = -ops.softplus(-(away + half))
    above_lower = -ops.softplus(away - half)
    inner = ops.where(real[:, None], -log_scales, ops.log(-ops.expm1(-ratio)))
    low, high = at_low[..., None], at_high[..., None]
    log_mass = (
        ops.where(high, 0.0, below_upper)
        + ops.where(low, 0.0, above_lower)
        + ops.where(ops.logical_or(low, high), 0.0, inner)
    )
    return ops.logsumexp(ops.log_softmax(weights, axis=-1) + log_mass, axis=-1)


def parts(parameters, xp):
    """Logits of the weights, means and log-scales of (..., 3 M) parameters."""
    components = parameters.shape[-1] // 3
    weights, means, log_scales = (parameters[..., i * components : (i + 1) * components] for i in range(3))
    return weights, means, xp.maximum(log_scales, LEAST_LOG_SCALE)


def start(values, components):
    """Parameters (3 M,) of a mixture near the distribution of values (n,): one logistic for each quantile."""
    places = (np.arange(components) + 0.5) / components
    means = np.quantile(values, places)
    around = np.quantile(values, np.clip(places[:, None] + np.array([-0.5, 0.5]) / components, 0, 1))
    scales = np.maximum(0.5 * (around[:, 1] - around[:, 0]), 0.1)
    return np.concatenate([np.zeros(components), means, np.log(scales)])


# One column in NumPy: what is drawn from its distribution, and below which part of it a value lies.


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def pick(probabilities, uniform):
    """The class at which the cumulative probabilities (n, classes) pass uniform numbers (n,)."""
    cumulative = np.cumsum(probabilities, axis=1)
    return np.minimum(
        (cumulative < uniform[:, None] * cumulative[:, -1:]).sum(axis=1), probabilities.shape[1] - 1
    )


def draw_mixture(parameters, rng):
    """Draws (n,) of mixtures of logistics with parameters (n, 3 M)."""
    weights, means, log_scales = parts(parameters.astype("float64"), np)
    chosen = pick(softmax(weights), rng.uniform(size=len(parameters)))[:, None]
    uniform = np.clip(rng.uniform(size=len(parameters)), 1e-12, 1 - 1e-12)
    mean, log_scale = (np.take_along_axis(part, chosen, 1)[:, 0] for part in (means, log_scales))
    return mean + np.exp(log_scale) * (np.log(uniform) - np.log1p(-uniform))


def mixture_below(y, parameters):
    """P(Y < y), (n,)."""
    weights, means, log_scales = parts(parameters.astype("float64"), np)
    away = (y[:, None] - means) / np.exp(log_scales)
    return (softmax(weights) * 0.5 * (1 + np.tanh(0.5 * away))).sum(axis=1)
