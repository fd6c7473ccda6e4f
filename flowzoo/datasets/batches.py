"""Batches of arrays in memory, whose order depends on seed and epoch alone."""

from typing import Any

import keras
import numpy as np

from flowzoo import checks
from flowzoo.datasets.binarize import binarize as draw_binary
from flowzoo.types import ArrayLike, Seed


class Batches(keras.utils.PyDataset):
    """Batches of examples in memory, for `fit` on any backend; needs no TensorFlow.

    Arguments:
        x: (n, *event_shape), n > 0.
        context: (n, ...), the context of a conditional flow, or None.
        batch_size: examples a batch; the last batch may be smaller.
        shuffle: whether each epoch has an order of its own.
        seed: integer that fixes the order.
        epoch: number of the first epoch, for training that goes on.

    Example:
        >>> batches = flowzoo.datasets.Batches(np.zeros((10, 2)), batch_size=4)
        >>> len(batches), batches[2].shape
        (3, (2, 2))
    """

    def __init__(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        *,
        batch_size: int = 64,
        shuffle: bool = True,
        seed: Seed = 0,
        epoch: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.x = np.asarray(x)
        if self.x.ndim == 0 or len(self.x) == 0:
            raise ValueError(f"x must hold one example or more; got an array of shape {self.x.shape}.")
        self.context = None if context is None else np.asarray(context)
        if self.context is not None and len(self.context) != len(self.x):
            raise ValueError(f"There are {len(self.x)} examples, but {len(self.context)} contexts or labels.")
        self.batch_size = checks.positive_integer("batch_size", batch_size)
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = epoch
        self._start_epoch()

    def _start_epoch(self):
        self._plan(np.random.default_rng((self.seed, self.epoch)))

    def _plan(self, rng):
        """Draws what is random in this epoch."""
        self.order = rng.permutation(len(self.x)) if self.shuffle else np.arange(len(self.x))

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self._start_epoch()

    def __len__(self):
        return -(-len(self.x) // self.batch_size)

    def __getitem__(self, index):
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        x = self._examples(chosen, index)
        return x if self.context is None else (x, self.context[chosen])

    def _examples(self, chosen, index):
        return self.x[chosen]


class ImageBatches(Batches):
    """`Batches` of images, mirrored or binarised at random if you like.

    Arguments:
        images: uint8 (n, H, W, C).
        labels: (n,) or (n, ...), the context of a conditional flow, or None.
        flip: whether images are mirrored at random.
        binarize: whether each pixel is 1 with probability pixel / 255, else 0, drawn anew in each
            epoch; batches are float32 then.
        batch_size, shuffle, seed, epoch: as in `Batches`.

    Example:
        >>> batches = flowzoo.datasets.ImageBatches(np.zeros((10, 4, 4, 3), "uint8"), batch_size=4)
        >>> len(batches), batches[2].shape
        (3, (2, 4, 4, 3))
    """

    def __init__(
        self,
        images: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        flip: bool = False,
        binarize: bool = False,
        **kwargs: Any,
    ):
        if np.ndim(images) != 4 or len(images) == 0:
            raise ValueError(f"images must have shape (n, H, W, C), n > 0; got {np.shape(images)}.")
        self.flip = flip
        self.binarize = binarize
        super().__init__(images, labels, **kwargs)

    def _plan(self, rng):
        super()._plan(rng)
        count = len(self.x)
        self.mirrored = rng.random(count) < 0.5 if self.flip else np.zeros(count, bool)

    def _examples(self, chosen, index):
        images = self.x[chosen]
        mirrored = self.mirrored[chosen]
        images[mirrored] = images[mirrored][:, :, ::-1]
        if self.binarize:
            images = draw_binary(images, seed=np.random.default_rng((self.seed, self.epoch, index)))
        return images
