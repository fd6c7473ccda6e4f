"""flowjax: its coupling and masked autoregressive flows, affine and with splines, jitted."""

import equinox
import jax
import paramax
from flowjax import bijections, distributions, flows

from peers import with_jax

PACKAGE = "flowjax"


def build(cell, mode):
    make = flows.coupling_flow if cell.kind in ("realnvp", "nsf") else flows.masked_autoregressive_flow
    spline = {}
    if cell.kind.startswith("nsf"):
        spline["transformer"] = bijections.RationalQuadraticSpline(knots=8, interval=5)
    flow = make(
        jax.random.key(0),
        base_dist=paramax.non_trainable(distributions.Normal(jax.numpy.zeros(cell.size))),
        flow_layers=cell.layers,
        nn_width=cell.hidden[0],
        nn_depth=len(cell.hidden),
        **spline,
    )
    parameters, rest = equinox.partition(
        flow, equinox.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable)
    )

    def whole(parameters):
        return paramax.unwrap(equinox.combine(parameters, rest))

    return with_jax.actions(
        cell,
        parameters,
        lambda parameters, x: whole(parameters).log_prob(x),
        lambda parameters, key: whole(parameters).sample(key, (cell.samples,)),
    )
