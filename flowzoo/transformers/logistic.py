"""The logistic distribution."""

from keras import ops


def log_sigmoid_slope(x):
    """log of the derivative of sigmoid(x), which is the standard logistic log-density."""
    return -ops.softplus(x) - ops.softplus(-x)
