"""How close flows come to unnormalised densities by variational inference, with the same steps.

python tests/benchmarks/variational.py [STEPS]

Prints KL(q || p) in nats over 100,000 draws for the banana and Neal's funnel in 3 and in 10 dimensions, of
IAF, RealNVP and NSF after 2,000 steps of batches of 256. It takes about ten minutes on two cores.
"""

import math
import sys

import keras
from keras import ops

import flowzoo
from flowzoo import backend


def normal_log_prob(x, mean, log_scale):
    return -0.5 * ops.square((x - mean) * ops.exp(-log_scale)) - log_scale - 0.5 * math.log(2 * math.pi)


def banana(x):
    """x_1 ~ N(0, 2^2), x_2 ~ N(x_1^2 / 4, 1)."""
    return normal_log_prob(x[:, 0], 0.0, math.log(2.0)) + normal_log_prob(x[:, 1], x[:, 0] ** 2 / 4, 0.0)


def funnel(x):
    """x_1 ~ N(0, 3^2), the others N(0, exp(x_1))."""
    others = ops.sum(normal_log_prob(x[:, 1:], 0.0, x[:, :1] / 2), axis=1)
    return normal_log_prob(x[:, 0], 0.0, math.log(3.0)) + others


TARGETS = {"banana": (banana, 2), "funnel, 3-D": (funnel, 3), "funnel, 10-D": (funnel, 10)}
# All start at the identity. A funnel's x_1 reaches to 9 and more, hence the splines' bound.
FLOWS = {
    "IAF": lambda d: flowzoo.IAF(d, autoregressive_layers=2, hidden_units=(32, 32), activation="tanh"),
    "RealNVP": lambda d: flowzoo.RealNVP(
        d, couplings=4, hidden_units=(32, 32), activation="tanh", initializer="he_normal"
    ),
    "NSF": lambda d: flowzoo.NSF(d, spline_layers=4, hidden_units=(32, 32), activation="tanh", bound=10.0),
    "NSF, autoregressive": lambda d: flowzoo.NSF(
        d, autoregressive=True, spline_layers=2, hidden_units=(32, 32), activation="tanh", bound=10.0
    ),
}


def main(steps=2000):
    for target, (log_prob, dimensions) in TARGETS.items():
        for name, make in FLOWS.items():
            keras.utils.set_random_seed(0)
            flow = make(dimensions)
            rate = keras.optimizers.schedules.CosineDecay(5e-3, steps)
            flow.fit_variational(
                log_prob, steps=steps, optimizer=keras.optimizers.Adam(rate, clipnorm=5.0), seed=0, verbose=0
            )
            z = flow.base_distribution.sample(100_000, seed=backend.random_key(1))
            x, log_det = flow.forward_and_log_det(z)
            kl = float(ops.mean(flow.base_distribution.log_prob(z) - log_det - log_prob(x)))
            print(f"{target}, {name}: {kl:.4f} nats", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
