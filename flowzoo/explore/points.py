"""What the explorer does with flows of the plane, and of rows of numbers."""

import functools

import matplotlib
import numpy as np
from keras import ops

from flowzoo import backend
from flowzoo.compiled import Program
from flowzoo.explore.context import contexts, figure

LINES = 17  # of the grid each way
ALONG = 97  # points of a line
RESOLUTION = 200  # of the density


def finite(model, values):
    """Data as a NumPy array, refused if not finite, which no picture shows."""
    values = ops.convert_to_numpy(values).astype("float64")
    if not np.isfinite(values).all():
        raise ValueError(f"{model.name} gives values that are not finite.")
    return values


def draw(model, n, *, label=None, context=None, temperature=1.0, seed=0):
    """`n` samples as rows of numbers, (n, D)."""
    x = model.sample(n, contexts(model, n, label, context), temperature=temperature, seed=seed)
    return finite(model, x).reshape(n, -1)


def density(model, centre, radius, *, label=None, context=None):
    """The density of a flow on a square of the plane as a picture, uint8 (RESOLUTION, RESOLUTION, 3).

    The brightest colour stands for the 0.999 quantile, so that a narrow peak does not hide the rest.
    """
    steps = radius * ((np.arange(RESOLUTION) + 0.5) / RESOLUTION * 2 - 1)
    x, y = np.meshgrid(centre[0] + steps, centre[1] - steps)  # a picture's first row is its top
    points = np.stack([x, y], axis=-1).reshape(-1, 2).astype("float32")
    nats = model.log_prob(points, contexts(model, 1, label, context))
    values = np.exp(ops.convert_to_numpy(nats).astype("float64")).reshape(RESOLUTION, RESOLUTION)
    brightest = max(np.quantile(values, 0.999), 1e-300)
    colours = matplotlib.colormaps["magma"](np.clip(values / brightest, 0, 1))
    return np.uint8(np.round(255 * colours[..., :3]))


def square(points):
    """The centre and half the side of a square around points (n, 2), with a margin."""
    low, high = points.min(axis=0), points.max(axis=0)
    return ((low + high) / 2).tolist(), float(max(0.55 * (high - low).max(), 1e-6))


def layers(model, *, n, label=None, context=None, seed=0):
    """A grid of the latent plane, and draws of the base, as each layer bends them.

    Returns: (names of the layers, latent to data; lines (K + 1, 2 * LINES, ALONG, 2); draws
        (K + 1, n, 2)), of which the first are those of the latent.
    """
    drawn = ops.convert_to_numpy(model.base_layer.sample(n, backend.random_key(seed)))
    low, high = np.quantile(drawn, [0.002, 0.998], axis=0)
    along, across = np.linspace(0, 1, ALONG), np.linspace(0, 1, LINES)
    upright = np.stack(np.broadcast_arrays(across[:, None], along[None]), axis=-1)
    grid = low + (high - low) * np.concatenate([upright, upright[..., ::-1]])
    x = np.concatenate([grid.reshape(-1, 2), drawn]).astype("float32")
    seen = contexts(model, 1, label, context)
    seen = None if seen is None else np.repeat(seen, len(x), axis=0)
    bent = Program(functools.partial(_after_each, model), model.weights, model.prefers_xla).run((x, seen))
    steps = [finite(model, step).reshape(-1, 2) for step in (x, *bent)]
    names = [type(layer).__name__ for layer in model.flow_layers]
    lines = np.stack([step[: len(x) - n].reshape(2 * LINES, ALONG, 2) for step in steps])
    return names, lines, np.stack([step[len(x) - n :] for step in steps])


def _after_each(model, z, context):
    """What each layer of a flow makes of latents, a list."""
    x, context = ops.reshape(z, (-1, *model.latent_shape)), model._seen_context(context)
    found = []
    for layer in model.flow_layers:
        x = layer(x, context, forward=True)
        found.append(x)
    return found


def walk(model, a, b, *, steps, label=None, context=None):
    """The straight line between two points' latents, in the space of the data, (steps, D)."""
    shape = model.event_shape
    one = contexts(model, 1, label, context)
    path = model.interpolate(a.reshape(shape), b.reshape(shape), steps=steps, context=one, seed=0)
    return finite(model, path).reshape(steps, -1)


def measure(model, row, *, label=None, context=None):
    """Figures of one row of numbers, (D,)."""
    one = contexts(model, 1, label, context)
    nats = float(model.log_prob(row.reshape(1, *model.event_shape), one, seed=0)[0])
    return [figure("Log-density", nats, "nats", "the higher, the likelier")]
