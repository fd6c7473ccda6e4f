"""Monotone splines of quotients of quadratic polynomials."""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from flowzoo import checks
from flowzoo.transformers.affine import soft_clamp
from flowzoo.transformers.transformer import Transformer
from flowzoo.types import Tensor

SMALLEST = 1e-2  # the least part of the interval that a bin takes, on either side
STEEPEST = 1.5  # the most that a knot's slope differs from its bins', in nats


@keras.saving.register_keras_serializable(package="flowzoo")
class RationalQuadraticSpline(Transformer):
    """z = spline(x) on [-bound, bound], and z = x outside: neural spline flows' transformer.

    The interval is cut into `bins` on both sides. With w and h the width and height of the bin of x, (x0,
    z0) its lower knot, d0 and d1 the slopes at its knots, s = h / w and t = (x - x0) / w,

        z = z0 + h (s t^2 + d0 t (1 - t)) / (s + (d0 + d1 - 2 s) t (1 - t))

    which rises from knot to knot and has a continuous derivative, 1 at the ends. `forward` is the root of
    a quadratic equation. Zero parameters give the identity (Durkan et al., 2019, arXiv:1906.04032).

    Unlike in the paper, a parameter sets the slope at a knot relative to the h / w of its two bins: it
    lies within exp(-1.5) and exp(1.5) times their harmonic mean. Between steep knots the spline would be so
    flat that float32 could not invert it.

    Arguments:
        bins: number of bins, 8 in the paper.
        bound: half the length of the interval; data should be standardised to lie mostly within.
    """

    def __init__(self, bins: int = 8, bound: float = 5.0):
        self.bins = checks.positive_integer("bins", bins)
        self.bound = bound

    @property
    def parameters(self) -> int:
        return 3 * self.bins - 1

    def with_angles(self, angles: Sequence[bool]) -> "RationalQuadraticSpline":
        """This spline for dimensions of which some, by a boolean for each, are angles."""
        return CircularSpline(angles, self.bins, self.bound) if any(angles) else self

    def _knots(self, parameters):
        """Half the interval's length; widths, heights and slopes of the bins, lists of (batch, ..., D)."""
        widths, heights, raw = self._parts(parameters, 2)
        widths, heights = self._sizes(widths, self.bound), self._sizes(heights, self.bound)
        raw, ones = rows(raw), ops.ones_like(widths[0])
        slopes = [knot_slope(raw[k], widths[k : k + 2], heights[k : k + 2]) for k in range(self.bins - 1)]
        return self.bound, widths, heights, [ones, *slopes, ones]

    def _parts(self, parameters, count):
        """`count` parts of as many parameters as bins, and the rest, each (batch, ..., parameters, D)."""
        ends = [self.bins * (k + 1) for k in range(count)]
        return ops.split(self.by_dimension(parameters), ends, axis=-2)

    def _sizes(self, raw, bound):
        """The bins' sizes, which add up to 2 * bound, as a list."""
        parts = SMALLEST + (1 - SMALLEST * self.bins) * ops.softmax(raw, axis=-2)
        return [2 * bound * part for part in rows(parts)]

    def _bin(self, value, data, bound, widths, heights, slopes):
        """(x0, z0, w, h, d0, d1) of the bin in which a value of the data, or of the latent, lies."""
        x = z = -bound * ops.ones_like(value)
        found = x, z, widths[0], heights[0], slopes[0], slopes[1]
        for k in range(1, self.bins):
            x, z = x + widths[k - 1], z + heights[k - 1]
            last = k == self.bins - 1
            bin = x, z, bound - x if last else widths[k], bound - z if last else heights[k]
            beyond = value >= (x if data else z)
            bin = *bin, slopes[k], slopes[k + 1]
            found = [ops.where(beyond, here, before) for here, before in zip(bin, found, strict=True)]
        return found

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        knots = self._knots(parameters)
        inside, within = self._within(x, knots[0])
        x0, z0, w, h, d0, d1 = self._bin(within, True, *knots)
        t = (within - x0) / w
        z, log_derivative = rational_quadratic(t, z0, w, h, d0, d1)
        return ops.where(inside, z, x), ops.where(inside, log_derivative, ops.zeros_like(x))

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        knots = self._knots(parameters)
        inside, within = self._within(z, knots[0])
        x0, z0, w, h, d0, d1 = self._bin(within, False, *knots)
        t = rational_quadratic_root(within, z0, w, h, d0, d1)
        _, log_derivative = rational_quadratic(t, z0, w, h, d0, d1)
        return ops.where(inside, x0 + t * w, z), ops.where(inside, -log_derivative, ops.zeros_like(z))

    def _within(self, value, bound):
        """Whether a value is in the interval, and the nearest that is."""
        return ops.abs(value) < bound, ops.clip(value, -bound, bound)


