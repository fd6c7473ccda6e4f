"""Densities in two dimensions, known exactly: sample them, evaluate them, ask their entropy."""

import dataclasses
import math

import numpy as np

from flowzoo.types import ArrayLike, Seed


class ToyDensity:
    """A density on the plane inside the square [-limit, limit] x [-limit, limit]."""

    limit = 4.0

    def sample(self, n: int, *, seed: Seed = None) -> np.ndarray:
        """`n` points, float32 array (n, 2)."""
        raise NotImplementedError

    def log_prob(self, x: ArrayLike) -> np.ndarray:
        """Log-density in nats of points (batch, 2), an array (batch,)."""
        raise NotImplementedError

    def entropy(self, *, resolution: int = 400) -> float:
        """-E[log p] in nats, by the midpoint rule on a grid of `resolution` squared points."""
        points, area = midpoint_grid(self.limit, resolution)
        log_prob = self.log_prob(points)
        return float(-np.sum(np.exp(log_prob) * np.where(log_prob > -700, log_prob, 0.0)) * area)


def midpoint_grid(limit: float, resolution: int) -> tuple[np.ndarray, float]:
    """Midpoints of a square grid over [-limit, limit]^2, (resolution^2, 2), and a cell's area."""
    step = 2 * limit / resolution
    axis = -limit + step * (np.arange(resolution) + 0.5)
    points = np.stack(np.meshgrid(axis, axis, indexing="xy"), axis=-1).reshape(-1, 2)
    return points.astype("float32"), step**2


@dataclasses.dataclass(frozen=True)
class TwoMoons(ToyDensity):
    """Two interleaved half circles of radius 1.5, blurred by a Gaussian of deviation `noise`.

    Example:
        >>> moons = flowzoo.datasets.TwoMoons()
        >>> moons.sample(5, seed=0).shape
        (5, 2)
        >>> 1.0 < moons.entropy() < 3.0
        True
    """

    noise: float = 0.15
    radius: float = 1.5

    def _arcs(self, angles):
        """Points at `angles` in [0, pi] on the upper and on the lower moon, (2, n, 2)."""
        upper = np.stack([np.cos(angles) - 0.5, np.sin(angles) - 0.25], axis=-1)
        return self.radius * np.stack([upper, -upper])

    def sample(self, n: int, *, seed: Seed = None) -> np.ndarray:
        rng = np.random.default_rng(seed)
        arcs = self._arcs(rng.uniform(0, math.pi, n))
        points = arcs[rng.integers(0, 2, n), np.arange(n)]
        return (points + self.noise * rng.normal(size=(n, 2))).astype("float32")

    def log_prob(self, x: ArrayLike) -> np.ndarray:
        # The mixture over the arc, by the midpoint rule; its step is well under the noise.
        count = max(64, math.ceil(4 * math.pi * self.radius / self.noise))
        means = self._arcs(math.pi * (np.arange(count) + 0.5) / count).reshape(-1, 2)
        return _mixture_log_prob(x, means, self.noise)


@dataclasses.dataclass(frozen=True)
class EightGaussians(ToyDensity):
    """Eight equal Gaussians of deviation `noise` on a circle.

    Example:
        >>> ring = flowzoo.datasets.EightGaussians()
        >>> ring.log_prob(ring.sample(5, seed=0)).shape
        (5,)
    """

    noise: float = 0.2
    radius: float = 2.0

    def _means(self):
        angles = 2 * math.pi * np.arange(8) / 8
        return self.radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)

    def sample(self, n: int, *, seed: Seed = None) -> np.ndarray:
        rng = np.random.default_rng(seed)
        points = self._means()[rng.integers(0, 8, n)]
        return (points + self.noise * rng.normal(size=(n, 2))).astype("float32")

    def log_prob(self, x: ArrayLike) -> np.ndarray:
        return _mixture_log_prob(x, self._means(), self.noise)


