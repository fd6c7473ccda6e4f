"""Maps of one real column to the whole line, with their log-derivatives, in float64.

linear     u = x
asinh      u = asinh((x - pivot) / unit)             for heavy tails
log        u = log(x - low),  -log(high - x)         for one bound
softplus   u = log(exp((x - low) / unit) - 1)        for one bound, straight far from it
logit      u = log((x - low) / (high - x))           for two bounds
"""

import numpy as np

EDGE = 1e-6  # of a column's spread: as near to a bound as a value is taken


def to_line(column, x):
    """u and log |du/dx| of the values of a real `column`, both float64 (n,)."""
    x = inside(column, x)
    if column.transform == "linear":
        return x, np.zeros_like(x)
    if column.transform == "asinh":
        t = (x - column.pivot) / column.unit
        return np.arcsinh(t), -np.log(column.unit) - np.log(np.hypot(1, t))
    if column.transform == "logit":
        below, above = x - column.low, column.high - x
        width = column.high - column.low
        return np.log(below) - np.log(above), np.log(width) - np.log(below) - np.log(above)
    sign, distance = _from_bound(column, x)
    if column.transform == "log":
        return sign * np.log(distance), -np.log(distance)
    t = distance / column.unit
    gap = np.log(-np.expm1(-t))
    return sign * (t + gap), -np.log(column.unit) - gap


def from_line(column, u):
    """The values of a real `column` at u, inverse of `to_line`."""
    with np.errstate(over="ignore"):
        if column.transform == "linear":
            x = u
        elif column.transform == "asinh":
            x = column.pivot + column.unit * np.sinh(u)
        elif column.transform == "logit":
            x = column.low + (column.high - column.low) / (1 + np.exp(-u))
        else:
            sign = 1 if column.low is not None else -1
            t = np.exp(sign * u) if column.transform == "log" else column.unit * np.logaddexp(0, sign * u)
            x = column.low + t if sign == 1 else column.high - t
    limit = np.finfo("float64").max
    return inside(column, np.clip(x, -limit, limit))


def inside(column, x):
    """Values on a bound, moved in by a millionth of the column's spread, where the density is finite."""
    low, high = -np.inf, np.inf
    if column.low is not None:
        low = column.low + max(EDGE * column.unit, 4 * np.spacing(abs(column.low)))
    if column.high is not None:
        high = column.high - max(EDGE * column.unit, 4 * np.spacing(abs(column.high)))
    return np.clip(x, low, high)


def transforms_for(low, high):
    """The names of the maps for a column with these bounds, or None for either."""
    if low is None and high is None:
        return ("linear", "asinh")
    return ("logit",) if None not in (low, high) else ("softplus", "log")


def chosen(low, high, x):
    """The map for values x: of two the one for long tails where the farthest is 20 times as far as most."""
    names = transforms_for(low, high)
    if len(names) == 1 or len(x) == 0:
        return names[0]
    if low is None and high is None:
        distance, usual = np.abs(x - np.median(x)), spread(x)
    else:
        distance = x - low if low is not None else high - x
        usual = np.median(distance)
    return names[1] if usual > 0 and distance.max() > 20 * usual else names[0]


def spread(x):
    """A width that outliers do not change: of the middle half; of all where most are equal; 1 if all are."""
    quarters = np.quantile(x, [0.25, 0.75]) if len(x) else np.zeros(2)
    width = (quarters[1] - quarters[0]) / 1.349
    return float(width) if width > 0 else deviation(x)


def deviation(x):
    """The standard deviation, which does not overflow; 1 where all are equal."""
    largest = np.abs(x).max(initial=0)
    if largest == 0 or (x == x[0]).all():
        return 1.0
    found = float(np.std(x / largest) * largest)
    return found if found > 0 else 1.0


def _from_bound(column, x):
    if column.low is not None:
        return 1, x - column.low
    return -1, column.high - x
