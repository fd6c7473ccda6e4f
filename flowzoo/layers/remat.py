"""Functions of tensors run within Keras's training phase, and their activations made again."""

import keras
from keras import ops


class Run(keras.layers.Layer):
    """Calls a function, and lets the layers within know whether the model is in training.

    Layers such as dropout learn it from the layer around them. Keras's JAX trainer has none there, and
    a backward pass that runs a function again has none either.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.built = True

    def call(self, inputs, function, training=False):
        return function(*inputs)


class Rematerialize(Run):
    """Calls a function of `layer`, and keeps for the backward pass what goes in and comes out alone.

    The function sees the layer's variables as given values, so that it runs again from the same
    averages and states of seed generators, and what it assigns is assigned once.
    """

    def call(self, inputs, function, layer, training=False):
        # Those that have a gradient come first: TensorFlow warns of integers as arguments.
        variables = sorted(layer.variables, key=lambda v: not keras.backend.is_float_dtype(v.dtype))
        values = [ops.copy(variable) for variable in variables]
        weights = [value for value in values if keras.backend.is_float_dtype(value.dtype)]
        assigned = []

        def again(*arguments):
            given = [*arguments[: len(weights)], *values[len(weights) :]]
            with keras.StatelessScope(state_mapping=list(zip(variables, given, strict=True))) as scope:
                results = Run()(list(arguments[len(weights) :]), function=function, training=training)
                states = [scope.get_current_value(variable) for variable in variables]
            assigned[:] = [i for i, state in enumerate(states) if state is not given[i]]
            return (*results, *(states[i] for i in assigned))

        results = keras.remat(again)(*weights, *inputs)
        count = len(results) - len(assigned)
        for i, state in zip(assigned, results[count:], strict=True):
            variables[i].assign(state)
        return results[:count]
