"""Tables of known densities."""

import dataclasses

import numpy as np
import pandas as pd
from scipy import stats

PARTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([-2.0, 0.0, 3.0])
RATES = np.array([2.0, 5.0, 9.0])


@dataclasses.dataclass
class Made:
    """How to draw a table, its log-density, what is said of its columns, and how it gets gaps."""

    draw: object
    log_prob: object
    schema: object = None
    gaps: object = lambda frame, rng: frame


def draw_mixture(n, rng):
    """A category c, a count k | c, and reals x | c and y | x, k."""
    c = rng.choice(3, n, p=PARTS)
    k = rng.poisson(RATES[c])
    x = rng.normal(MEANS[c], 1)
    y = rng.normal(0.5 * x + 0.3 * k, 0.7)
    return pd.DataFrame({"c": pd.Categorical.from_codes(c, list("abc")), "k": k, "x": x, "y": y})


def log_mixture(frame):
    c = frame["c"].cat.codes.to_numpy()
    k, x, y = (frame[name].to_numpy() for name in "kxy")
    found = np.log(PARTS)[c] + stats.poisson.logpmf(k, RATES[c]) + stats.norm.logpdf(x, MEANS[c], 1)
    return found + stats.norm.logpdf(y, 0.5 * x + 0.3 * k, 0.7)


def draw_truncated(n, rng):
    """A half-normal h, a uniform u on [2, 5] and a beta b on [0, 1] that follows u."""
    u = rng.uniform(2, 5, n)
    return pd.DataFrame({"h": np.abs(rng.normal(size=n)) * u, "u": u, "b": rng.beta(u, 2)})


def log_truncated(frame):
    h, u, b = (frame[name].to_numpy() for name in "hub")
    return stats.halfnorm.logpdf(h, scale=u) - np.log(3) + stats.beta.logpdf(b, u, 2)


def draw_integers(n, rng):
    """A die d, a wide count w | d and a binary s | w."""
    d = rng.integers(1, 7, n)
    w = rng.poisson(100.0 * d)
    return pd.DataFrame({"d": d, "w": w, "s": rng.uniform(size=n) < 1 / (1 + np.exp((w - 300) / 100))})


def log_integers(frame):
    d, w, s = (frame[name].to_numpy() for name in "dws")
    p = 1 / (1 + np.exp((w - 300) / 100))
    return -np.log(6) + stats.poisson.logpmf(w, 100.0 * d) + np.log(np.where(s, p, 1 - p))


def make_gaps(frame, rng):
    """The frame without a fifth of the values of each column, at random."""
    frame = frame.copy()
    for name in frame.columns:
        frame[name] = frame[name].mask(rng.uniform(size=len(frame)) < 0.2)
    return frame


TABLES = {
    "mixture": Made(draw_mixture, log_mixture),
    "truncated": Made(
        draw_truncated,
        log_truncated,
        {"h": {"low": 0}, "u": {"low": 2, "high": 5}, "b": {"low": 0, "high": 1}},
    ),
    "integers": Made(draw_integers, log_integers),
    "gaps": Made(draw_mixture, log_mixture, gaps=make_gaps),
}
