"""Factoring out half of the channels, the multi-scale architecture."""

import math
from collections.abc import Sequence
from typing import Any, Self

import keras
from keras import ops

from flowzoo.layers.chain import Chain
from flowzoo.layers.context import context_at, context_channels
from flowzoo.layers.flow_layer import FlowLayer, sum_event
from flowzoo.networks.convnet import ZeroConv2D
from flowzoo.transformers import Affine
from flowzoo.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="flowzoo")
class FactorOut(FlowLayer):
    """Half of the channels leaves as latents here; the other half goes on through `flow_layers`.

        x = [kept, left]        z = [flat (left - mean) / exp(s), flat latent of kept]

    With `learned_prior`, mean and s are what a convolution that starts at zero makes of the kept
    half: the half that leaves is Gaussian given what goes on, as in Glow, and log_det gains
    -sum(s), data to latent; a context that is an image is seen beside that half. Without `learned_prior`
    mean = s = 0: it is standard Gaussian, as in RealNVP. Nested in `flow_layers`, FactorOut layers make
    one flat latent of all scales, the finest first.

    References:
        Density estimation using Real NVP (Dinh et al., 2016, arXiv:1605.08803), section 3.6
        Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018, arXiv:1807.03039)

    Arguments:
        flow_layers: list of flow layers, latent to data, for the half that goes on.
        learned_prior: whether what goes on sets mean and scale of what leaves.
        log_scale_bound: soft bound of |s|, in nats.

    Example:
        >>> layer = flowzoo.layers.FactorOut([flowzoo.layers.ActNorm()])
        >>> layer.build((None, 2, 2, 4))
        >>> tuple(layer(keras.ops.ones((5, 2, 2, 4))).shape)
        (5, 16)
    """

    def __init__(
        self,
        flow_layers: Sequence[keras.layers.Layer] = (),
        *,
        learned_prior: bool = False,
        log_scale_bound: float = 5.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.chain = Chain(flow_layers, name="chain")
        self.learned_prior = bool(learned_prior)
        self.log_scale_bound = log_scale_bound
        self.transformer = Affine(log_scale_bound)

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        if len(x_shape) != 4 or x_shape[3] < 2:
            raise ValueError(
                f"FactorOut takes images of 2 channels or more; got event shape {tuple(x_shape[1:])}. "
                "Put a flowzoo.layers.Squeeze on its data side."
            )
        height, width, channels = x_shape[1:]
        self.kept = channels // 2
        self.left_shape = (height, width, channels - self.kept)
        self.left_size = math.prod(self.left_shape)
        kept_shape = (x_shape[0], height, width, self.kept)
        self.prior = None
        if self.learned_prior:
            self.prior = ZeroConv2D(2 * self.left_shape[-1], dtype=self.dtype_policy, name="prior")
            seen = context_channels(kept_shape, context_shape) if _is_image(context_shape) else 0
            self.prior.build((*kept_shape[:-1], self.kept + seen))
        self.chain.build(kept_shape, context_shape)

    @property
    def noise_shape(self) -> Shape | None:
        return self.chain.noise_shape

    def _prior_parameters(self, kept, context):
        seen = kept
        if context is not None and _is_image(context.shape):
            seen = ops.concatenate([kept, context_at(kept, context)], axis=-1)
        return ops.cast(self.prior(seen), kept.dtype)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        left = ops.reshape(z[:, : self.left_size], (-1, *self.left_shape))
        rest = ops.reshape(z[:, self.left_size :], (-1, *self.chain.latent_shape))
        kept, log_det = self.chain(rest, context, forward=True, log_det=True)
        if self.prior is not None:
            left, of_left = self.transformer.forward(left, self._prior_parameters(kept, context))
            log_det = log_det + sum_event(of_left)
        return ops.concatenate([kept, left], axis=-1), log_det

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        kept, left = x[..., : self.kept], x[..., self.kept :]
        rest, log_det = self.chain(kept, context, noise, log_det=True)
        if self.prior is not None:
            left, of_left = self.transformer.inverse(left, self._prior_parameters(kept, context))
            log_det = log_det + sum_event(of_left)
        z = ops.concatenate(
            [
                ops.reshape(left, (-1, self.left_size)),
                ops.reshape(rest, (-1, math.prod(self.chain.latent_shape))),
            ],
            axis=1,
        )
        return z, log_det

    @property
    def level_sizes(self) -> list[int]:
        """How many numbers of the latent leave at each scale, the finest first."""
        return [self.left_size, *self.chain.level_sizes]

    @property
    def needs_initialization(self) -> bool:
        return self.chain.needs_initialization

    def initialize(self, x: Tensor, context: Tensor | None = None, noise: Tensor | None = None) -> None:
        self.chain.initialize(x[..., : self.kept], context, noise)

    def compute_output_shape(self, x_shape: Shape, context_shape: Shape | None = None) -> Shape:
        return (x_shape[0], math.prod(x_shape[1:]))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "flow_layers": self.chain.get_config()["flow_layers"],
            "learned_prior": self.learned_prior,
            "log_scale_bound": self.log_scale_bound,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["flow_layers"]]
        return cls(**{**config, "flow_layers": layers})

    def named_parts(self) -> dict[str, Any]:
        prior = {} if self.prior is None else {"prior": self.prior}
        return prior | {str(place): layer for place, layer in enumerate(self.chain.flow_layers)}


def _is_image(context_shape):
    return context_shape is not None and len(context_shape) == 4
