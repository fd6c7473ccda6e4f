"""zuko: RealNVP and MAF as it has them."""

import zuko

from peers import with_torch

PACKAGE = "zuko"


def build(cell, mode):
    kind = zuko.flows.RealNVP if cell.kind == "realnvp" else zuko.flows.MAF
    flow = kind(features=cell.size, transforms=cell.layers, hidden_features=cell.hidden)
    return with_torch.actions(
        cell, mode, flow, lambda x: flow().log_prob(x), lambda count: flow().sample((count,))
    )
