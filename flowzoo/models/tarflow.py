"""TarFlow: autoregressive flows of patches by causal transformers."""

from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from flowzoo import backend, checks, transformers
from flowzoo.compiled import in_batches, program
from flowzoo.flow import Flow, broadcast
from flowzoo.layers import InvertibleLinear, Patches, Rescale, Reshape, Standardize, TransformerAutoregressive
from flowzoo.layers.patches import checked_image
from flowzoo.models.arguments import Network, Shape
from flowzoo.models.parts import image_data_end
from flowzoo.models.sizes import context_size, size_of, sizes, transformer_size
from flowzoo.types import ArrayLike, Seed, Tensor

TRANSFORMERS = ("softplus", "affine", "additive", "mixture_of_logistics", "spline")
METHODS = ("exact", "jacobi")
FINE = 2**16  # parts of (0, 1) that Gaussian noise comes from


@keras.saving.register_keras_serializable(package="flowzoo")
class TarFlow(Flow):
    """Transformer autoregressive flow: of images in patches, or of rows of tokens such as time series.

    Each block transforms every token of a row by what a causal transformer makes of the tokens before it,
    see `flowzoo.layers.TransformerAutoregressive`; the next block goes through the row the other way. Images
    of pixels 0 ... 255 are brought to [-1, 1] and cut into patches. Density is one parallel pass; samples
    come token after token within a block, with keys and values kept.

    References:
        Normalizing Flows are Capable Generative Models (Zhai et al., 2024, arXiv:2412.06329)
        STARFlow (Gu et al., 2025, arXiv:2506.06276), for the start token, the scale and the last norm

    Arguments:
        event_shape: (height, width, channels) of images; (T, D) of rows of T tokens of D numbers, of which
            the first block goes from first to last; or D for D tokens of one number.
        patch_size: height and width of a patch, which divides those of the images.
        blocks: number of blocks. As many as `layers_per_block` did best in the paper.
        layers_per_block: transformer layers of each.
        hidden_size: width of the transformers.
        heads: attention heads, None for heads of 64 numbers.
        classes: number of classes for p(x | y), or None. Labels 0 ... classes - 1 are the context, and -1
            stands for none: `fit(images, labels)`, `sample(4, context=7, guidance=1.0)`.
        label_dropout: share of the labels that training replaces by -1, without which guidance is in vain.
        mix: whether an invertible linear map of each token's numbers stands between blocks. Within a block
            these numbers do not see one another; the map, which costs next to nothing, starts as a rotation.
            It is not in the paper.
        linear: parametrization of these maps, "plu" or "matrix".
        transformer: how a token's numbers change: "softplus", scale and shift, with a scale that grows
            slowly; "affine", with the paper's exponential; "additive", "mixture_of_logistics" or "spline".
        log_scale_bound: soft bound of the transformer's log-scales, in nats.
        components, bins: of "mixture_of_logistics", and of "spline".
        final_norm: whether each transformer ends with an RMS norm.
        bits: 8, or fewer to drop the lowest bits of images first; the density is that of the bits kept.
        dequantization: "uniform", or "variational" as in Flow++, for images.
        noise_scale: standard deviation of Gaussian noise in units of [-1, 1], such as 0.05 or 0.1, in the
            place of dequantisation, or None. It is for models that are to draw samples: they draw noisy
            images, which `denoise` cleans. Their densities are those of noisy images, and compare with no
            others.
        alpha: of a logit that maps the pixels to the reals first, as in `flowzoo.Glow`, or None.
        standardize: whether a flow of rows starts by bringing the data, each place of a token by itself, to
            mean 0 and variance 1.
        remat: whether training keeps each block's input alone, and makes its activations again in the
            backward pass: less memory for more time.
        base: the distribution of the latent, see `flowzoo.Flow`.
        context_shape: shape of one example's context, for p(x | c); not with classes.
        context_network: a Keras layer in front of the context, trained with the flow, or None; not with
            classes, either.

    Example:
        >>> flow = flowzoo.TarFlow((8, 8, 3), patch_size=4, blocks=2, layers_per_block=1, hidden_size=32)
        >>> images = flow.sample(4, temperature=0.9, seed=0)
        >>> tuple(images.shape), tuple(flow.bits_per_dim(images).shape)
        ((4, 8, 8, 3), (4,))
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        patch_size: int = 4,
        blocks: int = 4,
        layers_per_block: int = 4,
        hidden_size: int = 128,
        heads: int | None = None,
        classes: int | None = None,
        label_dropout: float = 0.1,
        mix: bool = True,
        linear: str = "plu",
        transformer: str = "softplus",
        log_scale_bound: float = 4.0,
        components: int = 4,
        bins: int = 8,
        final_norm: bool = True,
        bits: int = 8,
        dequantization: str = "uniform",
        noise_scale: float | None = None,
        alpha: float | None = None,
        standardize: bool = True,
        remat: bool = False,
        base: str = "normal",
        context_shape: Shape | None = None,
        context_network: Network | None = None,
        **kwargs: Any,
    ):
        if classes is not None:
            checks.positive_integer("classes", classes)
            if context_shape or context_network is not None:
                raise ValueError(
                    "Give classes or context_shape (and context_network), not both: with classes, the label "
                    "is the context."
                )
            context_shape = ()
        if not 0 <= label_dropout < 1:
            raise ValueError(f"label_dropout must lie in [0, 1); got {label_dropout!r}.")
        policy = kwargs.get("dtype")
        layers = tarflow_blocks(
            blocks,
            mix=mix,
            linear=linear,
            token_size=token_size(event_shape, patch_size),
            dtype=policy,
            hidden_size=hidden_size,
            layers=layers_per_block,
            heads=heads,
            transformer=tarflow_transformer(transformer, log_scale_bound, components, bins),
            classes=classes,
            final_norm=final_norm,
            remat=remat,
        )
        layers += token_data_end(
            event_shape,
            patch_size,
            bits=bits,
            dequantization=dequantization,
            noise_scale=noise_scale,
            alpha=alpha,
            standardize=standardize,
            dtype=policy,
        )
        super().__init__(
            layers,
            event_shape=event_shape,
            context_shape=context_shape,
            context_network=context_network,
            base=base,
            standardize_context=standardize and classes is None,
            **kwargs,
        )
        self.patch_size = patch_size
        self.blocks = blocks
        self.layers_per_block = layers_per_block
        self.hidden_size = hidden_size
        self.heads = heads
        self.classes = classes
        self.label_dropout = label_dropout
        self.mix = bool(mix)
        self.linear = linear
        self.transformer = transformer
        self.log_scale_bound = log_scale_bound
        self.components = components
        self.bins = bins
        self.final_norm = bool(final_norm)
        self.bits = bits
        self.dequantization = dequantization
        self.noise_scale = noise_scale
        self.alpha = alpha
        self.standardize = bool(standardize)
        self.remat = bool(remat)
        self.unlabelled = classes is not None
        if noise_scale is not None:
            self.noise_parts = FINE

    def call(self, inputs: ArrayLike, training: bool = False) -> Tensor:
        """log_prob of a batch, as `flowzoo.Flow.call` gives it; in training some labels are dropped."""
        if training and self.classes and self.label_dropout:
            x, labels, _ = self._intake.parts(inputs)
            labels = ops.cast(labels, self.variable_dtype)
            uniform = backend.uniform(self._key(None), ops.shape(labels), self.variable_dtype)
            inputs = x, ops.where(uniform < self.label_dropout, -1.0, labels)
        return super().call(inputs, training=training)

    def sample(
        self,
        n: int,
        context: ArrayLike | None = None,
        *,
        temperature: float | Sequence[float] = 1.0,
        seed: Seed = None,
        batch_size: int | None = None,
        discrete: bool = True,
        guidance: float = 0.0,
        method: str = "exact",
        tolerance: float = 1e-3,
    ) -> Tensor:
        """Draws `n` examples, as `flowzoo.Flow.sample` does, (n, *event_shape).

        Arguments:
            n, context, temperature, seed, batch_size, discrete: those of `flowzoo.Flow.sample`.
            guidance: w, of a flow with classes: the parameters of every scale and shift are p + w (p - q), p
                being those of the class and q those without one. Over 0, samples show their class more
                clearly, and differ less. It takes twice the arithmetic.
            method: "exact", token after token; or "jacobi", parallel fixed-point iterations over segments of
                16 tokens. These take more arithmetic in fewer steps: they pay on devices that a single token
                does not keep busy, such as GPUs, and for few samples.
            tolerance: of "jacobi": how much the last iteration may have changed a number, in the units that
                the blocks see, in which pixels lie in [-1, 1]. At 0 all iterations run, which is exact.
        """
        checks.choice("method", method, METHODS)
        if guidance and not self.classes:
            raise ValueError(f"guidance is for flows with classes; {self.name} has none. Leave it at 0.")
        if not guidance and method == "exact":
            return super().sample(
                n, context, temperature=temperature, seed=seed, batch_size=batch_size, discrete=discrete
            )
        guidance = np.asarray(guidance, self.variable_dtype) if guidance else None
        tolerance = np.asarray(tolerance, self.variable_dtype) if method == "jacobi" else None

        def decode(z, context):
            x = self._solved.run((z, context), (guidance, tolerance))
            return self._as_data(x) if discrete else x

        return self._samples(n, context, temperature, seed, batch_size, decode)

    @program
    def _solved(self, z, context=None, guidance=None, tolerance=None):
        """Real data of latents, with guidance and by iteration where these are given."""
        x, context = ops.reshape(z, (-1, *self.latent_shape)), self._seen_context(context)
        for layer in self.flow_layers:
            if not isinstance(layer, TransformerAutoregressive):
                x = layer(x, context, forward=True)
            elif tolerance is None:
                x, _ = layer.solve(x, context, guidance=guidance)
            else:
                x = layer.solve_by_iteration(x, context, guidance=guidance, tolerance=tolerance)
        return x

    def denoise(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        *,
        batch_size: int | None = None,
        discrete: bool = True,
    ) -> Tensor:
        """Noisy images moved to the mean of the clean ones that they may be of: x + s^2 grad log p(x).

        s is `noise_scale` in pixels, and p the density of noisy images that the flow was trained on.

        References:
            Normalizing Flows are Capable Generative Models (Zhai et al., 2024, arXiv:2412.06329), section 2.5

        Arguments:
            x: (batch, *event_shape), such as `sample(16, discrete=False)`, whose pixels need not be whole,
                nor within 0 ... 255.
            context: (batch, *context_shape), for a conditional flow.
            batch_size: how many examples are computed at a time, None for all at once.
            discrete: False for real images, as in `decode`.

        Returns: (batch, *event_shape), uint8 for 8-bit images.
        Raises: ValueError for a flow without `noise_scale`.

        Example:
            >>> flow = flowzoo.TarFlow((4, 4, 1), blocks=1, layers_per_block=1, noise_scale=0.1)
            >>> tuple(flow.denoise(flow.sample(3, seed=0, discrete=False)).shape)
            (3, 4, 4, 1)
        """
        if self.noise_scale is None:
            raise ValueError(
                f"denoise is for flows of noisy images; {self.name} was built without noise_scale. Build it "
                "with noise_scale=0.1, say, and train it."
            )
        x = checks.batch("x", x, self.event_shape, self.variable_dtype)
        examples = broadcast("x", x, self._context(context))

        def denoise(start, x, context):
            x = self._cleaned.run((x, context))
            return self._as_data(x) if discrete else x

        return in_batches(denoise, examples, batch_size)

    @program
    def _cleaned(self, x, context=None):
        def log_prob(x):
            return ops.sum(self._log_density(x, context))

        pixels = self.flow_layers[-1]
        return x + (pixels.step * pixels.scale) ** 2 * backend.gradient(log_prob, x)

    def _encoded_noise(self, key, start, x):
        """None for noisy images, so that `decode` gives back what `encode` takes."""
        return None if self.noise_scale is not None else super()._encoded_noise(key, start, x)

    @classmethod
    def mnist(cls, **kwargs: Any) -> Self:
        """The paper's small flow of MNIST, for samples: patches of 4, 4 blocks of 4 layers of 128."""
        sampling = {"event_shape": (28, 28, 1), "classes": 10, "noise_scale": 0.1}
        return cls(**{**sampling, **kwargs})

    @classmethod
    def imagenet64(cls, **kwargs: Any) -> Self:
        """The paper's flow of 64x64 ImageNet for likelihood: patches of 2, 8 blocks of 8 layers of 768."""
        size = {"patch_size": 2, "blocks": 8, "layers_per_block": 8, "hidden_size": 768}
        return cls(**{"event_shape": (64, 64, 3), **size, **kwargs})

    @classmethod
    def imagenet128(cls, **kwargs: Any) -> Self:
        """The paper's flow of 128x128 ImageNet for samples: patches of 4, 8 blocks of 8 layers of 1024."""
        size = {"patch_size": 4, "blocks": 8, "layers_per_block": 8, "hidden_size": 1024}
        sampling = {"classes": 1000, "noise_scale": 0.15}
        return cls(**{"event_shape": (128, 128, 3), **size, **sampling, **kwargs})

    @classmethod
    def estimated_size(
        cls,
        event_shape: Shape,
        patch_size: int,
        blocks: int,
        layers_per_block: int,
        hidden_size: int,
        classes: int | None,
        context_shape: Shape | None,
        **others: Any,
    ) -> tuple[float, float]:
        """About how many layers with weights, and weights, these arguments make."""
        shape = sizes(event_shape)
        tokens, numbers = (*shape, 1, 1)[:2]
        if len(shape) == 3:
            numbers = shape[-1] * patch_size**2
            tokens = size_of(shape) // numbers
        depth, weights = transformer_size(blocks * layers_per_block, hidden_size)
        seen = tokens + 3 * numbers + (classes or 0) + context_size(context_shape)
        return depth, weights + blocks * (hidden_size * seen + numbers**2)


