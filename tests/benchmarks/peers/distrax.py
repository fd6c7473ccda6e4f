"""distrax: split couplings around dense networks written out here, for it has none; jitted."""

import itertools

import distrax
import jax
from jax import numpy as jnp

from peers import with_jax

PACKAGE = "distrax"


def build(cell, mode):
    half = cell.size // 2
    widths = list(itertools.pairwise((half, *cell.hidden, 2 * half)))
    keys = iter(jax.random.split(jax.random.key(0), cell.layers * len(widths)))
    initial = jax.nn.initializers.he_normal()
    parameters = [
        [(initial(next(keys), shape), jnp.zeros(shape[1])) for shape in widths] for _ in range(cell.layers)
    ]

    def flow(parameters):
        couplings = [
            distrax.SplitCoupling(half, 1, network(layers), affine, swap=i % 2 == 1)
            for i, layers in enumerate(parameters)
        ]
        base = distrax.Independent(distrax.Normal(jnp.zeros(cell.size), jnp.ones(cell.size)), 1)
        return distrax.Transformed(base, distrax.Chain(couplings))

    return with_jax.actions(
        cell,
        parameters,
        lambda parameters, x: flow(parameters).log_prob(x),
        lambda parameters, key: flow(parameters).sample(seed=key, sample_shape=cell.samples),
    )


def network(layers):
    def run(x):
        for i, (kernel, bias) in enumerate(layers):
            x = (x if i == 0 else jax.nn.relu(x)) @ kernel + bias
        return x

    return run


def affine(parameters):
    shift, log_scale = jnp.split(parameters, 2, axis=-1)
    return distrax.ScalarAffine(shift, log_scale=jnp.tanh(log_scale))
