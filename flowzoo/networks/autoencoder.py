"""Convolutional encoder and decoder of images: small images of features, and back."""

from typing import Any

import keras
from keras import ops

from flowzoo import checks
from flowzoo.networks.initial import he_normal
from flowzoo.types import Activation, Shape, Tensor


@keras.saving.register_keras_serializable(package="flowzoo")
class ConvEncoder(keras.layers.Layer):
    """Halves height and width `levels` times by strided convolutions; then come residual blocks.

    (batch, H, W, C) -> (batch, H / 2^levels, W / 2^levels, hidden_channels). Each convolution is 3x3;
    channels double from level to level up to hidden_channels. A block is
    h <- h + conv(a(conv(a(h)))), the second convolution starting at zero.

    References:
        Identity Mappings in Deep Residual Networks (He et al., 2016, arXiv:1603.05027)

    Arguments:
        hidden_channels: width at the smallest size, where the blocks are.
        levels: how many times height and width are halved; they must be divisible by 2^levels.
        blocks: number of residual blocks.
        activation: name of a Keras activation.

    Example:
        >>> tuple(flowzoo.networks.ConvEncoder(16, levels=2)(keras.ops.ones((5, 8, 8, 3))).shape)
        (5, 2, 2, 16)
    """

    def __init__(
        self,
        hidden_channels: int = 64,
        *,
        levels: int = 2,
        blocks: int = 2,
        activation: Activation = "elu",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.hidden_channels = checks.positive_integer("hidden_channels", hidden_channels)
        self.levels = checks.positive_integer("levels", levels)
        self.blocks = checks.positive_integer("blocks", blocks)
        self.activation = activation
        self.activate = keras.activations.get(activation)
        self.downward = [
            _convolution(channels, dtype=self.dtype_policy, strides=2, name=f"down_{i}")
            for i, channels in enumerate(_widths(self.hidden_channels, self.levels))
        ]
        self.residuals = [
            ResidualBlock(self.hidden_channels, activation, dtype=self.dtype_policy, name=f"block_{i}")
            for i in range(self.blocks)
        ]

    def build(self, input_shape: Shape) -> None:
        for layer in (*self.downward, *self.residuals):
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        for convolution in self.downward[:-1]:
            inputs = self.activate(convolution(inputs))
        hidden = self.downward[-1](inputs)
        for block in self.residuals:
            hidden = block(hidden)
        return self.activate(hidden)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, _ = input_shape
        return (batch, height // 2**self.levels, width // 2**self.levels, self.hidden_channels)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden_channels": self.hidden_channels,
            "levels": self.levels,
            "blocks": self.blocks,
            "activation": self.activation,
        }


@keras.saving.register_keras_serializable(package="flowzoo")
class ConvDecoder(keras.layers.Layer):
    """The way back of a `ConvEncoder`: residual blocks, then `levels` times doubled height and width.

    (batch, h, w, c) -> (batch, h * 2^levels, w * 2^levels, channels). A 3x3 convolution to
    hidden_channels and the blocks come first. Each doubling is a 3x3 convolution to four times the
    channels, whose quarters become the four pixels of a square; channels halve from level to level.

    References:
        Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
        Neural Network (Shi et al., 2016, arXiv:1609.05158)

    Arguments:
        channels: of the result.
        hidden_channels, levels, blocks, activation: as in `ConvEncoder`.

    Example:
        >>> tuple(flowzoo.networks.ConvDecoder(3, 16, levels=2)(keras.ops.ones((5, 2, 2, 7))).shape)
        (5, 8, 8, 3)
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: int = 64,
        *,
        levels: int = 2,
        blocks: int = 2,
        activation: Activation = "elu",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.channels = checks.positive_integer("channels", channels)
        self.hidden_channels = checks.positive_integer("hidden_channels", hidden_channels)
        self.levels = checks.positive_integer("levels", levels)
        self.blocks = checks.positive_integer("blocks", blocks)
        self.activation = activation
        self.activate = keras.activations.get(activation)
        self.entry = _convolution(self.hidden_channels, dtype=self.dtype_policy, name="entry")
        self.residuals = [
            ResidualBlock(self.hidden_channels, activation, dtype=self.dtype_policy, name=f"block_{i}")
            for i in range(self.blocks)
        ]
        widths = [*_widths(self.hidden_channels, self.levels)[-2::-1], self.channels]
        self.upward = [
            _convolution(4 * width, dtype=self.dtype_policy, name=f"up_{i}") for i, width in enumerate(widths)
        ]

    def build(self, input_shape: Shape) -> None:
        for layer in (self.entry, *self.residuals):
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)
        for convolution in self.upward:
            convolution.build(input_shape)
            input_shape = _doubled(convolution.compute_output_shape(input_shape))

    def call(self, inputs: Tensor) -> Tensor:
        hidden = self.entry(inputs)
        for block in self.residuals:
            hidden = block(hidden)
        for convolution in self.upward:
            quarters = convolution(self.activate(hidden))
            _, height, width, channels = _doubled(quarters.shape)
            squares = ops.reshape(quarters, (-1, height // 2, width // 2, 2, 2, channels))
            hidden = ops.reshape(ops.transpose(squares, (0, 1, 3, 2, 4, 5)), (-1, height, width, channels))
        return hidden

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, _ = input_shape
        return (batch, height * 2**self.levels, width * 2**self.levels, self.channels)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": self.channels,
            "hidden_channels": self.hidden_channels,
            "levels": self.levels,
            "blocks": self.blocks,
            "activation": self.activation,
        }


class ResidualBlock(keras.layers.Layer):
    """h + conv3x3(a(conv3x3(a(h)))), which starts as the identity."""

    def __init__(self, channels, activation, **kwargs):
        super().__init__(**kwargs)
        self.activate = keras.activations.get(activation)
        self.first = _convolution(channels, dtype=self.dtype_policy, name="first")
        self.second = _convolution(channels, "zeros", dtype=self.dtype_policy, name="second")

    def build(self, input_shape):
        self.first.build(input_shape)
        self.second.build(input_shape)

    def call(self, inputs):
        return inputs + self.second(self.activate(self.first(self.activate(inputs))))

    def compute_output_shape(self, input_shape):
        return input_shape


def _convolution(channels, initializer=he_normal, **kwargs):
    return keras.layers.Conv2D(channels, 3, padding="same", kernel_initializer=initializer, **kwargs)


def _widths(hidden_channels, levels):
    """Channels after each level, doubling up to hidden_channels."""
    return [max(1, hidden_channels // 2 ** (levels - 1 - i)) for i in range(levels)]


def _doubled(shape):
    batch, height, width, channels = shape
    return (batch, 2 * height, 2 * width, channels // 4)
