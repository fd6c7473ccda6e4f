"""RealNVP: affine coupling layers, on vectors and, at several scales, on images."""

from typing import Any, Self

import keras

from flowzoo import checks, transformers
from flowzoo.flow import Flow
from flowzoo.layers import CheckerboardCoupling, FactorOut, Permutation, Squeeze
from flowzoo.layers.coupling import coupling_layer
from flowzoo.models.arguments import Network, Shape
from flowzoo.models.parts import (
    affine_for,
    flat_data_end,
    for_form,
    image_data_end,
    image_shape,
    normalization_layer,
)
from flowzoo.models.sizes import ABSURD, MOST_LEVELS, context_size, dense_size, size_of, sizes
from flowzoo.networks import MLP, ResNet

COUPLINGS = ("affine", "latent_affine", "spline", "mixture_of_logistics")
FOR_VECTORS = {"couplings": 8, "hidden_units": (64, 64), "initializer": "uniform"}
FOR_IMAGES = {
    "levels": 2,
    "hidden_channels": 32,
    "blocks": 4,
    "network_normalization": "batch",
    "bits": 8,
    "dequantization": "uniform",
}


@keras.saving.register_keras_serializable(package="flowzoo")
class RealNVP(Flow):
    """Real-valued non-volume preserving flow: on vectors, or multi-scale on images.

    Affine couplings in turn scale and shift one part of the dimensions given the other:
    log p(x) = log p_base(z) + sum of all log-scales. Density and sampling each take one pass.

    On vectors the parts are halves. On images (H, W, C) of pixels 0 ... 255, dequantised and
    mapped to the reals by a logit, each level has three couplings with checkerboard masks, a
    squeeze and three with channel-wise masks, with twice the hidden channels; then half the
    channels leave as latents. The last level is four checkerboard couplings.

    References:
        Density estimation using Real NVP (Dinh et al., 2016, arXiv:1605.08803)

    Arguments:
        event_shape: shape of one example, of 2 dimensions at least; (H, W, C) for images, with
            height and width divisible by 2^(levels - 1).
        couplings: number of affine coupling layers; for vectors, 8 by default.
        hidden_units: widths of each coupling's hidden layers; for vectors, (64, 64) by default.
        levels: number of scales; for images, 2 by default.
        hidden_channels: width of the first level's `flowzoo.networks.ResNet`, doubled at every
            squeeze; for images, 32 by default.
        blocks: residual blocks of each such network; for images, 4 by default.
        network_normalization: within each such network, "batch" or "affine"; for images, "batch" by
            default, as in the paper. With batches of 16, "affine" trained better.
        bits: 8, or fewer to drop the lowest bits first; for images.
        dequantization: "uniform" or "variational"; for images.
        activation: name of a Keras activation.
        normalization: "actnorm", started from the first batch; "batch", the paper's batch
            normalisation; or None. One such layer follows each coupling, on its data side.
        coupling: "affine", the paper's x = z exp(s) + shift, the default for images; "latent_affine",
            z = x exp(s) + shift, which trains faster on vectors, the default for these; "spline", as in
            neural spline flows (Durkan et al., 2019, arXiv:1906.04032); or "mixture_of_logistics", as in
            Flow++ (Ho et al., 2019, arXiv:1902.00275).
        bins: number of bins of splines on [-5, 5].
        components: number of logistics of mixtures.
        log_scale_bound: soft bound of each coupling's log-scales, in nats. A larger one, such as 5, can
            lose the inverse to the rounding of float32; see `round_trip_error`.
        initializer: of these networks' weights, "uniform" or "he_normal", which starts at the identity; for
            vectors, "uniform" by default.
        standardize: whether a flow of vectors starts by bringing the data, and every flow its context, to
            mean 0 and variance 1, so that their units do not matter; see `flowzoo.layers.Standardize`.
        alpha: of the logit, for images.
        base: the distribution of the latent, see `flowzoo.Flow`.
        remat: whether training keeps each coupling's input alone, and makes the activations of its
            network again in the backward pass: less memory for more time.
        context_shape: shape of one example's context, for p(x | c). For images (H, W, C), a context that is
            an image is seen in the height and width of every scale.
        context_network: a Keras layer in front of the context, trained with the flow, or None.

    Example:
        >>> flow = flowzoo.RealNVP(event_shape=2, couplings=4, context_shape=10)
        >>> labels = keras.ops.one_hot([0, 1, 2], 10)
        >>> tuple(flow.sample(3, context=labels, seed=0).shape)
        (3, 2)
        >>> flow = flowzoo.RealNVP(event_shape=(8, 8, 3), levels=2, hidden_channels=8, blocks=1)
        >>> tuple(flow.sample(3, seed=0).shape)
        (3, 8, 8, 3)
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        couplings: int | None = None,
        hidden_units: Shape | None = None,
        levels: int | None = None,
        hidden_channels: int | None = None,
        blocks: int | None = None,
        network_normalization: str | None = None,
        bits: int | None = None,
        dequantization: str | None = None,
        activation: str = "relu",
        normalization: str | None = "actnorm",
        coupling: str | None = None,
        bins: int = 8,
        components: int = 4,
        log_scale_bound: float = 2.0,
        alpha: float | None = 0.05,
        base: str = "normal",
        remat: bool = False,
        initializer: str | None = None,
        standardize: bool = True,
        context_shape: Shape | None = None,
        context_network: Network | None = None,
        **kwargs: Any,
    ):
        shape = checks.shape("event_shape", event_shape)
        policy = kwargs.get("dtype")
        sizes = for_form(
            shape,
            FOR_VECTORS,
            FOR_IMAGES,
            couplings=couplings,
            hidden_units=hidden_units,
            initializer=initializer,
            levels=levels,
            hidden_channels=hidden_channels,
            blocks=blocks,
            network_normalization=network_normalization,
            bits=bits,
            dequantization=dequantization,
        )

        coupling = checks.choice("coupling", affine_for(shape, coupling), COUPLINGS)
        transformer = transformers.get(
            coupling,
            bins=bins,
            components=components,
            log_scale_bound=log_scale_bound,
        )

        def step(i, kind, network, head_initializer="zeros"):
            layer = kind(
                network,
                transformer,
                swap=i % 2 == 1,
                head_initializer=head_initializer,
                remat=remat,
                dtype=policy,
            )
            return [layer, *normalization_layer(normalization, policy)]

        def vector_layers(couplings, hidden_units, initializer):
            layers, head = [], "uniform" if initializer == "uniform" else "zeros"
            for i in range(checks.positive_integer("couplings", couplings)):
                network = MLP(hidden_units, activation=activation, initializer=initializer, dtype=policy)
                layers += step(i, coupling_layer, network, head)
            return [
                *layers,
                Permutation("even_odd", dtype=policy),
                *flat_data_end(shape, alpha, standardize=standardize, dtype=policy),
            ]

        def image_layers(levels, hidden_channels, blocks, network_normalization, bits, dequantization):
            if checks.positive_integer("levels", levels) > 1:
                image_shape(shape, levels - 1)

            def several(count, kind, channels):
                layers = []
                for i in range(count):
                    network = ResNet(
                        channels,
                        blocks=blocks,
                        activation=activation,
                        normalization=network_normalization,
                        dtype=policy,
                    )
                    layers += step(i, kind, network)
                return layers

            layers = several(4, CheckerboardCoupling, hidden_channels * 2 ** (levels - 1))
            for level in reversed(range(levels - 1)):
                channels = hidden_channels * 2**level
                layers = [
                    FactorOut(layers, dtype=policy),
                    *several(3, coupling_layer, 2 * channels),
                    Squeeze(),
                    *several(3, CheckerboardCoupling, channels),
                ]
            end = image_data_end(alpha=alpha, bits=bits, dequantization=dequantization, dtype=policy)
            return layers + end

        make = image_layers if len(shape) == 3 else vector_layers
        layers = make(**{name: value for name, value in sizes.items() if value is not None})
        super().__init__(
            layers,
            event_shape=shape,
            context_shape=context_shape,
            context_network=context_network,
            standardize_context=standardize,
            base=base,
            **kwargs,
        )
        for name, value in sizes.items():
            setattr(self, name, value)
        self.activation = activation
        self.standardize = bool(standardize)
        self.normalization = normalization
        self.coupling = coupling
        self.bins = bins
        self.components = components
        self.log_scale_bound = log_scale_bound
        self.alpha = alpha
        self.remat = bool(remat)

    @classmethod
    def cifar10(cls, **kwargs: Any) -> Self:
        """The paper's flow of CIFAR-10: 2 levels, 8 residual blocks of 64 channels; `kwargs` override."""
        return cls(
            **{
                "event_shape": (32, 32, 3),
                "levels": 2,
                "blocks": 8,
                "hidden_channels": 64,
                "normalization": "batch",
                **kwargs,
            }
        )

    @classmethod
    def celeba64(cls, **kwargs: Any) -> Self:
        """The paper's flow of CelebA: down to 4x4 in 5 levels, 2 residual blocks of 32 channels."""
        return cls(
            **{
                "event_shape": (64, 64, 3),
                "levels": 5,
                "blocks": 2,
                "hidden_channels": 32,
                "normalization": "batch",
                **kwargs,
            }
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """As every Keras model's; a config without `coupling`, older than "latent_affine", means "affine"."""
        return super().from_config({"coupling": "affine", **config})

    @classmethod
    def estimated_size(
        cls,
        event_shape: Shape,
        couplings: int | None,
        hidden_units: Shape | None,
        levels: int | None,
        hidden_channels: int | None,
        blocks: int | None,
        context_shape: Shape | None,
        **others: Any,
    ) -> tuple[float, float]:
        """About how many layers with weights, and weights, these arguments make."""
        size, context = size_of(event_shape), size_of(context_shape)
        if len(sizes(event_shape)) != 3:
            couplings = couplings or FOR_VECTORS["couplings"]
            hidden_units = hidden_units or FOR_VECTORS["hidden_units"]
            return dense_size(couplings, hidden_units, size + context, 2 * size)
        levels, blocks = levels or FOR_IMAGES["levels"], blocks or FOR_IMAGES["blocks"]
        if levels > MOST_LEVELS:
            return ABSURD
        channels = sizes(event_shape)[-1] * 2 ** (levels + 1)
        width = (hidden_channels or FOR_IMAGES["hidden_channels"]) * 2 ** (levels - 1)
        depth = 6 * levels * blocks
        return depth, depth * (
            18 * width**2 + 9 * width * (2 * channels + context_size(context_shape)) // blocks
        )
