"""How much arithmetic a training is."""

import math

import keras

from flowzoo import backend
from flowzoo.registry.architecture import build
from flowzoo.training.optimizer import recipe_optimizer


def training_flops(facts, examples):
    """The floating point operations of a training by its recipe, validation left out.

    XLA counts those of one training step, forward, backward and the optimizer's, before it optimizes them;
    times the number of steps. A multiplication and an addition are two.

    Arguments:
        facts: of a `model.json`, with a recipe.
        examples: number of training examples.

    Returns: a number, or None on another backend than JAX, which alone has the step as one program.

    Example:
        >>> backend.name == "jax" or training_flops({}, 1) is None
        True
    """
    if backend.name != "jax":
        return None
    import jax

    recipe = facts["recipe"]
    steps = recipe["epochs"] * math.ceil(examples / recipe["batch_size"])
    model = build(facts)
    model.compile(optimizer=recipe_optimizer(recipe, steps))
    model.optimizer.build(model.trainable_variables)
    state = tuple(
        [variable.value for variable in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
    )

    def batch(shape):
        return jax.ShapeDtypeStruct((recipe["batch_size"], *shape), keras.config.floatx())

    x = batch(model.event_shape)
    data = x if model.context_shape is None else (x, batch(model.context_shape))
    lowered = jax.jit(model.train_step).lower(state, data)
    return steps * lowered.cost_analysis()["flops"]
