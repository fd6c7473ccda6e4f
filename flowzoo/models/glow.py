"""Glow: multi-scale flows of images with invertible 1x1 convolutions."""

from typing import Any, Self

import keras

from flowzoo import checks, transformers
from flowzoo.flow import Flow
from flowzoo.layers import (
    ActNorm,
    ClassPrior,
    FactorOut,
    InvertibleLinear,
    Squeeze,
)
from flowzoo.layers.coupling import coupling_layer
from flowzoo.models.arguments import Network, PerLevel, Shape
from flowzoo.models.parts import image_data_end, image_shape
from flowzoo.models.sizes import ABSURD, MOST_LEVELS, context_size, glow_size, size_of, sizes
from flowzoo.networks import ConvNet

COUPLINGS = ("affine", "additive", "spline", "mixture_of_logistics")


@keras.saving.register_keras_serializable(package="flowzoo")
class Glow(Flow):
    """Generative flow with invertible 1x1 convolutions, for images of pixels 0 ... 255.

    Each level squeezes 2x2 pixels into channels, runs `steps` steps of activation normalisation,
    1x1 convolution and coupling, data to latent, and lets half the channels leave as latents; the
    last level keeps all. log p(x) = log N(z; 0, I) + sum of all log-determinants, one pass each way.

    References:
        Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018, arXiv:1807.03039)

    Arguments:
        event_shape: (height, width, channels), height and width divisible by 2^levels.
        levels: number of scales, L in the paper.
        steps: steps of flow in each level, K in the paper; or a list of one number a level, the
            finest first. Steps at the coarse levels take little arithmetic, and shape what is large
            in an image.
        hidden_channels: width of each coupling's convolutional network; 512 in the paper.
        coupling: "affine" or "additive"; "spline", as in neural spline flows; or "mixture_of_logistics", as
            in Flow++ (Ho et al., 2019, arXiv:1902.00275).
        bins: number of bins of splines on [-3, 3].
        components: number of logistics of mixtures.
        learned_prior: whether what goes on at a scale sets mean and scale of the latents that
            leave there, and the last level's latents have a learned mean and scale by channel.
        classes: number of classes for p(x | y), or None. Labels 0 ... classes - 1 are the context:
            `fit(images, labels)`, `sample(4, context=7)`; each class has its own prior at the top.
        linear: parametrization of the 1x1 convolutions, "plu" or "matrix".
        linear_factor: how fast they move beside the other weights, the factor of
            `flowzoo.layers.InvertibleLinear`.
        bits: 8, or fewer to drop the lowest bits first; the density is that of the bits kept.
        dequantization: "uniform", or "variational" as in Flow++.
        alpha: of a logit that maps the pixels to the reals first, as in RealNVP, or None. It suits
            images that are black or white in large parts, such as MNIST.
        log_scale_bound: soft bound of each affine coupling's log-scales, in nats. A larger one, such
            as 2, lets single strange images explode early in the training of many steps.
        remat: whether training keeps each coupling's input alone, and makes the activations of its
            network again in the backward pass: less memory for more time.
        base: the distribution of the latent, see `flowzoo.Flow`.
        context_shape: shape of one example's context, for p(x | c); not with classes. One that is an image,
            (H, W, C), is seen in the height and width of every scale, by couplings and learned priors.
        context_network: a Keras layer in front of the context, trained with the flow, or None; not with
            classes, either.

    Example:
        >>> flow = flowzoo.Glow(event_shape=(8, 8, 3), levels=2, steps=2, hidden_channels=16)
        >>> images = flow.sample(4, temperature=0.7, seed=0)
        >>> tuple(images.shape), tuple(flow.bits_per_dim(images).shape)
        ((4, 8, 8, 3), (4,))
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        levels: int = 3,
        steps: int | PerLevel = 32,
        hidden_channels: int = 512,
        coupling: str = "affine",
        bins: int = 8,
        components: int = 4,
        learned_prior: bool = True,
        classes: int | None = None,
        linear: str = "plu",
        linear_factor: float = 0.1,
        bits: int = 8,
        dequantization: str = "uniform",
        alpha: float | None = None,
        log_scale_bound: float = 1.0,
        remat: bool = False,
        base: str = "normal",
        context_shape: Shape | None = None,
        context_network: Network | None = None,
        **kwargs: Any,
    ):
        image_shape(event_shape, levels)
        steps = steps_by_level(steps, levels)
        if classes is not None:
            checks.positive_integer("classes", classes)
            if context_shape or context_network is not None:
                raise ValueError(
                    "Give classes or context_shape (and context_network), not both: with classes, the label "
                    "is the context."
                )
            context_shape = ()
        policy = kwargs.get("dtype")
        layers = glow_layers(
            levels,
            steps,
            transformer=glow_transformer(coupling, bins, components, log_scale_bound),
            network=lambda: ConvNet(hidden_channels, dtype=policy),
            learned_prior=learned_prior,
            classes=classes,
            linear=linear,
            linear_factor=linear_factor,
            remat=remat,
            dtype=policy,
        )
        layers += image_data_end(
            alpha=alpha, centered=alpha is None, bits=bits, dequantization=dequantization, dtype=policy
        )
        super().__init__(
            layers,
            event_shape=event_shape,
            context_shape=context_shape,
            context_network=context_network,
            base=base,
            standardize_context=classes is None,
            **kwargs,
        )
        self.levels = levels
        self.steps = steps
        self.hidden_channels = hidden_channels
        self.coupling = coupling
        self.bins = bins
        self.components = components
        self.learned_prior = bool(learned_prior)
        self.classes = classes
        self.linear = linear
        self.linear_factor = linear_factor
        self.bits = bits
        self.dequantization = dequantization
        self.alpha = alpha
        self.log_scale_bound = log_scale_bound
        self.remat = bool(remat)

    @classmethod
    def cifar10(cls, **kwargs: Any) -> Self:
        """The paper's flow of CIFAR-10: 3 levels of 32 steps, 512 channels; `kwargs` override."""
        return cls(**{"event_shape": (32, 32, 3), "levels": 3, "steps": 32, **kwargs})

    @classmethod
    def imagenet32(cls, **kwargs: Any) -> Self:
        """The paper's flow of 32x32 ImageNet: 3 levels of 48 steps, 512 channels."""
        return cls(**{"event_shape": (32, 32, 3), "levels": 3, "steps": 48, **kwargs})

    @classmethod
    def imagenet64(cls, **kwargs: Any) -> Self:
        """The paper's flow of 64x64 ImageNet: 4 levels of 48 steps, 512 channels."""
        return cls(**{"event_shape": (64, 64, 3), "levels": 4, "steps": 48, **kwargs})

    @classmethod
    def celeba_hq(cls, **kwargs: Any) -> Self:
        """The paper's flow of 256x256 CelebA-HQ at 5 bits: 6 levels of 32 steps, 512 channels."""
        return cls(**{"event_shape": (256, 256, 3), "levels": 6, "steps": 32, "bits": 5, **kwargs})

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """As every Keras model's; a config without `linear_factor`, from before there was one, means 1."""
        return super().from_config({"linear_factor": 1.0, **config})

    @classmethod
    def estimated_size(
        cls,
        event_shape: Shape,
        levels: int,
        steps: int | PerLevel,
        hidden_channels: int,
        classes: int | None,
        context_shape: Shape | None,
        **others: Any,
    ) -> tuple[float, float]:
        """About how many layers with weights, and weights, these arguments make."""
        if len(sizes(event_shape)) != 3 or levels > MOST_LEVELS:
            return ABSURD
        channels = sizes(event_shape)[-1] * 2 ** (levels + 1)
        inputs = 2 * channels + context_size(context_shape)
        depth, weights = glow_size(levels, steps, hidden_channels, inputs, channels)
        return depth, weights + size_of(event_shape) * (classes or 0)


