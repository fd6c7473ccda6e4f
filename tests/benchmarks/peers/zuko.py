"""zuko: RealNVP, MAF and NSF as it has them."""

import zuko

from peers import with_torch

PACKAGE = "zuko"


def build(cell, mode):
    kinds = {"realnvp": zuko.flows.RealNVP, "maf": zuko.flows.MAF}
    kind = kinds.get(cell.kind, zuko.flows.NSF)
    coupling = {"passes": 2} if cell.kind == "nsf" else {}
    flow = kind(features=cell.size, transforms=cell.layers, hidden_features=cell.hidden, **coupling)
    return with_torch.actions(
        cell, mode, flow, lambda x: flow().log_prob(x), lambda count: flow().sample((count,))
    )
