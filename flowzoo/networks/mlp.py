"""Multilayer perceptrons, plain and residual."""

from collections.abc import Sequence
from typing import Any

import keras

from flowzoo import checks
from flowzoo.networks.initial import INITIALIZERS, he_normal, kernel_and_bias
from flowzoo.types import Activation, Initializer, Shape, Tensor


@keras.saving.register_keras_serializable(package="flowzoo")
class MLP(keras.layers.Layer):
    """A multilayer perceptron, (batch, d) -> (batch, hidden_units[-1]).

    Arguments:
        hidden_units: widths of the hidden layers, such as (64, 64).
        activation: name of a Keras activation, applied after every layer.
        dropout: rate of dropout after every layer, in training alone.
        initializer: "he_normal", of kernels, with biases of zero; or "uniform", of both, in
            +-1 / sqrt(fan-in).

    Example:
        >>> tuple(flowzoo.networks.MLP((64, 32))(keras.ops.ones((5, 3))).shape)
        (5, 32)
    """

    def __init__(
        self,
        hidden_units: Sequence[int] = (64, 64),
        *,
        activation: Activation = "relu",
        dropout: float = 0.0,
        initializer: Initializer = "he_normal",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.hidden_units = checks.hidden_units(hidden_units)
        self.activation = activation
        self.dropout = dropout
        self.initializer = checks.choice("initializer", initializer, INITIALIZERS)
        self.hidden_layers = []
        for i, units in enumerate(self.hidden_units):
            self.hidden_layers.append(
                keras.layers.Dense(
                    units,
                    activation=activation,
                    dtype=self.dtype_policy,
                    name=f"hidden_{i}",
                )
            )
        self.dropout_layer = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape: Shape) -> None:
        for layer in self.hidden_layers:
            layer.kernel_initializer, layer.bias_initializer = map(
                keras.initializers.get, kernel_and_bias(self.initializer, input_shape[-1])
            )
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)
        self.dropout_layer.build(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        for layer in self.hidden_layers:
            inputs = self.dropout_layer(layer(inputs))
        return inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.hidden_units[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden_units": self.hidden_units,
            "activation": self.activation,
            "dropout": self.dropout,
            "initializer": self.initializer,
        }


@keras.saving.register_keras_serializable(package="flowzoo")
class ResidualMLP(keras.layers.Layer):
    """A residual perceptron, (batch, d) -> (batch, units).

    A dense layer, then `blocks` times  h <- h + W2 a(W1 a(h)), then a(h); W2 starts at zero.

    References:
        Identity Mappings in Deep Residual Networks (He et al., 2016, arXiv:1603.05027)

    Arguments:
        units: width of every layer.
        blocks: number of residual blocks.
        activation: name of a Keras activation.

    Example:
        >>> tuple(flowzoo.networks.ResidualMLP(32, blocks=2)(keras.ops.ones((5, 3))).shape)
        (5, 32)
    """

    def __init__(self, units: int = 64, *, blocks: int = 2, activation: Activation = "relu", **kwargs: Any):
        super().__init__(**kwargs)
        self.units = checks.positive_integer("units", units)
        self.blocks = checks.positive_integer("blocks", blocks)
        self.activation = activation
        self.activate = keras.activations.get(activation)
        self.input_layer = self._dense("input", he_normal)
        self.block_layers = [
            (self._dense(f"block_{i}_in", he_normal), self._dense(f"block_{i}_out", "zeros"))
            for i in range(self.blocks)
        ]

    def _dense(self, name, initializer):
        return keras.layers.Dense(
            self.units, kernel_initializer=initializer, dtype=self.dtype_policy, name=name
        )

    def build(self, input_shape: Shape) -> None:
        self.input_layer.build(input_shape)
        for layers in self.block_layers:
            for layer in layers:
                layer.build(self.compute_output_shape(input_shape))

    def call(self, inputs: Tensor) -> Tensor:
        hidden = self.input_layer(inputs)
        for first, second in self.block_layers:
            hidden = hidden + second(self.activate(first(self.activate(hidden))))
        return self.activate(hidden)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "blocks": self.blocks,
            "activation": self.activation,
        }
