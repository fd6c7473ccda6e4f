"""normflows: couplings, splines, MADEs in the direction of MAF, and Glow's blocks, put together."""

import normflows as nf

from peers import with_torch

PACKAGE = "normflows"


def build(cell, mode):
    flow = KINDS[cell.kind](cell)
    log_prob = flow.log_prob if cell.kind != "glow" else lambda x: flow.log_prob(x, None)
    return with_torch.actions(cell, mode, flow, log_prob, lambda count: flow.sample(count)[0])


def realnvp(cell):
    half, layers = cell.size // 2, []
    for _ in range(cell.layers):
        network = nf.nets.MLP([half, *cell.hidden, 2 * half], init_zeros=True)
        layers += [nf.flows.AffineCouplingBlock(network), nf.flows.Permute(cell.size, mode="swap")]
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(cell.size, trainable=False), layers)


def maf(cell):
    layers = []
    for _ in range(cell.layers):
        made = nf.flows.MaskedAffineAutoregressive(
            cell.size, cell.hidden[0], num_blocks=len(cell.hidden) - 1, use_residual_blocks=False
        )
        layers += [nf.flows.Reverse(made), nf.flows.Permute(cell.size, mode="swap")]
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(cell.size, trainable=False), layers)


def nsf(cell, kind=nf.flows.CoupledRationalQuadraticSpline):
    layers = []
    for i in range(cell.layers):
        layers.append(
            kind(
                cell.size,
                num_blocks=1,  # of two layers
                num_hidden_channels=cell.hidden[0],
                num_bins=8,
                tail_bound=5,
                **({"reverse_mask": i % 2 == 1} if kind is nf.flows.CoupledRationalQuadraticSpline else {}),
            )
        )
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(cell.size, trainable=False), layers)


def nsf_autoregressive(cell):
    return nsf(cell, nf.flows.AutoregressiveRationalQuadraticSpline)


def glow(cell, levels=3):
    side, _, channels = cell.shape
    bases, flows, merges = [], [], []
    for i in range(levels):  # from the coarsest
        inside, size = channels * 2 ** (levels + 1 - i), side // 2 ** (levels - i)
        blocks = [nf.flows.GlowBlock(inside, cell.hidden[0]) for _ in range(cell.layers)]
        flows.append([*blocks, nf.flows.Squeeze()])
        leaving = inside if i == 0 else inside // 2
        bases.append(nf.distributions.DiagGaussian((leaving, size, size), trainable=False))
        if i > 0:
            merges.append(nf.flows.Merge())
    return nf.MultiscaleFlow(bases, flows, merges, class_cond=False)


KINDS = {"realnvp": realnvp, "maf": maf, "nsf": nsf, "nsf-ar": nsf_autoregressive, "glow": glow}
