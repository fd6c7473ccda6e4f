"""IAF: inverse autoregressive flow."""

from typing import Any

import keras

from flowzoo import checks
from flowzoo.flow import Flow
from flowzoo.layers import Invert
from flowzoo.models.arguments import Network, Shape, Whole
from flowzoo.models.maf import autoregressive_stack
from flowzoo.models.parts import flat_data_end
from flowzoo.models.sizes import dense_size, size_of


@keras.saving.register_keras_serializable(package="flowzoo")
class IAF(Flow):
    """Inverse autoregressive flow: sampling in one pass, density dimension after dimension.

    Each layer is x_i = (z_i - shift_i) exp(-s_i), shift_i and s_i functions of z_1 ... z_(i-1) by
    one MADE; or, gated, x_i = g_i z_i + (1 - g_i) m_i with g_i = sigmoid(a_i + forget_bias). The
    log-density of its own samples is as quick as the samples, which suits it to variational
    inference, see `fit_variational`, and to posteriors, see `flowzoo.IAFVAE`.

    References:
        Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016,
        arXiv:1606.04934)

    Arguments:
        event_shape: shape of one example.
        autoregressive_layers: number of inverse autoregressive layers.
        hidden_units: widths of each MADE's hidden layers.
        activation: name of a Keras activation.
        order: "reversed" from layer to layer, or "random" in each.
        transformer: "affine", or "gated", the paper's numerically stable update.
        log_scale_bound: soft bound of the affine layers' log-scales, in nats.
        forget_bias: of the gates; 1 or 2 in the paper.
        initializer: of the networks, "he_normal", which starts at the identity, or "uniform"; see
            `flowzoo.networks.MADE`.
        standardize: whether a flow of vectors starts by bringing the data, and every flow its context, to
            mean 0 and variance 1, so that their units do not matter; see `flowzoo.layers.Standardize`.
        alpha: of the logit, for images.
        base: the distribution of the latent, see `flowzoo.Flow`.
        context_shape: shape of one example's context, for p(x | c).
        context_network: a Keras layer in front of the context, trained with the flow, or None.
        seed: integer that draws the random orders.

    Example:
        >>> flow = flowzoo.IAF(event_shape=3, autoregressive_layers=2, hidden_units=(32,))
        >>> tuple(flow.sample(4, seed=0).shape)
        (4, 3)
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        autoregressive_layers: int = 4,
        hidden_units: Shape = (64, 64),
        activation: str = "relu",
        order: str = "reversed",
        transformer: str = "affine",
        log_scale_bound: float = 2.0,
        forget_bias: float = 1.0,
        alpha: float | None = 0.05,
        initializer: str = "he_normal",
        standardize: bool = True,
        base: str = "normal",
        context_shape: Shape | None = None,
        context_network: Network | None = None,
        seed: Whole | None = None,
        **kwargs: Any,
    ):
        policy = kwargs.get("dtype")
        checks.choice("transformer", transformer, ("affine", "gated"))
        layers = autoregressive_stack(
            autoregressive_layers,
            order=order,
            seed=seed,
            normalization=None,
            hidden_units=hidden_units,
            activation=activation,
            transformer=transformer,
            log_scale_bound=log_scale_bound,
            forget_bias=forget_bias,
            initializer=initializer,
            dtype=policy,
        )
        layers = [Invert(layer, dtype=policy) for layer in layers]
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
        self.order = order
        self.transformer = transformer
        self.log_scale_bound = log_scale_bound
        self.forget_bias = forget_bias
        self.alpha = alpha
        self.seed = seed

    @classmethod
    def estimated_size(
        cls,
        event_shape: Shape,
        autoregressive_layers: int,
        hidden_units: Shape,
        context_shape: Shape | None,
        **others: Any,
    ) -> tuple[float, float]:
        """About how many layers with weights, and weights, these arguments make."""
        size = size_of(event_shape)
        return dense_size(autoregressive_layers, hidden_units, size + size_of(context_shape), 2 * size)
