"""Conditioner networks: what sets the parameters of coupling and autoregressive layers."""

from flowzoo.networks.autoencoder import ConvDecoder, ConvEncoder
from flowzoo.networks.convnet import ConvNet, ZeroConv2D
from flowzoo.networks.made import MADE
from flowzoo.networks.mlp import MLP, ResidualMLP
from flowzoo.networks.resnet import ResNet
from flowzoo.networks.transformer import TransformerLayer, VisionTransformer

__all__ = [
    "MADE",
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "ConvNet",
    "ResNet",
    "ResidualMLP",
    "TransformerLayer",
    "VisionTransformer",
    "ZeroConv2D",
]
