"""RealNVP's residual convolutional conditioner."""

from typing import Any

import keras
from keras import ops

from flowzoo import checks, replicas
from flowzoo.networks.initial import he_normal
from flowzoo.types import Activation, Shape, Tensor

NORMALIZATIONS = ("batch", "affine")


@keras.saving.register_keras_serializable(package="flowzoo")
class ResNet(keras.layers.Layer):
    """A residual convolutional network with weight and batch normalisation.

    A 3x3 convolution, then `blocks` times  h <- h + conv3x3(a(norm(conv3x3(a(norm(h))))))  and
    a(norm(h)), with every convolution weight-normalised. (batch, H, W, C) -> (batch, H, W, channels).

    References:
        Density estimation using Real NVP (Dinh et al., 2016, arXiv:1605.08803), section 4.1
        Identity Mappings in Deep Residual Networks (He et al., 2016, arXiv:1603.05027)
        ResMLP (Touvron et al., 2021, arXiv:2105.03404), for affine maps in the place of normalisation

    Arguments:
        channels: width of every layer.
        blocks: number of residual blocks.
        activation: name of a Keras activation.
        normalization: what norm is: "batch", batch normalisation, or "affine", a learned scale and
            shift of each channel, the same in training as elsewhere.

    Example:
        >>> tuple(flowzoo.networks.ResNet(16, blocks=1)(keras.ops.ones((5, 8, 8, 3))).shape)
        (5, 8, 8, 16)
    """

    def __init__(
        self,
        channels: int = 32,
        *,
        blocks: int = 4,
        activation: Activation = "relu",
        normalization: str | None = "batch",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.channels = checks.positive_integer("channels", channels)
        self.blocks = checks.positive_integer("blocks", blocks)
        self.activation = activation
        self.activate = keras.activations.get(activation)
        self.normalization = checks.choice("normalization", normalization, NORMALIZATIONS)
        self.convolutions = [self._convolution(f"convolution_{i}") for i in range(1 + 2 * self.blocks)]
        self.norms = [self._norm(f"norm_{i}") for i in range(1 + 2 * self.blocks)]

    def _convolution(self, name):
        return WeightNormConv2D(self.channels, dtype=self.dtype_policy, name=name)

    def _norm(self, name):
        if self.normalization == "affine":
            return ChannelAffine(dtype=self.dtype_policy, name=name)
        several = replicas.in_scope() > 1
        return keras.layers.BatchNormalization(synchronized=several, dtype=self.dtype_policy, name=name)

    def build(self, input_shape: Shape) -> None:
        for convolution in self.convolutions:
            convolution.build(input_shape)
            input_shape = self.compute_output_shape(input_shape)
        for norm in self.norms:
            norm.build(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        hidden = self.convolutions[0](inputs)
        for block in range(self.blocks):
            change = hidden
            for i in (2 * block, 2 * block + 1):
                change = self.convolutions[1 + i](self.activate(self.norms[i](change)))
            hidden = hidden + change
        return self.activate(self.norms[-1](hidden))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.channels)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": self.channels,
            "blocks": self.blocks,
            "activation": self.activation,
            "normalization": self.normalization,
        }


class ChannelAffine(keras.layers.Layer):
    """y = gamma * x + beta, with a gamma and a beta for each channel."""

    def build(self, input_shape):
        size = input_shape[-1]
        self.gamma = self.add_weight(shape=(size,), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(size,), initializer="zeros", name="beta")

    def call(self, inputs):
        return self.gamma * inputs + self.beta

    def compute_output_shape(self, input_shape):
        return input_shape


class WeightNormConv2D(keras.layers.Layer):
    """A 3x3 convolution with kernel  gain * v / |v|, the norm taken for each output channel.

    References:
        Weight Normalization (Salimans and Kingma, 2016, arXiv:1602.07868)
    """

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels

    def build(self, input_shape):
        shape = (3, 3, input_shape[-1], self.channels)
        self.direction = self.add_weight(shape=shape, initializer=he_normal, name="direction")
        self.gain = self.add_weight(shape=(self.channels,), initializer="ones", name="gain")
        self.bias = self.add_weight(shape=(self.channels,), initializer="zeros", name="bias")

    def call(self, inputs):
        direction = ops.convert_to_tensor(self.direction)
        kernel = direction * (self.gain * ops.rsqrt(ops.sum(ops.square(direction), axis=(0, 1, 2)) + 1e-6))
        return ops.conv(inputs, kernel, padding="same") + self.bias

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.channels)
