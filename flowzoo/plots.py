"""Pictures of flows: samples, latent space, densities in the plane, training curves, tables."""

import csv
import math
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from matplotlib.figure import Figure

from flowzoo.datasets.toy import midpoint_grid
from flowzoo.table_plots import pairs as pairs
from flowzoo.table_plots import ranks as ranks
from flowzoo.types import ArrayLike, PathLike, Seed


def tile_images(images: ArrayLike, *, columns: int | None = None, padding: int = 2) -> np.ndarray:
    """Images side by side in one white-bordered array (H', W', 3).

    `images` are (n, H, W, 1 or 3), uint8 or floats in [0, 1].
    """
    images = np.asarray(ops.convert_to_numpy(images))
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or len(images) == 0:
        raise ValueError(f"images must have shape (n, H, W, 1) or (n, H, W, 3), n > 0; got {images.shape}.")
    if images.dtype.kind == "f" and images.max() <= 1:
        images = np.round(255 * np.clip(images, 0, 1))
    count, height, width, _ = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    cell = (height + padding, width + padding)
    canvas = np.full((rows * cell[0] + padding, columns * cell[1] + padding, 3), 255, "uint8")
    for i, image in enumerate(images):
        top, left = (i // columns) * cell[0] + padding, (i % columns) * cell[1] + padding
        canvas[top : top + height, left : left + width] = image
    return canvas


def image_grid(
    images: ArrayLike, *, columns: int | None = None, path: PathLike | None = None, scale: float = 2
) -> Any:
    """A grid of images, shown by matplotlib or written to `path` with square pixels.

    Arguments:
        images: (n, H, W, 1 or 3), uint8 or floats in [0, 1].
        columns: images in a row; by default the grid is about square.
        path: a PNG to write, each pixel `scale` by `scale`; without it a figure is returned.
    """
    import matplotlib.pyplot as plt

    canvas = tile_images(images, columns=columns)
    if path is not None:
        plt.imsave(path, canvas.repeat(scale, axis=0).repeat(scale, axis=1))
        return None
    figure, axes = plt.subplots(figsize=(canvas.shape[1] / 40, canvas.shape[0] / 40))
    axes.imshow(canvas)
    axes.axis("off")
    return figure


def grid_log_prob(
    flow: keras.Model, *, limit: float, resolution: int, context: ArrayLike | None = None
) -> Any:
    """The log-density of a flow on the plane, at the midpoints of a grid: (resolution, resolution)."""
    points, _ = midpoint_grid(limit, resolution)
    if context is not None:
        context = np.broadcast_to(np.asarray(context), (len(points), *flow.context_shape))
    log_prob = flow.predict(points if context is None else (points, context), batch_size=8192, verbose=0)
    return log_prob.reshape(resolution, resolution)


def density(
    flow: keras.Model,
    *,
    limit: float = 4.0,
    resolution: int = 200,
    context: ArrayLike | None = None,
    samples: ArrayLike | None = None,
    axes: Any = None,
) -> Any:
    """The density of a flow on the plane as a heat map, with `samples` (n, 2) as dots if given.

    Returns: the matplotlib axes.
    """
    import matplotlib.pyplot as plt

    if flow.event_shape != (2,):
        raise ValueError(f"density draws flows on the plane, event_shape (2,); got {flow.event_shape}.")
    axes = axes or plt.subplots(figsize=(4, 4))[1]
    values = np.exp(grid_log_prob(flow, limit=limit, resolution=resolution, context=context))
    extent = (-limit, limit, -limit, limit)
    axes.imshow(values, origin="lower", extent=extent, vmax=np.quantile(values, 0.999), cmap="magma")
    if samples is not None:
        axes.plot(*np.asarray(samples).T, ".", markersize=1, alpha=0.5, color="white")
    axes.set(xlim=extent[:2], ylim=extent[2:], xticks=[], yticks=[], title=flow.name)
    return axes


def samples(
    flow: keras.Model, drawn: ArrayLike, path: PathLike, *, columns: int | None = None, scale: float = 2
) -> Any:
    """Writes a PNG of samples: a grid of images, or points over the density of a flow on the plane.

    Arguments:
        flow: what they were drawn from.
        drawn: (n, H, W, 1 or 3) or (n, 2).
        path: the PNG to write.
        columns, scale: of `image_grid`.

    Raises: ValueError for samples that no picture shows.
    """
    if len(flow.event_shape) == 3 and flow.event_shape[-1] in (1, 3):
        image_grid(drawn, path=path, columns=columns, scale=scale)
    elif flow.event_shape == (2,) and flow.context_shape is None:
        drawn = ops.convert_to_numpy(drawn)
        figure = Figure(figsize=(4, 4), layout="tight")
        limit = 1.1 * float(np.abs(drawn).max())
        density(flow, samples=drawn, limit=limit, axes=figure.subplots())
        figure.savefig(path)
    else:
        raise ValueError(
            f"Samples of event shape {flow.event_shape} make no picture: images (H, W, 1 or 3) do, and "
            "points (2,) of a flow without context. flow.sample(n) gives them as an array."
        )


def temperature_ladder(
    flow: keras.Model,
    temperatures: Sequence[float] = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0),
    *,
    n: int = 8,
    context: ArrayLike | None = None,
    seed: Seed = None,
    path: PathLike | None = None,
) -> Any:
    """Samples of an image flow, one row a temperature, from the same latents in every row.

    Arguments:
        temperatures: of the rows, from the top.
        n: samples in a row.
        context: as `flow.sample` takes it.
        seed: draws the latents.
        path: as in `image_grid`.
    """
    key = flow._key(seed)
    rows = [flow.sample(n, context, temperature=temperature, seed=key) for temperature in temperatures]
    return image_grid(ops.concatenate(rows), columns=n, path=path)


