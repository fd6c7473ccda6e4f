"""Keras callbacks for training flows."""

import pathlib
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from flowzoo import checks, plots
from flowzoo.types import ArrayLike, PathLike, Seed


class SampleGrid(keras.callbacks.Callback):
    """Draws the same latents through an image flow after every epoch: watch the samples grow.

    Arguments:
        folder: gets `epoch_0001.png` and so on; it is made if it is missing.
        n: number of samples.
        context: as `Flow.sample` takes it, for a conditional flow.
        temperature: of the samples.
        seed: integer that draws the latents.
        tensorboard: whether to write the grid for TensorBoard into `folder` too, as the image
            "samples"; needs TensorFlow and TensorBoard.

    Example:
        >>> callback = flowzoo.callbacks.SampleGrid("grids", n=16, temperature=0.7)
        >>> callback.path(0).name
        'epoch_0001.png'
    """

    def __init__(
        self,
        folder: PathLike,
        *,
        n: int = 16,
        context: ArrayLike | None = None,
        temperature: float | Sequence[float] = 1.0,
        seed: Seed = 0,
        tensorboard: bool = False,
    ):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.n = checks.positive_integer("n", n)
        self.context = context
        self.temperature = temperature
        self.seed = seed
        self.writer = None
        if tensorboard:
            self.writer = _summary_writer(self.folder)

    def path(self, epoch: int) -> pathlib.Path:
        """The file of an epoch, counted from 0 as Keras does."""
        return self.folder / f"epoch_{epoch + 1:04d}.png"

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        samples = self.model.sample(self.n, self.context, temperature=self.temperature, seed=self.seed)
        images = ops.convert_to_numpy(samples)
        self.folder.mkdir(parents=True, exist_ok=True)
        plots.image_grid(images, path=self.path(epoch))
        if self.writer is not None:
            import tensorflow as tf

            with self.writer.as_default(step=epoch + 1):
                tf.summary.image("samples", plots.tile_images(images)[None])
            self.writer.flush()


def _summary_writer(folder):
    try:
        import tensorboard  # noqa: F401, TensorFlow's summaries fail without it, but only when written
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            f"SampleGrid(tensorboard=True) needs {error.name}; run `pip install tensorflow tensorboard`, or "
            "leave tensorboard=False for the pictures alone."
        ) from error
    return tf.summary.create_file_writer(str(folder))