@dataclasses.dataclass(frozen=True)
class Checkerboard(ToyDensity):
    """Uniform on the dark squares of a 4 x 4 board over [-2, 2]^2: entropy log 8 nats.

    Example:
        >>> board = flowzoo.datasets.Checkerboard()
        >>> round(board.entropy(), 3) == round(math.log(8), 3)
        True
    """

    limit = 2.5

    def sample(self, n: int, *, seed: Seed = None) -> np.ndarray:
        rng = np.random.default_rng(seed)
        row = rng.integers(0, 4, n)
        column = 2 * rng.integers(0, 2, n) + row % 2
        return (np.stack([column, row], axis=-1) - 2 + rng.uniform(size=(n, 2))).astype("float32")

    def log_prob(self, x: ArrayLike) -> np.ndarray:
        column, row = np.floor(np.asarray(x, "float64") + 2).T
        inside = (column >= 0) & (column < 4) & (row >= 0) & (row < 4) & ((column + row) % 2 == 0)
        return np.where(inside, -math.log(8), -np.inf)


@dataclasses.dataclass(frozen=True)
class Spiral(ToyDensity):
    """A spiral of so many turns from the origin out to `radius`, blurred by a Gaussian of deviation `noise`.

    The angle along it is the turns' whole angle times the square root of a uniform number, so that its
    points lie about evenly along the curve.

    Example:
        >>> spiral = flowzoo.datasets.Spiral()
        >>> spiral.sample(5, seed=0).shape
        (5, 2)
    """

    noise: float = 0.1
    radius: float = 2.5
    turns: float = 2.0

    def _curve(self, u):
        """Points at the parts `u` in [0, 1] of the curve's mass, (n, 2)."""
        part = np.sqrt(u)
        angle = 2 * math.pi * self.turns * part
        return self.radius * part[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)

    def sample(self, n: int, *, seed: Seed = None) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return (self._curve(rng.uniform(size=n)) + self.noise * rng.normal(size=(n, 2))).astype("float32")

    def log_prob(self, x: ArrayLike) -> np.ndarray:
        # The mixture over the curve, by the midpoint rule; its step is well under the noise.
        length = self.radius * math.pi * self.turns
        count = max(64, math.ceil(8 * length / self.noise))
        return _mixture_log_prob(x, self._curve((np.arange(count) + 0.5) / count), self.noise)


@dataclasses.dataclass(frozen=True)
class Rings(ToyDensity):
    """Circles about the origin, equally likely, each blurred by a Gaussian of deviation `noise`.

    Example:
        >>> rings = flowzoo.datasets.Rings()
        >>> rings.log_prob(rings.sample(5, seed=0)).shape
        (5,)
    """

    noise: float = 0.1
    radii: tuple = (0.6, 1.4, 2.2)

    def sample(self, n: int, *, seed: Seed = None) -> np.ndarray:
        rng = np.random.default_rng(seed)
        angle, radius = rng.uniform(0, 2 * math.pi, n), rng.choice(self.radii, n)
        points = self._circle(radius[:, None], angle)
        return (points + self.noise * rng.normal(size=(n, 2))).astype("float32")

    def _circle(self, radius, angles):
        """Points of a circle at `angles`, (n, 2)."""
        return radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)

    def log_prob(self, x: ArrayLike) -> np.ndarray:
        # The mixture over each circle, by the midpoint rule; its step is well under the noise.
        count = max(64, math.ceil(8 * math.pi * max(self.radii) / self.noise))
        angles = 2 * math.pi * (np.arange(count) + 0.5) / count
        circles = [_mixture_log_prob(x, self._circle(radius, angles), self.noise) for radius in self.radii]
        return np.logaddexp.reduce(circles) - math.log(len(circles))


TOY_DENSITIES = {
    "two_moons": TwoMoons,
    "eight_gaussians": EightGaussians,
    "checkerboard": Checkerboard,
    "spiral": Spiral,
    "rings": Rings,
}


def _mixture_log_prob(x, means, deviation):
    """Log-density of equal Gaussians at `means`, of so few points at a time that memory is bounded."""
    x, means = np.asarray(x, "float64") / deviation, np.asarray(means) / deviation
    at_once = max(1, 2**20 // len(means))
    found = np.empty(len(x))
    for start in range(0, len(x), at_once):
        part = x[start : start + at_once]
        exponents = part @ means.T - 0.5 * np.sum(means**2, axis=1)
        highest = np.max(exponents, axis=1)
        total = highest + np.log(np.sum(np.exp(exponents - highest[:, None]), axis=1))
        found[start : start + at_once] = total - 0.5 * np.sum(part**2, axis=1)
    return found - math.log(len(means) * 2 * math.pi * deviation**2)
