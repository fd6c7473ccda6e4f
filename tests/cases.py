"""Every flow layer and model under test: a new one adds its line here."""

import flowzoo
from flowzoo.layers import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    BatchNormalization,
    DiagonalScaling,
    Invert,
    InvertibleLinear,
    Logit,
    MaskedAutoregressive,
    Permutation,
    Rescale,
    Reshape,
    TFPBijector,
)
from flowzoo.networks import MLP, ResidualMLP

# name -> (makes the layer, shape of one data example, whether the data lie in the unit interval)
LAYERS = {
    "additive coupling": (lambda: AdditiveCoupling(MLP((16, 16), activation="tanh")), (5,), False),
    "additive coupling, swapped": (lambda: AdditiveCoupling(MLP((16,)), swap=True), (5,), False),
    "affine coupling": (lambda: AffineCoupling(MLP((16, 16))), (4,), False),
    "affine coupling, swapped": (lambda: AffineCoupling(MLP((16,)), swap=True), (5,), False),
    "affine coupling, residual": (lambda: AffineCoupling(ResidualMLP(16, blocks=2)), (4,), False),
    "autoregressive": (lambda: MaskedAutoregressive(hidden_units=(16, 12)), (4,), False),
    "autoregressive, one dimension": (lambda: MaskedAutoregressive(hidden_units=(8,)), (1,), False),
    "autoregressive, reversed": (
        lambda: MaskedAutoregressive(order="reversed", activation="tanh"),
        (4,),
        False,
    ),
    "autoregressive, random": (lambda: MaskedAutoregressive(order="random", hidden_units=(3,)), (4,), False),
    "autoregressive, mixture": (
        lambda: MaskedAutoregressive(transformer="mixture", components=3, hidden_units=(16,)),
        (3,),
        False,
    ),
    "inverse autoregressive": (lambda: Invert(MaskedAutoregressive(hidden_units=(16,))), (3,), False),
    "permutation, reverse": (lambda: Permutation("reverse"), (4,), False),
    "permutation, even and odd": (lambda: Permutation("even_odd"), (5,), False),
    "permutation, random": (lambda: Permutation("random"), (6,), False),
    "permutation, given": (lambda: Permutation([2, 0, 1]), (3,), False),
    "diagonal scaling": (DiagonalScaling, (4,), False),
    "actnorm": (ActNorm, (4,), False),
    "actnorm on images": (lambda: ActNorm(log_scale_factor=3.0), (2, 3, 2), False),
    "batch normalization": (BatchNormalization, (4,), False),
    "batch normalization on images": (BatchNormalization, (2, 2, 3), False),
    "invertible linear": (InvertibleLinear, (5,), False),
    "invertible linear on images": (InvertibleLinear, (2, 2, 3), False),
    "logit": (lambda: Logit(0.05), (4,), True),
    "rescale": (lambda: Rescale(-3.0, 1.0), (2, 2, 1), False),
    "reshape": (lambda: Reshape((6,)), (3, 2, 1), False),
    "TFP Sigmoid": (lambda: TFPBijector("Sigmoid", {"low": -0.5, "high": 1.5}), (3,), True),
    "TFP Permute": (lambda: TFPBijector("Permute", {"permutation": [2, 0, 1]}), (3,), False),
    "TFP SinhArcsinh": (lambda: TFPBijector("SinhArcsinh", {"skewness": 0.3}), (3,), False),
}

# Layers that take a context.
CONDITIONAL_LAYERS = [
    "additive coupling",
    "affine coupling",
    "affine coupling, residual",
    "autoregressive",
    "autoregressive, one dimension",
    "autoregressive, random",
    "autoregressive, mixture",
    "inverse autoregressive",
]

# name -> makes the model; `event_shape` and other arguments can be set.
MODELS = {
    "NICE": lambda **kwargs: flowzoo.NICE(**{"event_shape": 3, "hidden_units": (16, 16), **kwargs}),
    "NICE, normal": lambda **kwargs: flowzoo.NICE(
        **{"event_shape": 4, "hidden_units": (16,), "base": "normal", **kwargs}
    ),
    "RealNVP": lambda **kwargs: flowzoo.RealNVP(
        **{"event_shape": 3, "couplings": 4, "hidden_units": (16, 16), **kwargs}
    ),
    "RealNVP, batch normalization": lambda **kwargs: flowzoo.RealNVP(
        **{"event_shape": 3, "couplings": 4, "hidden_units": (16,), "normalization": "batch", **kwargs}
    ),
    "MAF": lambda **kwargs: flowzoo.MAF(
        **{"event_shape": 3, "autoregressive_layers": 3, "hidden_units": (16, 16), **kwargs}
    ),
    "MAF, random, batch normalization": lambda **kwargs: flowzoo.MAF(
        **{
            "event_shape": 3,
            "autoregressive_layers": 3,
            "hidden_units": (16,),
            "order": "random",
            "normalization": "batch",
            **kwargs,
        }
    ),
    "MAF MoG": lambda **kwargs: flowzoo.MAF(
        **{"event_shape": 3, "autoregressive_layers": 2, "hidden_units": (16,), "components": 3, **kwargs}
    ),
    "IAF": lambda **kwargs: flowzoo.IAF(
        **{"event_shape": 3, "autoregressive_layers": 2, "hidden_units": (16,), **kwargs}
    ),
}
