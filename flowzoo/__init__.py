"""flowzoo: normalizing flows for Keras 3, trained by `fit`, saved as `.keras`, loaded by name."""

import importlib

from flowzoo import registration
from flowzoo.registry import info, list_models

__version__ = "0.1.0"

_MODULES = ("base", "callbacks", "datasets", "layers", "metrics", "models", "networks", "plots")
_CLASSES = ("IAF", "MAF", "NICE", "Flow", "Glow", "RealNVP")

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


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"flowzoo.{name}")
    if name == "load":
        return importlib.import_module("flowzoo.registry").load
    if name in _CLASSES:
        return getattr(importlib.import_module("flowzoo.flow" if name == "Flow" else "flowzoo.models"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})


registration.register()
