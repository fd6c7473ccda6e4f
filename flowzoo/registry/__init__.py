"""Pretrained models: names to weights."""

from flowzoo.registry.folder import info, list_models
from flowzoo.registry.train import evaluate, train
from flowzoo.registry.weights import load

__all__ = ["evaluate", "info", "list_models", "load", "train"]
