"""Pictures of flows: sample grids, densities in the plane, training curves."""

import math

import numpy as np
from keras import ops

from flowzoo.datasets.toy import midpoint_grid


def tile_images(images, *, columns=None, padding=2):
    """Images (n, H, W, 1 or 3), uint8, side by side in one white-bordered array (H', W', 3)."""
    images = np.asarray(ops.convert_to_numpy(images))
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or len(images) == 0:
        raise ValueError(f"images must have shape (n, H, W, 1) or (n, H, W, 3), n > 0; got {images.shape}.")
    count, height, width, _ = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    cell = (height + padding, width + padding)
    canvas = np.full((rows * cell[0] + padding, columns * cell[1] + padding, 3), 255, "uint8")
    for i, image in enumerate(images):
        top, left = (i // columns) * cell[0] + padding, (i % columns) * cell[1] + padding
        canvas[top : top + height, left : left + width] = image
    return canvas


def image_grid(images, *, columns=None, path=None, scale=2):
    """A grid of images, shown by matplotlib or written to `path` with square pixels.

    Arguments:
        images: (n, H, W, 1 or 3), uint8.
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


def grid_log_prob(flow, *, limit, resolution, context=None):
    """The log-density of a flow on the plane, at the midpoints of a grid: (resolution, resolution)."""
    points, _ = midpoint_grid(limit, resolution)
    if context is not None:
        context = np.broadcast_to(np.asarray(context), (len(points), *flow.context_shape))
    log_prob = flow.predict(points if context is None else (points, context), batch_size=8192, verbose=0)
    return log_prob.reshape(resolution, resolution)


def density(flow, *, limit=4.0, resolution=200, context=None, samples=None, axes=None):
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


def training_curve(history, *, axes=None):
    """Loss in nats, training and validation, over the epochs of a Keras `History` or its dict.

    Returns: the matplotlib axes.
    """
    import matplotlib.pyplot as plt

    logs = getattr(history, "history", history)
    axes = axes or plt.subplots(figsize=(5, 3))[1]
    for name, label in (("loss", "training"), ("val_loss", "validation")):
        if name in logs:
            axes.plot(range(1, len(logs[name]) + 1), logs[name], label=label)
    axes.set(xlabel="epoch", ylabel="-log likelihood, nats")
    axes.legend()
    return axes