def tarflow_transformer(name, log_scale_bound=4.0, components=4, bins=8):
    """The transformer of a TarFlow's tokens by its name."""
    checks.choice("transformer", name, TRANSFORMERS)
    return transformers.get(
        name, log_scale_bound=log_scale_bound, components=components, bins=bins, bound=5.0
    )


def token_size(event_shape, patch_size):
    """How many numbers a token of such data has."""
    shape = checks.shape("event_shape", event_shape)
    if len(shape) == 3:
        return checked_image(shape, patch_size)[-1] * patch_size**2
    if len(shape) > 3:
        raise ValueError(
            f"event_shape must be (height, width, channels), (T, D) or an integer; got {shape}. Flatten "
            "other data to rows of tokens, (T, D)."
        )
    return (*shape, 1)[1]


def tarflow_blocks(blocks, *, mix, linear, token_size, dtype, **block):
    """The blocks on rows of tokens, latent to data, that at the data end from the first token to the last."""
    layers = []
    for place in reversed(range(checks.positive_integer("blocks", blocks))):
        layers.append(TransformerAutoregressive(reverse=place % 2 == 1, dtype=dtype, **block))
        if mix and place > 0 and token_size > 1:
            layers.append(InvertibleLinear(parametrization=linear, dtype=dtype))
    return layers


def token_data_end(event_shape, patch_size, *, bits, dequantization, noise_scale, alpha, standardize, dtype):
    """The layers between rows of tokens and the data."""
    shape = checks.shape("event_shape", event_shape)
    if len(shape) < 3:
        if noise_scale is not None:
            raise ValueError(f"noise_scale is for images; event_shape {shape} holds none.")
        rows = [Reshape((shape[0], 1))] if len(shape) == 1 else []
        return rows + ([Standardize(dtype=dtype)] if standardize else [])
    if noise_scale is not None:
        noise_scale = checks.positive_number("noise_scale", noise_scale) / 2  # of [-1, 1]
        if dequantization != "uniform":
            raise ValueError("noise_scale takes the place of dequantization; leave that at 'uniform'.")
        if alpha is not None:
            raise ValueError("noise_scale is the noise of pixels in [-1, 1]; it takes no alpha.")
    unit = 0.5 if alpha is None else 4.0  # logits of dark and bright pixels are far from 0
    return [
        Patches(patch_size),
        Rescale(unit),
        *image_data_end(
            alpha=alpha,
            centered=alpha is None,
            bits=bits,
            dequantization=dequantization,
            noise_scale=noise_scale,
            dtype=dtype,
        ),
    ]
