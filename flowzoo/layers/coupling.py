"""Additive and affine coupling layers."""

from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from flowzoo import checks, transformers
from flowzoo.layers.context import context_at, context_channels
from flowzoo.layers.flow_layer import FlowLayer, sum_event
from flowzoo.networks.convnet import ZeroConv2D
from flowzoo.networks.initial import in_blocks, kernel_and_bias
from flowzoo.networks.mlp import MLP
from flowzoo.transformers import Additive, Affine
from flowzoo.transformers.spline import angle_features
from flowzoo.types import Initializer, Network, Shape, Tensor, TransformerLike

HEADS = ("dense", "conv")
STARTS = ("zeros", "uniform")


@keras.saving.register_keras_serializable(package="flowzoo")
class Coupling(FlowLayer):
    """Splits the last axis in two; one part passes and sets how the other is transformed.

        x = [z_a, t(z_b; network(z_a, context))]

    The head turns the network's features into the parameters of the transformer t. Each runs once a pass.
    On images (H, W, C) the halves are of the channels, RealNVP's channel-wise mask. A context joins the
    passing half: a flat one as constant channels, an image as channels in the height and width of that
    half, see `flowzoo.layers.context.context_at`.

    References:
        Density estimation using Real NVP (Dinh et al., 2016, arXiv:1605.08803)
        Neural Spline Flows (Durkan et al., 2019, arXiv:1906.04032)

    Arguments:
        network: a Keras layer (batch, ..., d) -> (batch, ..., features), such as
            `flowzoo.networks.MLP`, by default of two hidden layers of 64, or `ConvNet` for images.
        transformer: t, a `flowzoo.transformers.Transformer` or the name of one: "affine", "additive",
            "latent_affine", "gated", "spline", "mixture", "mixture_of_logistics".
        swap: whether the second half passes instead of the first.
        head: the last layer, "dense" or, for images, "conv", a `flowzoo.networks.ZeroConv2D`.
        head_initializer: of a dense head, "zeros", or "uniform", in +-1 / sqrt(fan-in), times the
            transformer's `start_scales`: a tenth for affine log-scales.
        use_context: False for a layer that leaves the context of a conditional flow to others.
        periodic: places of a vector that are angles in [-pi, pi); the transformer is then a spline.

    Example:
        >>> layer = flowzoo.layers.Coupling(flowzoo.networks.MLP((32, 32)), "spline")
        >>> layer.build((None, 4))
        >>> tuple(layer.forward_and_log_det(keras.ops.ones((3, 4)))[1].shape)
        (3,)
    """

    def __init__(
        self,
        network: Network | None = None,
        transformer: TransformerLike = "affine",
        *,
        swap: bool = False,
        head: str = "dense",
        head_initializer: Initializer = "zeros",
        use_context: bool = True,
        periodic: Sequence[int] = (),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        network = network or MLP((64, 64))
        if not isinstance(network, keras.layers.Layer):
            raise ValueError(
                f"network must be a Keras layer such as flowzoo.networks.MLP((64, 64)); got {network!r}."
            )
        self.network = network
        self.given_transformer = transformer
        self.transformer = transformers.get(transformer)
        self.swap = bool(swap)
        self.head_name = checks.choice("head", head, HEADS)
        self.head_initializer = checks.choice("head_initializer", head_initializer, STARTS)
        self.use_context = bool(use_context)
        self.periodic = checks.periodic(periodic, self.transformer)

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        passing, changed = self._channels(x_shape)
        self.angles = ()
        if self.periodic:
            angles = np.isin(np.arange(x_shape[-1]), self.periodic)
            self.angles, angles = self._split(angles)
            self.transformer = self.transformer.with_angles(angles)
            passing += int(self.angles.sum())
        outputs = self.transformer.parameters * changed
        if self.head_name == "conv":
            self.head = ZeroConv2D(outputs, dtype=self.dtype_policy, name="head")
        else:
            self.head = keras.layers.Dense(outputs, dtype=self.dtype_policy, name="head")
        if self.use_context:
            passing += context_channels(x_shape, context_shape)
        network_shape = (*x_shape[:-1], passing)
        if not self.network.built:
            self.network.build(network_shape)
        features_shape = self.network.compute_output_shape(network_shape)
        if self.head_name == "dense":
            starts = ("zeros", "zeros")
            if self.head_initializer == "uniform":
                starts = kernel_and_bias("uniform", features_shape[-1])
                starts = [in_blocks(start, self.transformer.start_scales) for start in starts]
            self.head.kernel_initializer, self.head.bias_initializer = map(keras.initializers.get, starts)
        self.head.build(features_shape)

    def _channels(self, x_shape):
        """How many channels pass, and how many are changed."""
        size = x_shape[-1]
        if size < 2:
            raise ValueError(
                f"A coupling layer needs at least 2 dimensions to split; got event size {size}. "
                "For one dimension use splines, flowzoo.NSF(event_shape=1)."
            )
        first = size // 2
        self.sizes = (first, size - first)
        return self.sizes[::-1] if self.swap else self.sizes

    def _split(self, values):
        first, second = values[..., : self.sizes[0]], values[..., self.sizes[0] :]
        return (second, first) if self.swap else (first, second)

    def _merge(self, passing, changed):
        return ops.concatenate([changed, passing] if self.swap else [passing, changed], axis=-1)

    def _log_det(self, log_derivatives):
        return sum_event(log_derivatives)

    def _parameters(self, passing, context):
        inputs = angle_features(passing, self.angles) if self.periodic else passing
        if context is not None and self.use_context:
            inputs = ops.concatenate([inputs, context_at(passing, context)], axis=-1)
        return ops.cast(self.head(self.network(inputs)), passing.dtype)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        passing, changed = self._split(z)
        changed, log_det = self.transformer.forward(changed, self._parameters(passing, context))
        return self._merge(passing, changed), self._log_det(log_det)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        passing, changed = self._split(x)
        changed, log_det = self.transformer.inverse(changed, self._parameters(passing, context))
        return self._merge(passing, changed), self._log_det(log_det)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "transformer": transformers.serialized(self.given_transformer),
            "swap": self.swap,
            "head": self.head_name,
            "head_initializer": self.head_initializer,
            "use_context": self.use_context,
            "periodic": self.periodic,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(**{**config, "network": network})

    def named_parts(self) -> dict[str, Any]:
        return {"network": self.network, "head": self.head}


@keras.saving.register_keras_serializable(package="flowzoo")
class AdditiveCoupling(Coupling):
    """NICE's additive coupling: x_b = z_b + shift(z_a), volume preserving (log_det = 0).

    References:
        NICE: Non-linear Independent Components Estimation (Dinh et al., 2014, arXiv:1410.8516)

    Arguments:
        network: a Keras layer (batch, ..., d) -> (batch, ..., features), such as
            `flowzoo.networks.MLP`, by default of two hidden layers of 64, or `ConvNet` for images.
        swap: whether the second half passes instead of the first.
        head: the last layer, "dense" or, for images, "conv", a `flowzoo.networks.ZeroConv2D`.
        head_initializer: of a dense head, "zeros" or "uniform", in +-1 / sqrt(fan-in).
        use_context: False for a layer that leaves the context of a conditional flow to others.

    Example:
        >>> layer = flowzoo.layers.AdditiveCoupling(flowzoo.networks.MLP((32, 32)))
        >>> layer.build((None, 4))
        >>> z, log_det = layer.inverse_and_log_det(keras.ops.ones((3, 4)))
        >>> tuple(z.shape), tuple(log_det.shape)
        ((3, 4), (3,))
    """

    def __init__(self, network: Network | None = None, **kwargs: Any):
        super().__init__(network, Additive(), **kwargs)

    def get_config(self) -> dict[str, Any]:
        return without_transformer(super().get_config())


@keras.saving.register_keras_serializable(package="flowzoo")
class AffineCoupling(Coupling):
    """RealNVP's affine coupling: x_b = z_b * exp(s(z_a)) + shift(z_a).

    The log-scale is softly bounded, s = b * tanh(a / b), and log_det = sum(s).

    References:
        Density estimation using Real NVP (Dinh et al., 2016, arXiv:1605.08803)

    Arguments:
        network: a Keras layer (batch, ..., d) -> (batch, ..., features), such as
            `flowzoo.networks.MLP`, by default of two hidden layers of 64, or `ConvNet` for images.
        swap: whether the second half passes instead of the first.
        head: the last layer, "dense" or, for images, "conv", a `flowzoo.networks.ZeroConv2D`.
        head_initializer: of a dense head, "zeros" or "uniform", in +-1 / sqrt(fan-in), for log-scales a
            tenth of it.
        use_context: False for a layer that leaves the context of a conditional flow to others.
        log_scale_bound: b above, in nats.

    Example:
        >>> layer = flowzoo.layers.AffineCoupling(flowzoo.networks.MLP((32, 32)))
        >>> layer.build((None, 4))
        >>> tuple(layer.forward_and_log_det(keras.ops.ones((3, 4)))[1].shape)
        (3,)
    """

    def __init__(self, network: Network | None = None, *, log_scale_bound: float = 2.0, **kwargs: Any):
        super().__init__(network, Affine(log_scale_bound), **kwargs)
        self.log_scale_bound = log_scale_bound

    def get_config(self) -> dict[str, Any]:
        return {**without_transformer(super().get_config()), "log_scale_bound": self.log_scale_bound}


def without_transformer(config):
    """The config of a coupling whose class says which transformer it has."""
    return {name: value for name, value in config.items() if name not in ("transformer", "periodic")}


def coupling_layer(network, transformer, **kwargs):
    """The coupling with a transformer, of the class whose name says it, if there is one."""
    if type(transformer) is Additive:
        return AdditiveCoupling(network, **kwargs)
    if type(transformer) is Affine:
        return AffineCoupling(network, log_scale_bound=transformer.log_scale_bound, **kwargs)
    return Coupling(network, transformer, **kwargs)
