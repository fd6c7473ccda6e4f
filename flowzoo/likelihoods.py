"""Likelihoods p(x | z) of a decoder's output, as TFP distributions."""

from keras import ops

from flowzoo import checks
from flowzoo.backend import tfd

LIKELIHOODS = ("bernoulli", "gaussian", "discretized_logistic")


def likelihood_distribution(name, location, log_scale=None):
    """p(x | z) given what the decoder makes of z, independent over the components of x.

        bernoulli:             P(x = 1) = sigmoid(location)
        gaussian:              N(x; location, exp(2 log_scale))
        discretized_logistic:  P(x) = F(x + 1/2) - F(x - 1/2), x = 0 ... 255, the first and the last
                               with the tail beyond, F(x) = sigmoid((x - location) / exp(log_scale))

    References:
        Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016,
        arXiv:1606.04934): the discretised logistic

    Arguments:
        name: one of the three.
        location: (batch, *event_shape), the decoder's output in the unit of the data, for
            "bernoulli" the logits.
        log_scale: log of the scale in the unit of the data, a scalar; not for "bernoulli".

    Returns: a `tfd.Independent` with event shape `event_shape`.

    Example:
        >>> pixels = likelihood_distribution("bernoulli", keras.ops.zeros((5, 2)))
        >>> round(float(pixels.log_prob([1.0, 0.0])[0]), 4)
        -1.3863
    """
    checks.choice("likelihood", name, LIKELIHOODS)
    if name == "bernoulli":
        components = tfd.Bernoulli(logits=location, dtype=location.dtype)
    elif name == "gaussian":
        components = tfd.Normal(location, ops.exp(log_scale))
    else:
        components = tfd.QuantizedDistribution(
            tfd.Logistic(location - 0.5, ops.exp(log_scale)), low=0.0, high=255.0
        )
    return tfd.Independent(components, reinterpreted_batch_ndims=len(location.shape) - 1)


def likelihood_mean(name, location):
    """The mean of the likelihood; of the discretised logistic, its location within 0 ... 255."""
    if name == "bernoulli":
        return ops.sigmoid(location)
    return location if name == "gaussian" else ops.clip(location, 0.0, 255.0)
