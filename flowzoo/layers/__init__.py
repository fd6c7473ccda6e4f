"""Invertible layers, each with its log-determinant."""

from flowzoo.layers.autoregressive import MaskedAutoregressive
from flowzoo.layers.batch_normalization import BatchNormalization
from flowzoo.layers.chain import Chain
from flowzoo.layers.checkerboard import CheckerboardCoupling
from flowzoo.layers.class_prior import ClassPrior
from flowzoo.layers.coupling import AdditiveCoupling, AffineCoupling, Coupling
from flowzoo.layers.dequantize import Dequantize, GaussianDequantize, VariationalDequantize
from flowzoo.layers.factor_out import FactorOut
from flowzoo.layers.flow_layer import FlowLayer
from flowzoo.layers.invert import Invert
from flowzoo.layers.invertible_linear import InvertibleLinear
from flowzoo.layers.patches import Patches
from flowzoo.layers.permutation import Permutation
from flowzoo.layers.preprocessing import Logit, Rescale, Reshape
from flowzoo.layers.scaling import ActNorm, DiagonalScaling
from flowzoo.layers.squeeze import Squeeze
from flowzoo.layers.standardize import Standardize
from flowzoo.layers.tfp_bijector import TFPBijector
from flowzoo.layers.transformer_autoregressive import TransformerAutoregressive

__all__ = [
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "BatchNormalization",
    "Chain",
    "CheckerboardCoupling",
    "ClassPrior",
    "Coupling",
    "Dequantize",
    "DiagonalScaling",
    "FactorOut",
    "FlowLayer",
    "GaussianDequantize",
    "Invert",
    "InvertibleLinear",
    "Logit",
    "MaskedAutoregressive",
    "Patches",
    "Permutation",
    "Rescale",
    "Reshape",
    "Squeeze",
    "Standardize",
    "TFPBijector",
    "TransformerAutoregressive",
    "VariationalDequantize",
]
