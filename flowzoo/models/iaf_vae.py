"""IAF-VAE: a variational autoencoder whose posterior is an inverse autoregressive flow."""

from typing import Any

import keras

from flowzoo import checks
from flowzoo.models.arguments import Shape, Whole
from flowzoo.models.iaf import IAF
from flowzoo.models.parts import image_shape
from flowzoo.models.sizes import ABSURD, MOST_LEVELS, autoencoder_size, dense_size, size_of, sizes
from flowzoo.networks import ConvDecoder, ConvEncoder
from flowzoo.vae import FlowVAE

POSTERIORS = ("iaf", "diagonal")


@keras.saving.register_keras_serializable(package="flowzoo")
class IAFVAE(FlowVAE):
    """A convolutional variational autoencoder of images with an IAF posterior.

    The encoder gives mean, scale and a context h. From z = mean + scale * e, e ~ N(0, I), the flow
    goes on in steps, in each the order of the dimensions reversed,

        z <- sigmoid(s) * z + (1 - sigmoid(s)) * m,  (m, s) = MADE(z; h),
        log q(z | x) = log N(e; 0, I) - sum(log scale) - sum over the steps of sum(log sigmoid(s)),

    so that a draw and its density take one pass. p(z) = N(0, I), and p(x | z) are independent 0s
    and 1s.

    References:
        Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016,
        arXiv:1606.04934)

    Arguments:
        event_shape: (height, width, channels) of images with values in [0, 1]: 0s and 1s, such as
            `flowzoo.datasets.binarize` draws; height and width divisible by 2^levels.
        latent_size: dimensions of z; 32 in the paper for MNIST.
        context_size: numbers in the context h.
        posterior: "iaf", or "diagonal" for the ordinary VAE of the same networks.
        autoregressive_layers: steps of the flow.
        hidden_units: widths of each step's MADE; (1920, 1920) in the paper for MNIST.
        forget_bias: of the gates sigmoid(s); 1 or 2 in the paper.
        hidden_channels, levels, blocks: of the `flowzoo.networks.ConvEncoder` and `ConvDecoder`.
        dense_units: width of the dense layer between convolutions and z, on both sides.
        activation: name of a Keras activation, of all networks.
        free_bits, warmup_steps: as in `flowzoo.FlowVAE`.

    Example:
        >>> vae = flowzoo.IAFVAE(
        ...     event_shape=(8, 8, 1), latent_size=4, hidden_units=(16,), hidden_channels=8, dense_units=16
        ... )
        >>> tuple(vae.elbo(np.zeros((3, 8, 8, 1)), seed=0).shape), tuple(vae.sample(2, seed=0).shape)
        ((3,), (2, 8, 8, 1))
    """

    def __init__(
        self,
        event_shape: Shape = (28, 28, 1),
        *,
        latent_size: int = 32,
        context_size: int = 64,
        posterior: str = "iaf",
        autoregressive_layers: int = 4,
        hidden_units: Shape = (320, 320),
        forget_bias: float = 1.0,
        hidden_channels: int = 64,
        levels: int = 2,
        blocks: int = 2,
        dense_units: int = 256,
        activation: str = "elu",
        free_bits: float = 0.0,
        warmup_steps: Whole = 0,
        **kwargs: Any,
    ):
        shape = image_shape(event_shape, levels)
        checks.choice("posterior", posterior, POSTERIORS)
        latent_size = checks.positive_integer("latent_size", latent_size)
        context_size = checks.positive_integer("context_size", context_size)
        policy = kwargs.get("dtype")
        coder = {
            "hidden_channels": hidden_channels,
            "levels": levels,
            "blocks": blocks,
            "activation": activation,
            "dtype": policy,
        }

        def dense(units, name, activation=None):
            return keras.layers.Dense(units, activation, dtype=policy, name=name)

        x = keras.Input(shape, name="x")
        hidden = keras.layers.Flatten(dtype=policy)(ConvEncoder(**coder, name="convolutions")(x))
        hidden = dense(dense_units, "hidden", activation)(hidden)
        outputs = [dense(latent_size, "mean")(hidden), dense(latent_size, "log_scale")(hidden)]
        flow = None
        if posterior == "iaf":
            outputs.append(dense(context_size, "context", activation)(hidden))
            flow = IAF(
                latent_size,
                autoregressive_layers=autoregressive_layers,
                hidden_units=hidden_units,
                activation=activation,
                transformer="gated",
                forget_bias=forget_bias,
                standardize=False,
                context_shape=context_size,
                dtype=policy,
                name="posterior_flow",
            )

        small = (shape[0] // 2**levels, shape[1] // 2**levels, hidden_channels)
        z = keras.Input((latent_size,), name="z")
        hidden = dense(dense_units, "hidden", activation)(z)
        hidden = dense(small[0] * small[1] * small[2], "small_image", activation)(hidden)
        hidden = keras.layers.Reshape(small, dtype=policy)(hidden)
        logits = ConvDecoder(shape[-1], **coder, name="convolutions")(hidden)

        super().__init__(
            keras.Model(x, outputs, name="encoder"),
            keras.Model(z, logits, name="decoder"),
            posterior_flow=flow,
            likelihood="bernoulli",
            event_shape=shape,
            free_bits=free_bits,
            warmup_steps=warmup_steps,
            **kwargs,
        )
        self.latent_size = latent_size
        self.context_size = context_size
        self.posterior = posterior
        self.autoregressive_layers = autoregressive_layers
        self.hidden_units = checks.hidden_units(hidden_units)
        self.forget_bias = forget_bias
        self.hidden_channels = hidden_channels
        self.levels = levels
        self.blocks = blocks
        self.dense_units = dense_units
        self.activation = activation

    @classmethod
    def estimated_size(
        cls,
        event_shape: Shape,
        latent_size: int,
        context_size: int,
        posterior: str,
        autoregressive_layers: int,
        hidden_units: Shape,
        hidden_channels: int,
        levels: int,
        blocks: int,
        dense_units: int,
        **others: Any,
    ) -> tuple[float, float]:
        """About how many layers with weights, and weights, these arguments make."""
        shape = sizes(event_shape)
        if len(shape) != 3 or levels > MOST_LEVELS:
            return ABSURD
        depth, weights = autoencoder_size(hidden_channels, levels, blocks)
        cells = size_of(shape[:2]) // 4**levels
        weights += 2 * cells * hidden_channels * dense_units + dense_units * (3 * latent_size + context_size)
        steps = autoregressive_layers if posterior == "iaf" else 0
        flow_depth, flow = dense_size(steps, hidden_units, latent_size + context_size, 2 * latent_size)
        return depth + flow_depth, weights + flow
