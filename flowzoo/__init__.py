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
"""

import importlib
from typing import TYPE_CHECKING

from flowzoo import registration
from flowzoo.models import __all__ as CATALOGUE
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
        tabular,
        testing,
        training,
        transformers,
    )
    from flowzoo.flow import Flow
    from flowzoo.models import FVAE, IAF, IAFVAE, MAF, NICE, NSF, Glow, Jet, RealNVP, TarFlow
    from flowzoo.registry import load, save_pretrained
    from flowzoo.vae import FlowVAE

__version__ = "0.1.0"

_DEFINED_IN = {
    "Flow": "flow",
    "FlowVAE": "vae",
    "load": "registry",
    "save_pretrained": "registry",
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

__all__ = ["info", "list_models", *_DEFINED_IN, *_MODULES]


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
