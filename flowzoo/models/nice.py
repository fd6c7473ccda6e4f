"""NICE: additive coupling layers."""

from typing import Any

import keras

from flowzoo import checks
from flowzoo.flow import Flow
from flowzoo.layers import AdditiveCoupling, DiagonalScaling, Permutation
from flowzoo.models.arguments import Network, Shape
from flowzoo.models.parts import flat_data_end, initializer_for
from flowzoo.models.sizes import dense_size, size_of
from flowzoo.networks import MLP


@keras.saving.register_keras_serializable(package="flowzoo")
class NICE(Flow):
    """Non-linear independent components estimation, volume preserving but for one last scaling.

    Additive couplings in turn shift the even and the odd components, then each component is
    scaled:  log p(x) = sum_i (log p_base(z_i) + s_i).  Images (H, W, C) with values 0 ... 255 are
    dequantised and brought to the unit interval, as in the paper.

    References:
        NICE: Non-linear Independent Components Estimation (Dinh et al., 2014, arXiv:1410.8516)

    Arguments:
        event_shape: shape of one example.
        couplings: number of additive coupling layers; 4 in the paper.
        hidden_units: widths of each coupling's hidden layers; (1000,) * 5 in the paper for MNIST.
        activation: name of a Keras activation.
        dropout: rate of dropout in the couplings' networks, in training alone.
        initializer: of the networks, "uniform", the default for vectors, or "he_normal", that for images,
            which starts at the identity.
        standardize: whether a flow of vectors starts by bringing the data, and every flow its context, to
            mean 0 and variance 1, so that their units do not matter; see `flowzoo.layers.Standardize`.
        base: "logistic" as the paper for natural images and MNIST, or "normal".
        context_shape: shape of one example's context, for p(x | c).
        context_network: a Keras layer in front of the context, trained with the flow, or None.

    Example:
        >>> flow = flowzoo.NICE(event_shape=4, hidden_units=(32,))
        >>> tuple(flow.sample(3, seed=0).shape)
        (3, 4)
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        couplings: int = 4,
        hidden_units: Shape = (64, 64),
        activation: str = "relu",
        dropout: float = 0.0,
        base: str = "logistic",
        initializer: str | None = None,
        standardize: bool = True,
        context_shape: Shape | None = None,
        context_network: Network | None = None,
        **kwargs: Any,
    ):
        couplings = checks.positive_integer("couplings", couplings)
        policy = kwargs.get("dtype")
        initializer = initializer_for(event_shape, initializer)
        layers = [DiagonalScaling(epsilon=1e-5, log_scale_factor=5.0, dtype=policy)]
        for i in range(couplings):
            network = MLP(
                hidden_units, activation=activation, dropout=dropout, initializer=initializer, dtype=policy
            )
            head = "uniform" if initializer == "uniform" else "zeros"
            layers.append(AdditiveCoupling(network, swap=i % 2 == 1, head_initializer=head, dtype=policy))
        layers += [
            Permutation("even_odd", dtype=policy),
            *flat_data_end(event_shape, standardize=standardize, dtype=policy),
        ]
        super().__init__(
            layers,
            event_shape=event_shape,
            context_shape=context_shape,
            context_network=context_network,
            standardize_context=standardize,
            base=base,
            **kwargs,
        )
        self.couplings = couplings
        self.hidden_units = checks.hidden_units(hidden_units)
        self.activation = activation
        self.initializer = initializer
        self.standardize = bool(standardize)
        self.dropout = dropout

    @classmethod
    def estimated_size(
        cls,
        event_shape: Shape,
        couplings: int,
        hidden_units: Shape,
        context_shape: Shape | None,
        **others: Any,
    ) -> tuple[float, float]:
        """About how many layers with weights, and weights, these arguments make."""
        size = size_of(event_shape)
        return dense_size(couplings, hidden_units, size + size_of(context_shape), 2 * size)
