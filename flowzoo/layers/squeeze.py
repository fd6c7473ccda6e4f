"""Trading height and width for channels."""

import keras
from keras import ops

from flowzoo.layers.flow_layer import FlowLayer
from flowzoo.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="flowzoo")
class Squeeze(FlowLayer):
    """Each 2 x 2 block of (H, W, C) becomes one place of (H/2, W/2, 4C); log_det = 0.

    Channel (2 i + j) C + c of the latent side is channel c of row i and column j of the block.

    References:
        Density estimation using Real NVP (Dinh et al., 2016, arXiv:1605.08803), section 3.6

    Example:
        >>> layer = flowzoo.layers.Squeeze()
        >>> layer.build((None, 4, 6, 3))
        >>> tuple(layer(keras.ops.ones((5, 4, 6, 3))).shape)
        (5, 2, 3, 12)
    """

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        if len(x_shape) != 4 or x_shape[1] % 2 or x_shape[2] % 2:
            raise ValueError(
                "Squeeze takes images (H, W, C) of even height and width; "
                f"got event shape {tuple(x_shape[1:])}."
            )
        self.data_shape = tuple(x_shape[1:])

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        height, width, channels = self.data_shape
        blocks = ops.reshape(z, (-1, height // 2, width // 2, 2, 2, channels))
        x = ops.reshape(ops.transpose(blocks, (0, 1, 3, 2, 4, 5)), (-1, height, width, channels))
        return x, self.per_example(0.0, z)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        height, width, channels = self.data_shape
        blocks = ops.reshape(x, (-1, height // 2, 2, width // 2, 2, channels))
        z = ops.transpose(blocks, (0, 1, 3, 2, 4, 5))
        return ops.reshape(z, (-1, height // 2, width // 2, 4 * channels)), self.per_example(0.0, x)

    def compute_output_shape(self, x_shape: Shape, context_shape: Shape | None = None) -> Shape:
        return (x_shape[0], x_shape[1] // 2, x_shape[2] // 2, 4 * x_shape[3])
