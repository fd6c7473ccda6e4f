"""Invertible functions of one number, whose parameters a conditioner gives.

Coupling and autoregressive layers take any of them, by name or as an object.
"""

import inspect
from typing import Any

import keras

from flowzoo.transformers.affine import Additive, Affine, Gated, LatentAffine, SigmoidAffine, SoftplusAffine
from flowzoo.transformers.mixtures import MixtureOfGaussians, MixtureOfLogistics
from flowzoo.transformers.spline import CircularSpline, RationalQuadraticSpline
from flowzoo.transformers.transformer import Transformer
from flowzoo.types import TransformerLike

__all__ = [
    "Additive",
    "Affine",
    "CircularSpline",
    "Gated",
    "LatentAffine",
    "MixtureOfGaussians",
    "MixtureOfLogistics",
    "RationalQuadraticSpline",
    "SigmoidAffine",
    "SoftplusAffine",
    "Transformer",
]

TRANSFORMERS = {
    "additive": Additive,
    "affine": Affine,
    "gated": Gated,
    "latent_affine": LatentAffine,
    "mixture": MixtureOfGaussians,
    "mixture_of_logistics": MixtureOfLogistics,
    "sigmoid": SigmoidAffine,
    "softplus": SoftplusAffine,
    "spline": RationalQuadraticSpline,
}


def get(transformer: TransformerLike, **options: Any) -> Transformer:
    """A transformer from its name, its object, or the object's config.

    Arguments:
        transformer: a key of `TRANSFORMERS`, a `Transformer`, or what Keras serialises of one.
        options: arguments of the transformer of that name; those that it does not take are left out.

    Raises: ValueError for anything else.

    Example:
        >>> flowzoo.transformers.get("spline", bins=4, forget_bias=1.0)
        RationalQuadraticSpline(bins=4, bound=5.0)
    """
    if isinstance(transformer, dict):
        transformer = keras.saving.deserialize_keras_object(transformer)
    if isinstance(transformer, Transformer):
        return transformer
    if not isinstance(transformer, str) or transformer not in TRANSFORMERS:
        raise ValueError(
            f"transformer must be one of {', '.join(map(repr, TRANSFORMERS))} or a "
            f"flowzoo.transformers.Transformer such as RationalQuadraticSpline(bins=16); got {transformer!r}."
        )
    kind = TRANSFORMERS[transformer]
    taken = inspect.signature(kind.__init__).parameters
    return kind(**{name: value for name, value in options.items() if name in taken})


def serialized(transformer: TransformerLike) -> Any:
    """What `get` takes again: a name as it is, an object as its config."""
    return transformer if isinstance(transformer, str) else keras.saving.serialize_keras_object(transformer)
