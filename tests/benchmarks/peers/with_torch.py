"""What the PyTorch libraries share: a training step, and calls from arrays to arrays."""

import itertools
import os

import numpy as np
import torch


def actions(cell, mode, model, log_prob, sample):
    """The number of parameters, and the actions of `mode`: "eager", or "compiled" by torch.compile.

    Images come as (C, H, W), and are dequantised here. Sampling of an autoregressive flow, a loop
    of as many passes as dimensions, is left out of "compiled": it would be unrolled.
    """
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    compiled = torch.compile if mode == "compiled" else lambda function: function
    batches = cell.batches()
    if cell.kind == "glow":
        batches = [np.ascontiguousarray(np.moveaxis(x, -1, 1)) for x in batches]
    batches = itertools.cycle([torch.from_numpy(x) for x in batches])

    def density(x):
        return log_prob((x + torch.rand(x.shape)) / 256 if cell.kind == "glow" else x)

    density(next(batches))  # starts activation normalisation
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    loss, measure = compiled(lambda x: -density(x).mean()), compiled(density)
    draw = compiled(lambda: sample(cell.samples))

    def train(calls):
        for x in itertools.islice(batches, calls):
            optimizer.zero_grad()
            value = loss(x)
            value.backward()
            optimizer.step()

    @torch.no_grad()
    def measure_all(calls):
        for x in itertools.islice(batches, calls):
            measure(x).numpy()

    @torch.no_grad()
    def draw_all(calls):
        for _ in range(calls):
            draw().numpy()

    found = {"train": train, "log_prob": measure_all, "sample": draw_all}
    if mode == "compiled" and cell.kind == "maf":
        del found["sample"]
    return sum(p.numel() for p in model.parameters() if p.requires_grad), found


def mlp(*widths):
    """A dense network with ReLU between its layers, which ignores nflows' `context`."""
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    return IgnoreContext(*layers[:-1])


class IgnoreContext(torch.nn.Sequential):
    def forward(self, x, context=None):
        return super().forward(x)
