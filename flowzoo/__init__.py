"""flowzoo: normalizing flows for Keras 3, trained by `fit`, saved as `.keras`, loaded by name."""

from flowzoo import base, callbacks, datasets, layers, metrics, networks, plots, registry
from flowzoo.flow import Flow
from flowzoo.models import IAF, MAF, NICE, Glow, RealNVP
from flowzoo.registry import info, list_models, load

__version__ = "0.1.0"
__all__ = [
    "IAF",
    "MAF",
    "NICE",
    "Flow",
    "Glow",
    "RealNVP",
    "base",
    "callbacks",
    "datasets",
    "info",
    "layers",
    "list_models",
    "load",
    "metrics",
    "networks",
    "plots",
    "registry",
]
