"""Flow layers, latent to data, run one after another."""

import math
from collections.abc import Sequence
from typing import Any, Self

import keras

from flowzoo.layers.flow_layer import FlowLayer
from flowzoo.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="flowzoo")
class Chain(FlowLayer):
    """x = f_n(... f_2(f_1(z))): flow layers one after another, themselves one flow layer.

    log_det is the sum of those of the layers.

    Arguments:
        flow_layers: list of flow layers, latent to data.

    Raises: ValueError if a layer stands twice in the list, is not a flow layer, or if two of them take
        noise.

    Example:
        >>> chain = flowzoo.layers.Chain([flowzoo.layers.Permutation(), flowzoo.layers.ActNorm()])
        >>> chain.build((None, 3))
        >>> tuple(chain.inverse_and_log_det(keras.ops.ones((5, 3)))[1].shape)
        (5,)
    """

    def __init__(self, flow_layers: Sequence[keras.layers.Layer] = (), **kwargs: Any):
        super().__init__(**kwargs)
        self.flow_layers = checked_layers(flow_layers)

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        """Builds every layer that is not built yet, from the data end."""
        for layer in reversed(self.flow_layers):
            if not layer.built:
                layer.build(x_shape, context_shape)
            x_shape = tuple(layer.compute_output_shape(x_shape))
        self.latent_shape = x_shape[1:]
        noisy = [layer.name for layer in self.flow_layers if layer.noise_shape is not None]
        if len(noisy) > 1:
            raise ValueError(f"One layer of a chain may take noise; {' and '.join(noisy)} do.")

    @property
    def noise_shape(self) -> Shape | None:
        """How many numbers of noise one example takes from data to latent, as a shape; None for none."""
        shapes = [layer.noise_shape for layer in self.flow_layers if layer.noise_shape is not None]
        return shapes[0] if shapes else None

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = self.per_example(0.0, z)
        for layer in self.flow_layers:
            z, log_det = layer(z, context, forward=True, log_det=True)
            total = total + log_det
        return z, total

    @property
    def takes_every_latent(self) -> bool:
        return all(layer.takes_every_latent for layer in self.flow_layers)

    def forward_on_support(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.takes_every_latent:
            return super().forward_on_support(z, context)
        total = self.per_example(0.0, z)
        for layer in self.flow_layers:
            z, log_det = layer.forward_on_support(z, context)
            total = total + log_det
        return z, total

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        z, log_dets = self.inverse_and_log_dets(x, context, noise)
        return z, sum(log_dets, start=self.per_example(0.0, x))

    def inverse_and_log_dets(
        self, x: Tensor, context: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """z and each layer's log |det dz/dx|, a list of tensors (batch,) from the data end."""
        log_dets = []
        for layer in reversed(self.flow_layers):
            own = None if layer.noise_shape is None else noise
            x, log_det = layer(x, context, own, log_det=True)
            log_dets.append(log_det)
        return x, log_dets

    @property
    def needs_initialization(self) -> bool:
        return any(layer.needs_initialization for layer in self.flow_layers)

    def initialize(self, x: Tensor, context: Tensor | None = None, noise: Tensor | None = None) -> None:
        """Starts the layers from one batch, each from what the ones on its data side make of it."""
        for layer in reversed(self.flow_layers):
            own = None if layer.noise_shape is None else noise
            layer.initialize(x, context, own)
            if layer is not self.flow_layers[0]:  # nothing starts from what the latent end makes
                x = layer(x, context, own)

    @property
    def level_sizes(self) -> list[int]:
        """How many numbers of the latent belong to each scale, the finest first."""
        first = self.flow_layers[0] if self.flow_layers else None
        return getattr(first, "level_sizes", None) or [math.prod(self.latent_shape)]

    def compute_output_shape(self, x_shape: Shape, context_shape: Shape | None = None) -> Shape:
        for layer in reversed(self.flow_layers):
            x_shape = tuple(layer.compute_output_shape(x_shape))
        return tuple(x_shape)

    def get_config(self) -> dict[str, Any]:
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.flow_layers]
        return {**super().get_config(), "flow_layers": layers}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["flow_layers"]]
        return cls(**{**config, "flow_layers": layers})

    def describe(self, indent: int = 1) -> list[str]:
        """One line a layer, latent to data, layers within a layer indented under it."""
        rows = []
        for layer in self.flow_layers:
            rows.append(f"{'  ' * indent}-> {layer.name} {kind(layer)}")
            inner = layer if isinstance(layer, Chain) else getattr(layer, "chain", None)
            rows += inner.describe(indent + 1) if inner else []
        return rows


def kind(layer):
    """The class of a layer, and of what it inverts or, where the name does not tell, of its transformer.

    Example:
        >>> kind(flowzoo.layers.Coupling(transformer="spline")), kind(flowzoo.layers.AffineCoupling())
        ('Coupling of RationalQuadraticSpline', 'AffineCoupling')
        >>> kind(flowzoo.layers.Invert(flowzoo.layers.ActNorm()))
        'Invert of ActNorm'
    """
    name, of = type(layer).__name__, ""
    if isinstance(getattr(layer, "layer", None), FlowLayer):
        of = kind(layer.layer)
    elif hasattr(layer, "given_transformer"):
        of = type(layer.transformer).__name__
    return f"{name} of {of}" if of and not name.startswith(of) else name


def checked_layers(flow_layers):
    """`flow_layers` as a list, in which each layer is a flow layer and stands once."""
    flow_layers = list(flow_layers)
    for i, layer in enumerate(flow_layers):
        if not isinstance(layer, FlowLayer):
            raise ValueError(f"flow_layers[{i}] is not a flow layer but {layer!r}.")
        for j in range(i):
            if flow_layers[j] is layer:
                raise ValueError(
                    f"flow_layers[{j}] and flow_layers[{i}] are the same layer, so they would share their "
                    "weights. Make each layer of its own: [make_layer() for _ in range(n)], not [layer] * n."
                )
    return flow_layers
