"""Masked autoregressive layers."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from flowzoo import checks, transformers
from flowzoo.layers.context import context_at, context_channels
from flowzoo.layers.flow_layer import FlowLayer
from flowzoo.networks.made import MADE
from flowzoo.types import Activation, Initializer, Seed, Shape, Tensor, TransformerLike


@keras.saving.register_keras_serializable(package="flowzoo")
class MaskedAutoregressive(FlowLayer):
    """x_i = t(z_i; MADE(x)_i), where MADE's parameters for i see only what stands before x_i.

    The Jacobian is triangular, so log_det is the sum of the transformer's log-derivatives.
    Data to latent is one pass of the network. Latent to data takes the arithmetic of one pass too, but
    dimension after dimension, see `MADE.solve`.
    `Invert` turns the two around: that is the inverse autoregressive flow.

    References:
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017, arXiv:1705.07057)

    Arguments:
        hidden_units, activation, order, seed, residual, initializer: of the `flowzoo.networks.MADE` within.
        transformer: t, a `flowzoo.transformers.Transformer` or the name of one: "affine", x_i = z_i *
            exp(s_i) + shift_i with |s_i| < log_scale_bound; "latent_affine", z_i = x_i * exp(s_i) + shift_i;
            "additive"; "gated", z_i = g_i * x_i + (1 - g_i) * m_i with g_i = sigmoid(a_i + forget_bias), the
            update of inverse autoregressive flows; "mixture", which gives x_i a mixture of Gaussians for
            conditional density; "mixture_of_logistics"; or "spline".
        components: number of components of a named mixture.
        log_scale_bound: soft bound of a named transformer's log-scales, in nats; not of the gated one.
        forget_bias: of the gates; a new layer has g_i = sigmoid(forget_bias).
        periodic: which dimensions are angles in [-pi, pi); the transformer is then a spline.

    Example:
        >>> layer = flowzoo.layers.MaskedAutoregressive(hidden_units=(32,), order="reversed")
        >>> layer.build((None, 3))
        >>> tuple(layer.inverse_and_log_det(keras.ops.ones((5, 3)))[1].shape)
        (5,)
    """

    def __init__(
        self,
        *,
        hidden_units: Sequence[int] = (64, 64),
        activation: Activation = "relu",
        order: str = "natural",
        transformer: TransformerLike = "affine",
        components: int = 10,
        log_scale_bound: float = 2.0,
        forget_bias: float = 1.0,
        seed: Seed = None,
        residual: bool = False,
        periodic: Sequence[int] = (),
        initializer: Initializer = "he_normal",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.hidden_units = checks.hidden_units(hidden_units)
        self.activation = activation
        self.order = order
        self.given_transformer = transformer
        self.components = checks.positive_integer("components", components)
        self.log_scale_bound = log_scale_bound
        self.forget_bias = forget_bias
        self.seed = seed
        self.initializer = initializer
        self.transformer = transformers.get(
            transformer, components=components, log_scale_bound=log_scale_bound, forget_bias=forget_bias
        )
        self.residual = bool(residual)
        self.periodic = checks.periodic(periodic, self.transformer)
        transformer = self.transformer.with_angles((True,)) if self.periodic else self.transformer
        self.made = MADE(
            transformer.parameters,
            hidden_units=self.hidden_units,
            activation=activation,
            order=order,
            seed=seed,
            residual=residual,
            periodic=self.periodic,
            initializer=initializer,
            output_scales=transformer.start_scales,
            dtype=self.dtype_policy,
            name="made",
        )

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        if len(x_shape) != 2:
            raise ValueError(
                f"MaskedAutoregressive works on vectors; got event shape {tuple(x_shape[1:])}. "
                "Put a flowzoo.layers.Reshape on its data side."
            )
        if self.periodic:
            angles = np.isin(np.arange(x_shape[-1]), self.periodic)
            self.transformer = self.transformer.with_angles(angles)
        flat = None if context_shape is None else (None, context_channels(x_shape, context_shape))
        self.made.build(x_shape, flat)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        context = None if context is None else context_at(x, context)
        parameters = ops.cast(self.made(x, context), x.dtype)
        z, log_det = self.transformer.inverse(x, parameters)
        return z, ops.sum(log_det, axis=-1)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        def transform(value, parameters, dimension):
            transformer = self.transformer.at(dimension) if self.periodic else self.transformer
            return transformer.forward(value, parameters)

        context = None if context is None else context_at(z, context)
        return self.made.solve(transform, z, context)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden_units": self.hidden_units,
            "activation": self.activation,
            "order": self.order,
            "transformer": transformers.serialized(self.given_transformer),
            "components": self.components,
            "log_scale_bound": self.log_scale_bound,
            "forget_bias": self.forget_bias,
            "seed": self.seed,
            "residual": self.residual,
            "periodic": self.periodic,
            "initializer": self.initializer,
        }

    def named_parts(self) -> dict[str, Any]:
        return {"made": self.made}
