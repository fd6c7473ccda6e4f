"""Every flow layer and model under test: a new one adds its line here."""

import keras

import flowzoo
from flowzoo.layers import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    BatchNormalization,
    Chain,
    CheckerboardCoupling,
    Coupling,
    Dequantize,
    DiagonalScaling,
    FactorOut,
    Invert,
    InvertibleLinear,
    Logit,
    MaskedAutoregressive,
    Patches,
    Permutation,
    Rescale,
    Reshape,
    Squeeze,
    Standardize,
    TFPBijector,
    TransformerAutoregressive,
)
from flowzoo.networks import MLP, ConvNet, ResidualMLP, ResNet
from flowzoo.transformers import MixtureOfGaussians, MixtureOfLogistics, RationalQuadraticSpline

# name -> (makes the layer, shape of one data example, whether the data lie in the unit interval)
LAYERS = {
    "additive coupling": (lambda: AdditiveCoupling(MLP((16, 16), activation="tanh")), (5,), False),
    "additive coupling, swapped": (lambda: AdditiveCoupling(MLP((16,)), swap=True), (5,), False),
    "affine coupling": (lambda: AffineCoupling(MLP((16, 16))), (4,), False),
    "affine coupling, swapped": (lambda: AffineCoupling(MLP((16,)), swap=True), (5,), False),
    "affine coupling, residual": (lambda: AffineCoupling(ResidualMLP(16, blocks=2)), (4,), False),
    "spline coupling": (lambda: Coupling(MLP((16, 16)), "spline"), (5,), False),
    "mixture of logistics coupling": (
        lambda: Coupling(MLP((16,)), MixtureOfLogistics(3, log_scale_bound=2.0), swap=True),
        (4,),
        False,
    ),
    "affine coupling, uniform": (
        lambda: AffineCoupling(MLP((16,), initializer="uniform"), head_initializer="uniform"),
        (4,),
        False,
    ),
    "autoregressive": (lambda: MaskedAutoregressive(hidden_units=(16, 12)), (4,), False),
    "autoregressive, one dimension": (lambda: MaskedAutoregressive(hidden_units=(8,)), (1,), False),
    "autoregressive, uniform": (
        lambda: MaskedAutoregressive(hidden_units=(16,), initializer="uniform"),
        (4,),
        False,
    ),
    "autoregressive, latent affine": (
        lambda: MaskedAutoregressive(transformer="latent_affine", hidden_units=(16,)),
        (4,),
        False,
    ),
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
    "autoregressive, spline": (
        lambda: MaskedAutoregressive(transformer="spline", hidden_units=(16,)),
        (3,),
        False,
    ),
    "autoregressive, spline, one dimension": (
        lambda: MaskedAutoregressive(
            transformer=RationalQuadraticSpline(bins=5, bound=1.5), hidden_units=(8,)
        ),
        (1,),
        False,
    ),
    "autoregressive, mixture of logistics": (
        lambda: MaskedAutoregressive(
            transformer="mixture_of_logistics", components=3, log_scale_bound=2.0, hidden_units=(16,)
        ),
        (3,),
        False,
    ),
    "autoregressive, gated": (
        lambda: MaskedAutoregressive(transformer="gated", hidden_units=(16,)),
        (4,),
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
    "standardize": (Standardize, (4,), False),
    "standardize on images": (Standardize, (2, 2, 3), False),
    "invertible linear": (InvertibleLinear, (5,), False),
    "invertible linear on images": (InvertibleLinear, (2, 2, 3), False),
    "invertible linear, matrix": (lambda: InvertibleLinear(parametrization="matrix"), (5,), False),
    "invertible linear, slow": (lambda: InvertibleLinear(factor=0.1), (5,), False),
    "invertible linear, matrix, on images": (
        lambda: InvertibleLinear(parametrization="matrix"),
        (2, 2, 3),
        False,
    ),
    "squeeze": (Squeeze, (4, 2, 3), False),
    "patches": (lambda: Patches(2), (4, 6, 2), False),
    "transformer autoregressive": (
        lambda: TransformerAutoregressive(8, layers=1, heads=2),
        (3, 2),
        False,
    ),
    "transformer autoregressive, reversed, affine": (
        lambda: TransformerAutoregressive(8, layers=1, reverse=True, transformer="affine", final_norm=False),
        (3, 2),
        False,
    ),
    "channel coupling": (lambda: AffineCoupling(ConvNet(8), head="conv"), (2, 3, 4), False),
    "channel coupling, additive": (
        lambda: AdditiveCoupling(ConvNet(8), head="conv", swap=True),
        (2, 2, 3),
        False,
    ),
    "channel coupling, spline": (
        lambda: Coupling(ConvNet(8), RationalQuadraticSpline(bins=4, bound=3.0)),
        (2, 2, 3),
        False,
    ),
    "channel coupling, mixture of Gaussians": (
        lambda: Coupling(ConvNet(8), MixtureOfGaussians(2, log_scale_bound=2.0), head="conv"),
        (2, 2, 2),
        False,
    ),
    "checkerboard coupling, mixture of logistics": (
        lambda: CheckerboardCoupling(ConvNet(8), MixtureOfLogistics(2, log_scale_bound=2.0), head="conv"),
        (2, 2, 2),
        False,
    ),
    "checkerboard coupling": (lambda: CheckerboardCoupling(ConvNet(8), head="conv"), (3, 2, 2), False),
    "checkerboard coupling, swapped, residual": (
        lambda: CheckerboardCoupling(ResNet(4, blocks=1), swap=True),
        (2, 2, 1),
        False,
    ),
    "factor out": (lambda: FactorOut([ActNorm(), Squeeze()]), (2, 2, 3), False),
    "factor out, learned prior": (
        lambda: FactorOut(
            [FactorOut(), AffineCoupling(ConvNet(8), head="conv"), Squeeze()], learned_prior=True
        ),
        (2, 2, 2),
        False,
    ),
    "chain": (lambda: Chain([AffineCoupling(MLP((8,))), Permutation(), ActNorm(), Chain()]), (3,), False),
    "chain, rematerialised": (lambda: Chain([AffineCoupling(MLP((8,))), ActNorm()], remat=True), (3,), False),
    "logit": (lambda: Logit(0.05), (4,), True),
    "rescale": (lambda: Rescale(-3.0, 1.0), (2, 2, 1), False),
    "reshape": (lambda: Reshape((6,)), (3, 2, 1), False),
    "dequantize, without noise": (lambda: Dequantize(32, step=8), (2, 2, 1), False),
    "TFP Sigmoid": (lambda: TFPBijector("Sigmoid", {"low": -0.5, "high": 1.5}), (3,), True),
    "TFP Permute": (lambda: TFPBijector("Permute", {"permutation": [2, 0, 1]}), (3,), False),
    "TFP SinhArcsinh": (lambda: TFPBijector("SinhArcsinh", {"skewness": 0.3}), (3,), False),
}

# Layers that take a context.
CONDITIONAL_LAYERS = [
    "additive coupling",
    "affine coupling",
    "affine coupling, residual",
    "spline coupling",
    "autoregressive",
    "autoregressive, one dimension",
    "autoregressive, random",
    "autoregressive, gated",
    "autoregressive, spline",
    "autoregressive, mixture",
    "inverse autoregressive",
    "transformer autoregressive",
    "channel coupling",
    "checkerboard coupling",
    "factor out, learned prior",
    "chain",
    "chain, rematerialised",
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
    "MAF, context network": lambda **kwargs: flowzoo.MAF(
        **{
            "event_shape": 3,
            "autoregressive_layers": 2,
            "hidden_units": (16,),
            "context_network": MLP((8,), activation="tanh") if kwargs.get("context_shape") else None,
            **kwargs,
        }
    ),
    "IAF": lambda **kwargs: flowzoo.IAF(
        **{"event_shape": 3, "autoregressive_layers": 2, "hidden_units": (16,), **kwargs}
    ),
    "IAF, gated": lambda **kwargs: flowzoo.IAF(
        **{
            "event_shape": 3,
            "autoregressive_layers": 2,
            "hidden_units": (16,),
            "transformer": "gated",
            **kwargs,
        }
    ),
}

MODELS["NSF"] = lambda **kwargs: flowzoo.NSF(
    **{"event_shape": 3, "spline_layers": 2, "hidden_units": (16,), "bins": 4, **kwargs}
)
MODELS["NSF, autoregressive, mixture base"] = lambda **kwargs: flowzoo.NSF(
    **{
        "event_shape": 3,
        "autoregressive": True,
        "spline_layers": 2,
        "hidden_units": (16,),
        "bins": 4,
        "base": "mixture",
        **kwargs,
    }
)
MODELS["TarFlow, numbers"] = lambda **kwargs: flowzoo.TarFlow(
    **{"event_shape": 3, "blocks": 2, "layers_per_block": 1, "hidden_size": 16, **kwargs}
)


def small_images():
    """A context network, (batch, c) -> (batch, 2, 2, 3)."""
    return keras.Sequential(
        [keras.layers.Dense(12, "tanh", name="dense"), keras.layers.Reshape((2, 2, 3))], name="small_images"
    )


# The same for flows of images; all take uint8 pixels.
IMAGE_MODELS = {
    "Glow": lambda **kwargs: flowzoo.Glow(
        **{"event_shape": (8, 8, 3), "levels": 2, "steps": (2, 1), "hidden_channels": 8, **kwargs}
    ),
    "Glow, additive, matrix, no learned prior, 5 bits": lambda **kwargs: flowzoo.Glow(
        **{
            "event_shape": (8, 8, 3),
            "levels": 3,
            "steps": 1,
            "hidden_channels": 8,
            "coupling": "additive",
            "linear": "matrix",
            "learned_prior": False,
            "bits": 5,
            **kwargs,
        }
    ),
    "Glow, variational, logit": lambda **kwargs: flowzoo.Glow(
        **{
            "event_shape": (4, 8, 1),
            "levels": 2,
            "steps": 1,
            "hidden_channels": 8,
            "dequantization": "variational",
            "alpha": 0.05,
            **kwargs,
        }
    ),
    "Glow, classes": lambda **kwargs: flowzoo.Glow(
        **{
            "event_shape": (4, 4, 1),
            "levels": 2,
            "steps": 1,
            "hidden_channels": 8,
            "classes": 10,
            **kwargs,
        }
    ),
    "Glow, spline, conditional": lambda **kwargs: flowzoo.Glow(
        **{
            "event_shape": (4, 4, 1),
            "levels": 1,
            "steps": 2,
            "hidden_channels": 8,
            "coupling": "spline",
            "bins": 4,
            "context_shape": (2,),
            **kwargs,
        }
    ),
    "Glow, conditional on images": lambda **kwargs: flowzoo.Glow(
        **{
            "event_shape": (8, 8, 3),
            "levels": 3,
            "steps": 1,
            "hidden_channels": 8,
            "context_shape": (8, 8, 1),
            **kwargs,
        }
    ),
    "RealNVP": lambda **kwargs: flowzoo.RealNVP(
        **{"event_shape": (4, 4, 3), "hidden_channels": 4, "blocks": 1, **kwargs}
    ),
    "RealNVP, conditional on images of a network": lambda **kwargs: flowzoo.RealNVP(
        **{
            "event_shape": (4, 4, 1),
            "hidden_channels": 4,
            "blocks": 1,
            "context_shape": (3,),
            "context_network": small_images(),
            **kwargs,
        }
    ),
    "RealNVP, conditional, batch normalization": lambda **kwargs: flowzoo.RealNVP(
        **{
            "event_shape": (4, 4, 1),
            "levels": 1,
            "hidden_channels": 4,
            "blocks": 1,
            "network_normalization": "affine",
            "normalization": "batch",
            "context_shape": (2,),
            **kwargs,
        }
    ),
}

IMAGE_MODELS["NSF"] = lambda **kwargs: flowzoo.NSF(
    **{
        "event_shape": (4, 4, 3),
        "levels": 2,
        "steps": 1,
        "hidden_channels": 8,
        "blocks": 1,
        "bins": 4,
        **kwargs,
    }
)
IMAGE_MODELS["TarFlow, classes"] = lambda **kwargs: flowzoo.TarFlow(
    **{
        "event_shape": (4, 4, 3),
        "patch_size": 2,
        "blocks": 2,
        "layers_per_block": 1,
        "hidden_size": 16,
        "classes": 10,
        **kwargs,
    }
)
IMAGE_MODELS["Jet"] = lambda **kwargs: flowzoo.Jet(
    **{
        "event_shape": (4, 4, 3),
        "patch_size": 2,
        "depth": 5,
        "block_depth": 1,
        "hidden_size": 8,
        **kwargs,
    }
)

# Variational autoencoders; `networks` makes a small encoder and decoder for event shape (5,).


def networks(*, latent_size=3, outputs=2, context_size=None):
    """A functional encoder with one to three outputs and a sequential decoder, on vectors of five."""
    x = keras.Input((5,))
    hidden = keras.layers.Dense(8, "tanh")(x)
    sizes = [latent_size] * min(outputs, 2) + [context_size] * (outputs == 3)
    heads = [keras.layers.Dense(size)(hidden) for size in sizes]
    decoder = keras.Sequential(
        [keras.Input((latent_size,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(5)]
    )
    return keras.Model(x, heads if outputs > 1 else heads[0]), decoder


VAES = {
    "no flows": lambda **kwargs: flowzoo.FlowVAE(*networks(), **kwargs),
    "fixed width, gaussian": lambda **kwargs: flowzoo.FlowVAE(
        *networks(outputs=1), **{"likelihood": "gaussian", **kwargs}
    ),
    "IAF posterior with context": lambda **kwargs: flowzoo.FlowVAE(
        *networks(outputs=3, context_size=4),
        posterior_flow=flowzoo.IAF(3, autoregressive_layers=2, hidden_units=(8,), context_shape=4),
        **kwargs,
    ),
    "two flows, discretized logistic": lambda **kwargs: flowzoo.FlowVAE(
        *networks(),
        posterior_flow=flowzoo.IAF(3, autoregressive_layers=2, hidden_units=(8,), transformer="gated"),
        prior_flow=flowzoo.MAF(3, autoregressive_layers=2, hidden_units=(8,)),
        **{"likelihood": "discretized_logistic", "likelihood_scale": 50.0, **kwargs},
    ),
    "IAFVAE": lambda **kwargs: flowzoo.IAFVAE(
        **{
            "event_shape": (4, 4, 1),
            "latent_size": 3,
            "context_size": 4,
            "autoregressive_layers": 2,
            "hidden_units": (8,),
            "hidden_channels": 8,
            "levels": 2,
            "blocks": 1,
            "dense_units": 8,
            **kwargs,
        }
    ),
    "FVAE": lambda **kwargs: flowzoo.FVAE(
        **{
            "event_shape": (8, 8, 3),
            "latent_channels": 4,
            "steps": 1,
            "flow_channels": 8,
            "hidden_channels": 8,
            "levels": 2,
            "blocks": 1,
            **kwargs,
        }
    ),
}
