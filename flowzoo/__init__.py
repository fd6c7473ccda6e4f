"""flowzoo: normalizing flows for Keras 3, trained by `fit`, saved as `.keras`, loaded by name."""

import importlib
from typing import TYPE_CHECKING

from flowzoo import registration
from flowzoo.registry import info, list_models

if TYPE_CHECKING:
    from flowzoo import (
        backend,
        base,
        callbacks,
        datasets,
        layers,
        metrics,
        networks,
        plots,
        registry,
        testing,
    )
    from flowzoo.flow import Flow
    from flowzoo.models import FVAE, IAF, IAFVAE, MAF, NICE, Glow, RealNVP
    from flowzoo.registry import load
    from flowzoo.vae import FlowVAE

__version__ = "0.1.0"

__all__ = [
    "FVAE",
    "IAF",
    "IAFVAE",
    "MAF",
    "NICE",
    "Flow",
    "FlowVAE",
    "Glow",
    "RealNVP",
    "backend",
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
    "testing",
]

_DEFINED_IN = {
    "load": "registry",
    "Flow": "flow",
    "FlowVAE": "vae",
    **dict.fromkeys(("FVAE", "IAF", "IAFVAE", "MAF", "NICE", "Glow", "RealNVP"), "models"),
}


def __getattr__(name):
    """Imports what is asked for, so that listing the zoo does not wait for Keras."""
    if name in _DEFINED_IN:
        return getattr(importlib.import_module(f"flowzoo.{_DEFINED_IN[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"flowzoo.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})


registration.register()