def steps_by_level(steps, levels):
    """`steps` once checked: one integer, or a tuple of one a level."""
    if not isinstance(steps, (tuple, list)):
        return checks.positive_integer("steps", steps)
    if len(steps) != levels:
        raise ValueError(f"steps must be an integer or {levels} of them, one a level; got {steps!r}.")
    return tuple(checks.positive_integer("each entry of steps", number) for number in steps)


def glow_transformer(coupling, bins=8, components=4, log_scale_bound=1.0):
    """The transformer of a Glow's couplings by its name."""
    checks.choice("coupling", coupling, COUPLINGS)
    return transformers.get(
        coupling, bins=bins, bound=3.0, components=components, log_scale_bound=log_scale_bound
    )


def glow_layers(
    levels,
    steps,
    *,
    transformer,
    network,
    learned_prior=True,
    classes=None,
    linear="plu",
    linear_factor=1.0,
    remat=False,
    dtype=None,
):
    """The layers of a Glow on real images, latent to data, the last one the squeeze of the first level.

    `transformer` is that of all couplings, and `network()` makes the conditioner of each.
    """

    def one_step():
        return [
            coupling_layer(
                network(), transformer, head="conv", use_context=classes is None, remat=remat, dtype=dtype
            ),
            InvertibleLinear(parametrization=linear, factor=linear_factor, dtype=dtype),
            ActNorm(log_scale_factor=3.0, dtype=dtype),
        ]

    if isinstance(steps, int):
        steps = [steps] * levels
    layers = []
    if classes is not None:
        layers = [ClassPrior(classes, dtype=dtype)]
    elif learned_prior:
        layers = [ActNorm(log_scale_factor=3.0, dtype=dtype)]
    for level in reversed(range(levels)):
        if level < levels - 1:
            layers = [FactorOut(layers, learned_prior=learned_prior, dtype=dtype)]
        layers += [layer for _ in range(steps[level]) for layer in one_step()]
        layers.append(Squeeze())
    return layers
