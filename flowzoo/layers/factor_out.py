"""Factoring out half of the channels, the multi-scale architecture."""

import math

import keras
from keras import ops

from flowzoo.layers.chain import (
    build_chain,
    checked_layers,
    forward_chain,
    initialize_chain,
    inverse_chain,
)
from flowzoo.layers.flow_layer import FlowLayer, sum_event
from flowzoo.networks.convnet import ZeroConv2D
from flowzoo.transformers import Affine


@keras.saving.register_keras_serializable(package="flowzoo")
class FactorOut(FlowLayer):
    """Half of the channels leaves as latents here; the other half goes on through `flow_layers`.

        x = [kept, left]        z = [flat (left - mean) / exp(s), flat latent of kept]

    With `learned_prior`, mean and s are what a convolution that starts at zero makes of the kept
    half: the half that leaves is Gaussian given what goes on, as in Glow, and log_det gains
    -sum(s), data to latent. Without it mean = s = 0: it is standard Gaussian, as in RealNVP. Nested
    in `flow_layers`, FactorOut layers make one flat latent of all scales, the finest first.

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

    def __init__(self, flow_layers=(), *, learned_prior=False, log_scale_bound=5.0, **kwargs):
        super().__init__(**kwargs)
        self.flow_layers = checked_layers(flow_layers)
        self.learned_prior = bool(learned_prior)
        self.log_scale_bound = log_scale_bound
        self.transformer = Affine(log_scale_bound)

    def build(self, x_shape, context_shape=None):
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
            self.prior.build(kept_shape)
        self.latent_shape = build_chain(self.flow_layers, kept_shape, context_shape)[1:]

    def _prior_parameters(self, kept):
        return ops.cast(self.prior(kept), kept.dtype)

    def forward_and_log_det(self, z, context=None):
        left = ops.reshape(z[:, : self.left_size], (-1, *self.left_shape))
        rest = ops.reshape(z[:, self.left_size :], (-1, *self.latent_shape))
        kept, log_det = forward_chain(self.flow_layers, rest, context)
        if self.prior is not None:
            left, of_left = self.transformer.forward(left, self._prior_parameters(kept))
            log_det = log_det + sum_event(of_left)
        return ops.concatenate([kept, left], axis=-1), log_det

    def inverse_and_log_det(self, x, context=None):
        kept, left = x[..., : self.kept], x[..., self.kept :]
        log_det = self.per_example(0.0, x)
        if self.prior is not None:
            left, of_left = self.transformer.inverse(left, self._prior_parameters(kept))
            log_det = log_det + sum_event(of_left)
        rest, log_dets = inverse_chain(self.flow_layers, kept, context)
        z = ops.concatenate(
            [ops.reshape(left, (-1, self.left_size)), ops.reshape(rest, (-1, math.prod(self.latent_shape)))],
            axis=1,
        )
        return z, sum(log_dets, start=log_det)

    @property
    def level_sizes(self):
        """How many numbers of the latent leave at each scale, the finest first."""
        return [self.left_size, *level_sizes(self.flow_layers, self.latent_shape)]

    @property
    def needs_initialization(self):
        return any(layer.needs_initialization for layer in self.flow_layers)

    def initialize(self, x, context=None):
        initialize_chain(self.flow_layers, x[..., : self.kept], context)

    def reseed(self, seed):
        for layer in self.flow_layers:
            layer.reseed(seed)

    def compute_output_shape(self, x_shape, context_shape=None):
        return (x_shape[0], math.prod(x_shape[1:]))

    def get_config(self):
        return {
            **super().get_config(),
            "flow_layers": [keras.saving.serialize_keras_object(layer) for layer in self.flow_layers],
            "learned_prior": self.learned_prior,
            "log_scale_bound": self.log_scale_bound,
        }

    @classmethod
    def from_config(cls, config):
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["flow_layers"]]
        return cls(**{**config, "flow_layers": layers})

    def named_parts(self):
        prior = {} if self.prior is None else {"prior": self.prior}
        return prior | {str(place): layer for place, layer in enumerate(self.flow_layers)}


def level_sizes(flow_layers, latent_shape):
    """How many numbers of a chain's latent belong to each scale, the finest first."""
    first = flow_layers[0] if flow_layers else None
    return first.level_sizes if isinstance(first, FactorOut) else [math.prod(latent_shape)]
