"""flowzoo: normalizing flows for Keras 3, trained by `fit`, saved as `.keras`, loaded by name.

What holds for every model, `Flow` and `FlowVAE` alike:

- The first arguments of a method are the examples (`x`, latents `z`, or their number `n`) and the context;
  all others go by keyword.
- Methods take arrays, tensors and lists, and give tensors of the Keras backend. `predict` and `evaluate` are
  Keras's own, and give NumPy arrays and numbers; so do the functions of `flowzoo.datasets` and
  `flowzoo.metrics` that compute outside of the backend, such as `png_bits_per_dim`.
- What a model has is a property, such as `bijector`, `distribution` and `level_sizes`, which flow layers have
  under the same names; what it computes is a method.
- A `seed` is None by default, for the model's own generator, or an integer, a `keras.random.SeedGenerator`
  or a key of the backend. What is drawn once for good has the seed 0: data (`flowzoo.datasets.binarize`,
  `Batches`) and the pictures of `flowzoo.callbacks.SampleGrid`.

Importing flowzoo registers its classes with Keras, so that `keras.models.load_model` finds them.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING

from flowzoo.models import __all__ as CATALOGUE

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
        tabular,
        testing,
        training,
        transformers,
    )
    from flowzoo.flow import Flow
    from flowzoo.models import FVAE, IAF, IAFVAE, MAF, NICE, NSF, Glow, Jet, RealNVP, TarFlow
    from flowzoo.registry import info, list_models, load, save_pretrained
    from flowzoo.vae import FlowVAE

__version__ = "0.1.0"

_DEFINED_IN = {
    "Flow": "flow",
    "FlowVAE": "vae",
    **dict.fromkeys(("info", "list_models", "load", "save_pretrained"), "registry"),
    **dict.fromkeys(CATALOGUE, "models"),
}
_MODULES = (
    "backend",
    "base",
    "callbacks",
    "datasets",
    "layers",
    "metrics",
    "networks",
    "plots",
    "registry",
    "tabular",
    "testing",
    "training",
    "transformers",
)

__all__ = [*_DEFINED_IN, *_MODULES]


def __getattr__(name):
    """Imports what is asked for."""
    if name in _DEFINED_IN:
        return getattr(importlib.import_module(f"flowzoo.{_DEFINED_IN[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"flowzoo.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})


def _is_command():
    """Whether this process is the command `flowzoo`, which lists the zoo without waiting for Keras."""
    return os.path.basename((sys.argv or [""])[0]) in ("flowzoo", "flowzoo.exe")


if not _is_command():
    importlib.import_module("flowzoo.models").classes()
