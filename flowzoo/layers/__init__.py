"""Invertible layers, each with its log-determinant."""

from flowzoo.layers.autoregressive import MaskedAutoregressive
from flowzoo.layers.batch_normalization import BatchNormalization
from flowzoo.layers.coupling import AdditiveCoupling, AffineCoupling
from flowzoo.layers.flow_layer import FlowLayer
from flowzoo.layers.invert import Invert
from flowzoo.layers.invertible_linear import InvertibleLinear
from flowzoo.layers.permutation import Permutation
from flowzoo.layers.preprocessing import Dequantize, Logit, Rescale, Reshape
from flowzoo.layers.scaling import ActNorm, DiagonalScaling
from flowzoo.layers.tfp_bijector import TFPBijector

__all__ = [
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "BatchNormalization",
    "Dequantize",
    "DiagonalScaling",
    "FlowLayer",
    "Invert",
    "InvertibleLinear",
    "Logit",
    "MaskedAutoregressive",
    "Permutation",
    "Rescale",
    "Reshape",
    "TFPBijector",
]
