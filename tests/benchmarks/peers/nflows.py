"""nflows: couplings, MADEs and splines of its own, and Glow's parts, put together."""

import torch
from nflows import distributions, flows, transforms
from nflows.utils import torchutils

from peers import with_torch

PACKAGE = "nflows"


def build(cell, mode):
    make = {"realnvp": realnvp, "maf": maf, "nsf": nsf, "nsf-ar": nsf_autoregressive, "glow": glow}[cell.kind]
    size = cell.size if len(cell.shape) == 1 else 3072
    flow = flows.Flow(make(cell), distributions.StandardNormal([size]))
    return with_torch.actions(cell, mode, flow, flow.log_prob, flow.sample)


def realnvp(cell):
    couplings = []
    for i in range(cell.layers):
        mask = torchutils.create_alternating_binary_mask(cell.size, even=i % 2 == 0)
        couplings.append(
            transforms.AffineCouplingTransform(mask, lambda a, b: with_torch.mlp(a, *cell.hidden, b))
        )
    return transforms.CompositeTransform(couplings)


def maf(cell):
    layers = []
    for _ in range(cell.layers):
        layers += [
            transforms.ReversePermutation(cell.size),
            transforms.MaskedAffineAutoregressiveTransform(
                cell.size, cell.hidden[0], num_blocks=len(cell.hidden) - 1, use_residual_blocks=False
            ),
        ]
    return transforms.CompositeTransform(layers)


def nsf(cell):
    couplings = []
    for i in range(cell.layers):
        mask = torchutils.create_alternating_binary_mask(cell.size, even=i % 2 == 0)
        couplings.append(
            transforms.PiecewiseRationalQuadraticCouplingTransform(
                mask,
                lambda a, b: with_torch.mlp(a, *cell.hidden, b),
                num_bins=8,
                tails="linear",
                tail_bound=5.0,
            )
        )
    return transforms.CompositeTransform(couplings)


def nsf_autoregressive(cell):
    layers = []
    for _ in range(cell.layers):
        layers += [
            transforms.ReversePermutation(cell.size),
            transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
                cell.size,
                cell.hidden[0],
                num_bins=8,
                tails="linear",
                tail_bound=5.0,
                num_blocks=len(cell.hidden) - 1,
                use_residual_blocks=False,
            ),
        ]
    return transforms.CompositeTransform(layers)


def glow(cell, levels=3):
    chain = transforms.MultiscaleCompositeTransform(num_transforms=levels)
    shape = (cell.shape[2], *cell.shape[:2])
    for _ in range(levels):
        squeeze = transforms.SqueezeTransform()
        shape = squeeze.get_output_shape(*shape)
        level = [squeeze]
        for _ in range(cell.layers):
            mask = torchutils.create_mid_split_binary_mask(shape[0])
            level += [
                transforms.ActNorm(shape[0]),
                transforms.OneByOneConvolution(shape[0]),
                transforms.AffineCouplingTransform(mask, lambda a, b: network(a, cell.hidden, b)),
            ]
        shape = chain.add_transform(transforms.CompositeTransform(level), shape) or shape
    return chain


def network(inputs, hidden, outputs):
    """Glow's: convolutions of 3x3, 1x1 and 3x3, the last of which starts at zero."""
    last = torch.nn.Conv2d(hidden[1], outputs, 3, padding=1)
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    first, second = torch.nn.Conv2d(inputs, hidden[0], 3, padding=1), torch.nn.Conv2d(*hidden, 1)
    return with_torch.IgnoreContext(first, torch.nn.ReLU(), second, torch.nn.ReLU(), last)
