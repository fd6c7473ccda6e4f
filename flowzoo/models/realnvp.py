"""RealNVP: affine coupling layers."""

import keras

from flowzoo import checks
from flowzoo.flow import Flow
from flowzoo.layers import AffineCoupling, Permutation
from flowzoo.models.parts import data_end, normalization_layer
from flowzoo.networks import MLP


@keras.saving.register_keras_serializable(package="flowzoo")
class RealNVP(Flow):
    """Real-valued non-volume preserving flow on vectors.

    Affine couplings in turn scale and shift one half of the dimensions given the other:
    log p(x) = log p_base(z) + sum of all log-scales. Density and sampling each take one pass.
    Images (H, W, C) with values 0 ... 255 are dequantised and mapped to the reals by a logit.

    References:
        Density estimation using Real NVP (Dinh et al., 2016, arXiv:1605.08803)

    Arguments:
        event_shape: shape of one example, of 2 dimensions at least.
        couplings: number of affine coupling layers.
        hidden_units: widths of each coupling's hidden layers.
        activation: name of a Keras activation.
        normalization: "actnorm", started from the first batch; "batch", the paper's batch
            normalisation; or None. One such layer follows each coupling, on its data side.
        log_scale_bound: soft bound of each coupling's log-scales, in nats. A small one, such as 2,
            keeps training steady on data of few dimensions.
        alpha: of the logit, for images.
        base: "normal" or "logistic".
        context_shape: shape of one example's context, for p(x | c).

    Example:
        >>> flow = flowzoo.RealNVP(event_shape=2, couplings=4, context_shape=10)
        >>> labels = keras.ops.one_hot([0, 1, 2], 10)
        >>> tuple(flow.sample(3, context=labels, seed=0).shape)
        (3, 2)
    """

    def __init__(
        self,
        event_shape,
        *,
        couplings=8,
        hidden_units=(64, 64),
        activation="relu",
        normalization="actnorm",
        log_scale_bound=5.0,
        alpha=0.05,
        base="normal",
        context_shape=None,
        **kwargs,
    ):
        couplings = checks.positive_integer("couplings", couplings)
        policy = kwargs.get("dtype")
        layers = []
        for i in range(couplings):
            network = MLP(hidden_units, activation=activation, dtype=policy)
            layers.append(
                AffineCoupling(network, swap=i % 2 == 1, log_scale_bound=log_scale_bound, dtype=policy)
            )
            layers += normalization_layer(normalization, policy)
        layers += [Permutation("even_odd", dtype=policy), *data_end(event_shape, alpha)]
        super().__init__(layers, event_shape=event_shape, context_shape=context_shape, base=base, **kwargs)
        self.couplings = couplings
        self.hidden_units = checks.hidden_units(hidden_units)
        self.activation = activation
        self.normalization = normalization
        self.log_scale_bound = log_scale_bound
        self.alpha = alpha
