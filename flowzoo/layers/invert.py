"""A flow layer turned around."""

from typing import Any, Self

import keras

from flowzoo.layers.flow_layer import FlowLayer
from flowzoo.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="flowzoo")
class Invert(FlowLayer):
    """The flow layer `layer` with its two directions exchanged.

    `Invert(MaskedAutoregressive(...))` is one step of an inverse autoregressive flow: sampling
    takes one pass, and the density of given data goes dimension after dimension. Where the layer does not
    take every latent, as `TFPBijector("Log")` takes positive ones alone, the density of such data is 0:
    log_det is -inf.

    Arguments:
        layer: a flow layer that keeps the shape of its input.

    Example:
        >>> layer = flowzoo.layers.Invert(flowzoo.layers.MaskedAutoregressive(hidden_units=(32,)))
        >>> layer.build((None, 3))
        >>> tuple(layer.forward_and_log_det(keras.ops.ones((5, 3)))[0].shape)
        (5, 3)
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(layer, FlowLayer):
            raise ValueError(f"Invert takes a flow layer; got {layer!r}.")
        self.layer = layer

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        if not self.layer.built:
            self.layer.build(x_shape, context_shape)
        if tuple(self.layer.compute_output_shape(x_shape)) != tuple(x_shape):
            raise ValueError(f"Invert takes a layer that keeps the shape; {self.layer!r} does not.")

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.layer(z, context, log_det=True)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.layer.forward_on_support(x, context)

    def outside(self, x: Tensor) -> Tensor | None:
        return self.layer.outside_latent(x)

    def outside_latent(self, z: Tensor) -> Tensor | None:
        return self.layer.outside(z)

    def forward_on_support(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self(z, context, forward=True, log_det=True)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})

    def named_parts(self) -> dict[str, Any]:
        return {"layer": self.layer}
