"""Base distributions: what the latent is drawn from before the flow bends it."""

from keras import ops

from flowzoo import backend, checks
from flowzoo.backend import tfd

BASES = ("normal", "logistic", "uniform")


def base_distribution(name, dimensions, dtype="float32"):
    """`dimensions` independent standard variables as one TFP distribution, made afresh.

    Arguments:
        name: "normal", N(0, 1); "logistic", with density exp(-z) / (1 + exp(-z))^2, NICE's
            choice; or "uniform" on [0, 1).
        dimensions: length D of the latent vector.
        dtype: floating dtype of samples and densities.

    Returns: a `tfd.Independent` with event shape (D,).

    Example:
        >>> base = flowzoo.base.base_distribution("normal", 2)
        >>> round(float(base.log_prob([0.0, 0.0])), 4)
        -1.8379
    """
    checks.choice("base", name, BASES)
    zeros, ones = ops.zeros((dimensions,), dtype), ops.ones((dimensions,), dtype)
    marginals = {"normal": tfd.Normal, "logistic": tfd.Logistic, "uniform": tfd.Uniform}
    return tfd.Independent(marginals[name](zeros, ones), reinterpreted_batch_ndims=1)


def base_sample(name, n, dimensions, key, dtype="float32"):
    """`n` draws of the distribution of that name, (n, dimensions).

    Example:
        >>> tuple(flowzoo.base.base_sample("logistic", 5, 2, flowzoo.backend.random_key(0)).shape)
        (5, 2)
    """
    if name == "normal":
        return backend.normal(key, (n, dimensions), dtype)
    u = backend.uniform(key, (n, dimensions), dtype)
    if name == "uniform":
        return u
    u = ops.maximum(u, ops.cast(1e-7, dtype))
    return ops.log(u) - ops.log1p(-u)
