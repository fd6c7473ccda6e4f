"""Pretrained models: names to weights. What needs Keras is imported when it is used."""

import importlib
from typing import TYPE_CHECKING

from flowzoo.registry.errors import RegistryError
from flowzoo.registry.index import info, list_models

if TYPE_CHECKING:  # for editors and type checkers
    from flowzoo.registry.attributes import attribute_directions
    from flowzoo.registry.fingerprint import verify
    from flowzoo.registry.publish import save_pretrained
    from flowzoo.registry.weights import load

_WHERE = {
    "attribute_directions": "flowzoo.registry.attributes",
    "load": "flowzoo.registry.weights",
    "save_pretrained": "flowzoo.registry.publish",
    "verify": "flowzoo.registry.fingerprint",
}

__all__ = ["RegistryError", "info", "list_models", *_WHERE]


def __getattr__(name):
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
