"""Training and measuring the zoo's models by their recipes; Keras is imported when it is used."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for editors and type checkers
    from flowzoo.training.data import write_data
    from flowzoo.training.measuring import evaluate_pretrained
    from flowzoo.training.recipe import train

_WHERE = {
    "evaluate_pretrained": "flowzoo.training.measuring",
    "train": "flowzoo.training.recipe",
    "write_data": "flowzoo.training.data",
}

__all__ = [*_WHERE]


def __getattr__(name):
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
