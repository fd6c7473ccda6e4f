"""What the JAX libraries share: a compiled training step, and calls from arrays to arrays."""

import functools
import itertools

import jax
import numpy as np
import optax


def actions(cell, parameters, log_prob, sample):
    """The number of parameters, and the actions of functions of (parameters, x) and (parameters, key)."""
    optimizer = optax.adam(1e-4)
    state = [parameters, optimizer.init(parameters)]
    batches = itertools.cycle(cell.batches())
    seeds = itertools.count()
    measure, draw = jax.jit(log_prob), jax.jit(lambda p, seed: sample(p, jax.random.key(seed)))

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(parameters, state, x):
        gradient = jax.grad(lambda p: -log_prob(p, x).mean())(parameters)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(parameters, updates), state

    def train(calls):
        for x in itertools.islice(batches, calls):
            state[:] = step(*state, x)
        jax.block_until_ready(state)

    def measure_all(calls):
        for x in itertools.islice(batches, calls):
            np.asarray(measure(state[0], x))

    def draw_all(calls):
        for seed in itertools.islice(seeds, calls):
            np.asarray(draw(state[0], seed))

    count = sum(leaf.size for leaf in jax.tree.leaves(parameters))
    return count, {"train": train, "log_prob": measure_all, "sample": draw_all}