@keras.saving.register_keras_serializable(package="flowzoo")
class CircularSpline(RationalQuadraticSpline):
    """`RationalQuadraticSpline` for dimensions of which some are angles in [-pi, pi).

    For an angle the interval is the circle: the slopes at its two ends are the same, and a rotation
    precedes the spline, from data to latent (Rezende et al., 2020, arXiv:2002.02428). A value outside of
    [-pi, pi) is left as it is.

    Arguments:
        angles: a boolean for each dimension, whether it is an angle.
        bins: number of bins.
        bound: half the length of the interval of the other dimensions.
    """

    def __init__(self, angles: Sequence[bool], bins: int = 8, bound: float = 5.0):
        super().__init__(bins, bound)
        self.angles = tuple(bool(angle) for angle in angles)
        self._angles = np.array(self.angles)

    @property
    def parameters(self) -> int:
        return 3 * self.bins + 1

    def at(self, dimension: int) -> "CircularSpline":
        """The spline of one dimension, whose number may be a tensor, for values (batch, 1)."""
        one = CircularSpline(self.angles, self.bins, self.bound)
        one._angles = ops.take(ops.convert_to_tensor(self._angles), dimension)
        return one

    def _knots(self, parameters):
        bound = ops.cast(ops.where(self._angles, math.pi, self.bound), parameters.dtype)
        widths, heights, raw, _ = self._parts(parameters, 3)
        widths, heights, raw = self._sizes(widths, bound), self._sizes(heights, bound), rows(raw)
        around = [[sizes[k - 1], sizes[k]] for k in range(self.bins) for sizes in (widths, heights)]
        end, *slopes = map(knot_slope, raw, around[::2], around[1::2])
        end = ops.where(self._angles, end, ops.ones_like(end))
        return bound, widths, heights, [end, *slopes, end]

    def _rotated(self, value, parameters, sign):
        """The value, an angle turned by the last parameter."""
        rotation = self.by_dimension(parameters)[..., -1, :]
        turns = ops.logical_and(self._angles, ops.abs(value) <= math.pi)
        return ops.where(turns, wrapped(value + sign * rotation), value)

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return super().inverse(self._rotated(x, parameters, -1), parameters)

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        x, log_derivative = super().forward(z, parameters)
        return self._rotated(x, parameters, 1), log_derivative


def wrapped(angle):
    """The angle in [-pi, pi)."""
    angle = angle - 2 * math.pi * ops.floor((angle + math.pi) / (2 * math.pi))
    return ops.where(angle >= math.pi, angle - 2 * math.pi, angle)


def angle_features(values, angles):
    """What a conditioner sees of values (batch, D): an angle's cosine in its place, and its sine at the end.

    Arguments:
        values: (batch, D).
        angles: a boolean for each dimension, whether it is an angle.

    Returns: (batch, D + number of angles).
    """
    cosines = ops.where(np.array(angles), ops.cos(values), values)
    sines = [ops.sin(values[:, i : i + 1]) for i, angle in enumerate(angles) if angle]
    return ops.concatenate([cosines, *sines], axis=-1)


def rows(parts):
    """The rows of (batch, ..., n, D) as a list, by a split, whose gradient is one array and no sum of n."""
    count = parts.shape[-2]
    return [ops.squeeze(row, axis=-2) for row in ops.split(parts, count, axis=-2)] if count else []


def knot_slope(raw, widths, heights):
    """The slope at the knot between two bins, from their two widths and heights."""
    mean = 2 / (widths[0] / heights[0] + widths[1] / heights[1])
    return mean * ops.exp(soft_clamp(raw, STEEPEST))


def rational_quadratic(t, z0, w, h, d0, d1):
    """z, and log dz/dx, at the part t of a bin's width."""
    s = h / w
    both = t * (1 - t)
    denominator = s + (d0 + d1 - 2 * s) * both
    z = z0 + h * (s * ops.square(t) + d0 * both) / denominator
    slope = d1 * ops.square(t) + 2 * s * both + d0 * ops.square(1 - t)
    return z, 2 * (ops.log(s) - ops.log(denominator)) + ops.log(slope)


def rational_quadratic_root(z, z0, w, h, d0, d1):
    """The part t of a bin's width at which the spline is z."""
    s, rise = h / w, z - z0
    bend = rise * (d0 + d1 - 2 * s)
    a, b, c = h * (s - d0) + bend, h * d0 - bend, -s * rise
    root = ops.sqrt(ops.maximum(ops.square(b) - 4 * a * c, 0.0))
    return 2 * c / (-b - root)
