"""Activations made again in the backward pass."""

import keras
from keras import ops


def rematerialize(layer, x, context, noise, *, forward, training):
    """One pass of a flow layer, of which the backward pass keeps what goes in and comes out alone.

    The pass sees the layer's variables as given values, so that it runs again from the same averages and
    states of seed generators; what it assigns is assigned once, and the losses that it adds, those of
    activity regularizers, are added once.

    Returns: what `forward_and_log_det` or `inverse_and_log_det` gives.
    """
    # Those that have a gradient come first: TensorFlow warns of integers as arguments.
    variables = sorted(layer.variables, key=lambda v: not keras.backend.is_float_dtype(v.dtype))
    values = [ops.copy(variable) for variable in variables]
    weights = [value for value in values if keras.backend.is_float_dtype(value.dtype)]
    inputs = {"x": x, "context": context, "noise": noise}
    inputs = {name: part for name, part in inputs.items() if part is not None}
    assigned = []

    def again(*arguments):
        given = [*arguments[: len(weights)], *values[len(weights) :]]
        keywords = dict(zip(inputs, arguments[len(weights) :], strict=True))
        with keras.StatelessScope(
            state_mapping=list(zip(variables, given, strict=True)), collect_losses=True
        ) as scope:
            results = layer(
                keywords.pop("x"), **keywords, forward=forward, log_det=True, remat=False, training=training
            )
            states = [scope.get_current_value(variable) for variable in variables]
        assigned[:] = [i for i, state in enumerate(states) if state is not given[i]]
        return (*results, *(states[i] for i in assigned), *scope.losses)

    results = keras.remat(again)(*weights, *inputs.values())
    states_and_losses = results[2:]
    for i, state in zip(assigned, states_and_losses, strict=False):
        variables[i].assign(state)
    for loss in states_and_losses[len(assigned) :]:
        layer.add_loss(loss)
    return results[:2]
