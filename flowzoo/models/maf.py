"""MAF: masked autoregressive flow."""

from typing import Any, Self

import keras

from flowzoo import checks
from flowzoo.flow import Flow
from flowzoo.layers import MaskedAutoregressive
from flowzoo.models.arguments import Network, Shape, Whole
from flowzoo.models.parts import affine_for, flat_data_end, initializer_for, normalization_layer
from flowzoo.models.sizes import dense_size, size_of


@keras.saving.register_keras_serializable(package="flowzoo")
class MAF(Flow):
    """Masked autoregressive flow: density in one pass, sampling dimension after dimension.

    Each layer is z_i = (x_i - shift_i) exp(-s_i), shift_i and s_i functions of x_1 ... x_(i-1) by
    one MADE, so that log p(x) = log p_base(z) - sum of all s_i; or, for vectors, which train faster so,
    z_i = x_i exp(s_i) + shift_i. The order of the dimensions is reversed from layer to layer, or random.
    With `components`, the layer next to the base has mixtures of Gaussians for conditionals: MAF MoG,
    whose base density is a MADE MoG.
    Images (H, W, C) with values 0 ... 255 are dequantised and mapped to the reals by a logit.

    References:
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017, arXiv:1705.07057)

    Arguments:
        event_shape: shape of one example.
        autoregressive_layers: number of affine autoregressive layers; 5 or 10 in the paper.
        hidden_units: widths of each MADE's hidden layers; (1024,) in the paper for MNIST.
        activation: name of a Keras activation.
        transformer: "affine", the paper's and the default for images; or "latent_affine", the default for
            vectors, see `flowzoo.transformers`.
        order: "reversed" from layer to layer, the paper's, or "random" in each.
        components: number of Gaussians of a further MADE MoG layer, or None; 10 in the paper. Data of one
            dimension need them: without, the flow of one number is a Gaussian.
        normalization: "batch", the paper's batch normalisation; "actnorm", started from the first
            batch; or None. One such layer follows each autoregressive layer, on its data side.
        log_scale_bound: soft bound of the log-scales, in nats. A larger one, such as 5, can lose the
            inverse to the rounding of float32; see `round_trip_error`.
        initializer: of the networks, "uniform", the default for vectors, or "he_normal", that for images,
            which starts at the identity.
        standardize: whether a flow of vectors starts by bringing the data, and every flow its context, to
            mean 0 and variance 1, so that their units do not matter; see `flowzoo.layers.Standardize`.
        alpha: of the logit, for images; 1e-6 in the paper for MNIST, 0.05 for CIFAR-10.
        remat: whether training keeps each autoregressive layer's input alone, and makes the
            activations of its MADE again in the backward pass: less memory for more time.
        base: the distribution of the latent, see `flowzoo.Flow`.
        context_shape: shape of one example's context, for p(x | c).
        context_network: a Keras layer in front of the context, trained with the flow, or None.
        seed: integer that draws the random orders.

    Example:
        >>> flow = flowzoo.MAF(event_shape=3, autoregressive_layers=2, hidden_units=(32,))
        >>> tuple(flow.log_prob(np.zeros((5, 3))).shape)
        (5,)
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        autoregressive_layers: int = 5,
        hidden_units: Shape = (64, 64),
        activation: str = "relu",
        transformer: str | None = None,
        order: str = "reversed",
        components: int | None = None,
        normalization: str | None = None,
        log_scale_bound: float = 2.0,
        alpha: float | None = 1e-6,
        remat: bool = False,
        initializer: str | None = None,
        standardize: bool = True,
        base: str = "normal",
        context_shape: Shape | None = None,
        context_network: Network | None = None,
        seed: Whole | None = None,
        **kwargs: Any,
    ):
        policy = kwargs.get("dtype")
        initializer = initializer_for(event_shape, initializer)
        transformer = checks.choice(
            "transformer", affine_for(event_shape, transformer), ("affine", "latent_affine")
        )
        layers = autoregressive_stack(
            autoregressive_layers,
            transformer=transformer,
            order=order,
            seed=seed,
            normalization=normalization,
            components=components,
            hidden_units=hidden_units,
            activation=activation,
            log_scale_bound=log_scale_bound,
            initializer=initializer,
            remat=remat,
            dtype=policy,
        )
        layers += flat_data_end(event_shape, alpha, standardize=standardize, dtype=policy)
        super().__init__(
            layers,
            event_shape=event_shape,
            context_shape=context_shape,
            context_network=context_network,
            base=base,
            standardize_context=standardize,
            **kwargs,
        )
        self.autoregressive_layers = autoregressive_layers
        self.hidden_units = checks.hidden_units(hidden_units)
        self.activation = activation
        self.initializer = initializer
        self.standardize = bool(standardize)
        self.transformer = transformer
        self.order = order
        self.components = components
        self.normalization = normalization
        self.log_scale_bound = log_scale_bound
        self.alpha = alpha
        self.remat = bool(remat)
        self.seed = seed

    @classmethod
    def estimated_size(
        cls,
        event_shape: Shape,
        autoregressive_layers: int,
        hidden_units: Shape,
        components: int | None,
        context_shape: Shape | None,
        **others: Any,
    ) -> tuple[float, float]:
        """About how many layers with weights, and weights, these arguments make."""
        size = size_of(event_shape)
        outputs = 3 * components if components else 2
        return dense_size(autoregressive_layers, hidden_units, size + size_of(context_shape), outputs * size)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """As every Keras model's; a config without `transformer`, older than it, means "affine"."""
        return super().from_config({"transformer": "affine", **config})


def autoregressive_stack(
    count, *, order, seed, normalization, transformer="affine", components=None, dtype=None, **autoregressive
):
    """Autoregressive layers, latent to data, the one at the data end in natural order.

    `order` is "reversed", each layer against its neighbour, or "random", seeded in turn. With
    `components`, one more layer, of mixtures, stands at the latent end.
    """
    checks.positive_integer("autoregressive_layers", count)
    checks.choice("order", order, ("reversed", "random"))
    transformers = [transformer] * count
    if components is not None:
        transformers = ["mixture", *transformers]
        autoregressive["components"] = components
    layers = []
    for i, transformer in enumerate(transformers):
        natural = (len(transformers) - 1 - i) % 2 == 0
        layers.append(
            MaskedAutoregressive(
                transformer=transformer,
                order="random" if order == "random" else "natural" if natural else "reversed",
                seed=None if seed is None else seed + i,
                dtype=dtype,
                **autoregressive,
            )
        )
        layers += normalization_layer(normalization, dtype)
    return layers
