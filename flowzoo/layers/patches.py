"""Images as rows of tokens."""

import math
from typing import Any

import keras
from keras import ops

from flowzoo import checks
from flowzoo.layers.flow_layer import FlowLayer
from flowzoo.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="flowzoo")
class Patches(FlowLayer):
    """An image (H, W, C) in patches of p x p pixels: T = HW / p^2 tokens of D = p^2 C numbers; log_det = 0.

    They stand row after row; number (p i + j) C + c of a token is channel c of row i and column j of its
    patch.

    Arguments:
        patch_size: p, which divides H and W.

    Example:
        >>> layer = flowzoo.layers.Patches(4)
        >>> layer.build((None, 8, 12, 3))
        >>> tuple(layer(keras.ops.ones((5, 8, 12, 3))).shape)
        (5, 6, 48)
    """

    def __init__(self, patch_size: int = 4, **kwargs: Any):
        super().__init__(**kwargs)
        self.patch_size = checks.positive_integer("patch_size", patch_size)

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        self.data_shape = checked_image(x_shape[1:], self.patch_size)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        height, width, channels = self.data_shape
        size = self.patch_size
        blocks = ops.reshape(z, (-1, height // size, width // size, size, size, channels))
        x = ops.reshape(ops.transpose(blocks, (0, 1, 3, 2, 4, 5)), (-1, height, width, channels))
        return x, self.per_example(0.0, z)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        height, width, channels = self.data_shape
        size = self.patch_size
        blocks = ops.reshape(x, (-1, height // size, size, width // size, size, channels))
        z = ops.reshape(ops.transpose(blocks, (0, 1, 3, 2, 4, 5)), (-1, *self._tokens(x.shape)))
        return z, self.per_example(0.0, x)

    def _tokens(self, x_shape):
        numbers = self.patch_size**2 * x_shape[3]
        return math.prod(x_shape[1:]) // numbers, numbers

    def compute_output_shape(self, x_shape: Shape, context_shape: Shape | None = None) -> Shape:
        return (x_shape[0], *self._tokens(x_shape))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "patch_size": self.patch_size}


def checked_image(event_shape, patch_size):
    """`event_shape` as (H, W, C), found to be a whole number of patches high and wide."""
    shape = checks.shape("event_shape", tuple(event_shape))
    size = checks.positive_integer("patch_size", patch_size)
    if len(shape) != 3:
        raise ValueError(f"Patches are cut of images (height, width, channels); got event shape {shape}.")
    if shape[0] % size or shape[1] % size:
        raise ValueError(
            f"patch_size must divide height and width; got patches of {size} x {size} pixels for images of "
            f"{shape[0]} x {shape[1]}. Pad the images by {-shape[0] % size} rows and {-shape[1] % size} "
            "columns, or give another patch_size."
        )
    return shape
