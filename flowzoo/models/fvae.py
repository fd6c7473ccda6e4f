"""f-VAE: a variational autoencoder of images whose prior is a flow."""

from typing import Any

import keras

from flowzoo import checks
from flowzoo.flow import Flow
from flowzoo.models.arguments import PerLevel, Shape, Whole
from flowzoo.models.glow import glow_layers, glow_transformer, steps_by_level
from flowzoo.models.parts import image_shape
from flowzoo.models.sizes import ABSURD, MOST_LEVELS, autoencoder_size, glow_size, sizes
from flowzoo.networks import ConvDecoder, ConvEncoder, ConvNet
from flowzoo.vae import FlowVAE


@keras.saving.register_keras_serializable(package="flowzoo")
class FVAE(FlowVAE):
    """f-VAE: encoder E, generator G and a flow F on the latent space, for pixels 0 ... 255.

    It is the `flowzoo.FlowVAE` with a posterior of fixed width, the flow as prior and a Gaussian
    likelihood. With u ~ N(0, I) and h = E(x) + sigma1 * u, for d latent and D data dimensions,

        log q(h | x) = -|u|^2 / 2 - d/2 log 2 pi - d log sigma1           h is N(E(x), sigma1^2 I)
        log p(h)     = -|F(h)|^2 / 2 - d/2 log 2 pi + log |det dF(h)/dh|   F(h) is N(0, I)
        log p(x | h) = -|x - G(h)|^2 / (2 sigma2^2) - D log sigma2 - D/2 log 2 pi

    and the loss, -elbo = -log p(x | h) - log p(h) + log q(h | x), is the paper's,

        |x - G(h)|^2 / (2 sigma2^2) + |F(h)|^2 / 2 - |u|^2 / 2 - log |det dF(h)/dh| - d log sigma1
        + D log sigma2 + D/2 log 2 pi,

    in which the two d/2 log 2 pi have cancelled. sigma2 is in pixels, so that the density is that of
    pixels. Samples are x = G(F^-1(w)), w ~ N(0, I). By default F is a Glow of additive couplings on
    latent images, in which half the channels leave at each scale.

    References:
        f-VAEs: Improve VAEs with Conditional Flows (Su and Wu, 2018, arXiv:1809.05861)

    Arguments:
        event_shape: (height, width, channels), height and width divisible by 2^levels.
        latent_channels: C of the latent shape (height / 2^levels, width / 2^levels, C).
        flow: a `flowzoo.Flow` on the latent shape, or None for the Glow that the next four describe.
        flow_levels: scales of the Glow; each but the last halves the latent images.
        steps: steps of each scale, or a list of one number a scale, the finest first.
        flow_channels: width of each coupling's network.
        coupling: "additive", the paper's, or another of `flowzoo.Glow`.
        hidden_channels, levels, blocks, activation: of the `flowzoo.networks.ConvEncoder` and
            `ConvDecoder`.
        posterior_scale: where sigma1 starts.
        likelihood_scale: where sigma2 starts, in pixels.
        learned_scales: whether training changes the two.
        free_bits, warmup_steps: as in `flowzoo.FlowVAE`.

    Example:
        >>> vae = flowzoo.FVAE(
        ...     event_shape=(16, 16, 3), latent_channels=4, steps=1, flow_channels=8, hidden_channels=16
        ... )
        >>> images = vae.sample(2, seed=0)
        >>> vae.latent_shape, tuple(images.shape), tuple(vae.reconstruct(images).shape)
        ((2, 2, 4), (2, 16, 16, 3), (2, 16, 16, 3))
    """

    def __init__(
        self,
        event_shape: Shape = (64, 64, 3),
        *,
        latent_channels: int = 16,
        flow: Flow | None = None,
        flow_levels: int = 2,
        steps: int | PerLevel = 8,
        flow_channels: int = 128,
        coupling: str = "additive",
        hidden_channels: int = 128,
        levels: int = 3,
        blocks: int = 2,
        activation: str = "elu",
        posterior_scale: float = 0.1,
        likelihood_scale: float = 32.0,
        learned_scales: bool = True,
        free_bits: float = 0.0,
        warmup_steps: Whole = 0,
        **kwargs: Any,
    ):
        shape = image_shape(event_shape, levels)
        latent_channels = checks.positive_integer("latent_channels", latent_channels)
        policy = kwargs.get("dtype")
        latent_shape = (shape[0] // 2**levels, shape[1] // 2**levels, latent_channels)
        coder = {
            "hidden_channels": hidden_channels,
            "levels": levels,
            "blocks": blocks,
            "activation": activation,
            "dtype": policy,
        }
        x = keras.Input(shape, name="x")
        hidden = keras.layers.Rescaling(2 / 255, -1.0, dtype="float32")(x)
        hidden = ConvEncoder(**coder, name="convolutions")(hidden)
        mean = keras.layers.Conv2D(latent_channels, 3, padding="same", dtype=policy, name="mean")(hidden)

        z = keras.Input(latent_shape, name="z")
        hidden = ConvDecoder(shape[-1], **coder, name="convolutions")(z)
        pixels = keras.layers.Rescaling(255 / 2, 255 / 2, dtype="float32")(hidden)

        if flow is None:
            if checks.positive_integer("flow_levels", flow_levels) > 1:
                image_shape(latent_shape, flow_levels - 1)
            steps = steps_by_level(steps, flow_levels)
            layers = glow_layers(
                flow_levels,
                steps,
                transformer=glow_transformer(coupling),
                network=lambda: ConvNet(flow_channels, dtype=policy),
                dtype=policy,
            )
            prior = Flow(layers[:-1], event_shape=latent_shape, dtype=policy, name="prior_flow")
        else:
            prior = flow
        super().__init__(
            keras.Model(x, mean, name="encoder"),
            keras.Model(z, pixels, name="decoder"),
            prior_flow=prior,
            likelihood="gaussian",
            event_shape=shape,
            posterior_scale=posterior_scale,
            likelihood_scale=likelihood_scale,
            learned_scales=learned_scales,
            free_bits=free_bits,
            warmup_steps=warmup_steps,
            **kwargs,
        )
        self.latent_channels = latent_channels
        self.flow = flow
        self.flow_levels = flow_levels
        self.steps = steps
        self.flow_channels = flow_channels
        self.coupling = coupling
        self.hidden_channels = hidden_channels
        self.levels = levels
        self.blocks = blocks
        self.activation = activation

    @property
    def is_image_flow(self) -> bool:
        return True

    @classmethod
    def estimated_size(
        cls,
        event_shape: Shape,
        latent_channels: int,
        flow_levels: int,
        steps: int | PerLevel,
        flow_channels: int,
        hidden_channels: int,
        levels: int,
        blocks: int,
        **others: Any,
    ) -> tuple[float, float]:
        """About how many layers with weights, and weights, these arguments make."""
        if len(sizes(event_shape)) != 3 or max(levels, flow_levels) > MOST_LEVELS:
            return ABSURD
        depth, weights = autoencoder_size(hidden_channels, levels, blocks)
        channels = latent_channels * 2**flow_levels
        flow_depth, flow = glow_size(flow_levels, steps, flow_channels, channels, channels)
        return depth + flow_depth, weights + flow + 18 * hidden_channels * latent_channels