def interpolation_strips(
    flow: keras.Model,
    a: ArrayLike,
    b: ArrayLike,
    *,
    steps: int = 8,
    context: ArrayLike | None = None,
    seed: Seed = None,
    path: PathLike | None = None,
) -> Any:
    """`flow.interpolate` between images, one row for each pair of `a` and `b`, (n, H, W, C) each."""
    rows = [
        flow.interpolate(*pair, steps=steps, context=context, seed=seed) for pair in zip(a, b, strict=True)
    ]
    return image_grid(ops.concatenate(rows), columns=steps, path=path)


def attribute_sweep(
    flow: keras.Model,
    images: ArrayLike,
    direction: ArrayLike,
    strengths: Sequence[float] = (-1.0, -0.5, 0.0, 0.5, 1.0),
    *,
    context: ArrayLike | None = None,
    seed: Seed = None,
    path: PathLike | None = None,
) -> Any:
    """`flow.manipulate`, one row an image, its strengths from left to right."""
    found = flow.manipulate(images, direction, strengths, context=context, seed=seed)
    return image_grid(ops.reshape(found, (-1, *flow.event_shape)), columns=len(strengths), path=path)


def reconstructions(
    vae: keras.Model, images: ArrayLike, *, columns: int = 8, path: PathLike | None = None
) -> Any:
    """Images and, below each row of them, what a `flowzoo.FlowVAE` makes of them.

    Arguments:
        images: (n, H, W, C) as the model takes them, n a multiple of `columns`.
        path: as in `image_grid`.
    """
    images = np.asarray(ops.convert_to_numpy(images))
    found = ops.convert_to_numpy(vae.reconstruct(images))
    rows = [part.reshape(-1, columns, *vae.event_shape) for part in (images.astype(found.dtype), found)]
    pairs = np.stack(rows, axis=1).reshape(-1, *vae.event_shape)
    return image_grid(pairs, columns=columns, path=path)


def training_curve(
    history: Any, *, metric: str = "loss", axes: Any = None, path: PathLike | None = None
) -> Any:
    """A metric of training and validation over the epochs.

    Arguments:
        history: a Keras `History`, its dict, or the path of a `training.csv` of the zoo.
        metric: "loss", in nats, or "bits_per_dim" for image flows.
        axes: to draw on, instead of a new figure's.
        path: a PNG to write.

    Returns: the matplotlib axes, or None with `path`.
    """
    if isinstance(history, (str, os.PathLike)):
        with open(history, newline="") as file:
            rows = list(csv.DictReader(file))
        history = {key: [float(row[key]) for row in rows] for key in rows[0]}
    logs = getattr(history, "history", history)
    if metric not in logs:
        raise ValueError(f"metric must be one of {', '.join(map(repr, logs))}; got {metric!r}.")
    if path is not None:
        axes = Figure(figsize=(5, 3), layout="tight").subplots()
    elif axes is None:
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(5, 3))[1]
    for name, label in ((metric, "training"), (f"val_{metric}", "validation")):
        if name in logs:
            axes.plot(range(1, len(logs[name]) + 1), logs[name], ".-", label=label)
    units = {"loss": "-log likelihood, nats", "bits_per_dim": "bits/dim"}
    axes.set(xlabel="epoch", ylabel=units.get(metric, metric))
    axes.legend()
    if path is None:
        return axes
    axes.figure.savefig(path)
    return None
