"""Conditioner networks: what sets the parameters of coupling and autoregressive layers."""

from flowzoo.networks.made import MADE
from flowzoo.networks.mlp import MLP, ResidualMLP

__all__ = ["MADE", "MLP", "ResidualMLP"]
