"""In which precision numbers are multiplied, as JAX is told: a GPU's default for float32 is TF32."""

import keras
import numpy as np
import pytest
from cases import CONDITIONAL_LAYERS, LAYERS
from helpers import data_for
from keras import ops

import flowzoo
from flowzoo import backend, layers

pytestmark = pytest.mark.skipif(backend.name != "jax", reason="TensorFlow's precision is that of the process")


def products(function, *arguments):
    """Of each product in what JAX traces of a function, its precision and the dtype of its first factor."""
    import jax

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name in ("dot_general", "conv_general_dilated"):
                yield equation.params["precision"], str(equation.invars[0].aval.dtype)
            for inner in jax.tree.leaves(
                equation.params, is_leaf=lambda part: hasattr(part, "eqns") or hasattr(part, "jaxpr")
            ):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from walk(inner)

    return list(walk(jax.make_jaxpr(function)(*arguments).jaxpr))


def both_directions(layer, shape, context=None):
    """The products of both passes of a layer, which are traced and not run."""
    import jax

    layer.build((None, *shape), None if context is None else (None, *context.shape[1:]))
    x = ops.convert_to_tensor(data_for(shape))
    z, _ = jax.eval_shape(layer.inverse_and_log_det, x, context)
    return products(layer.inverse_and_log_det, x, context) + products(layer.forward_and_log_det, z, context)


def are_exact(found):
    import jax

    return all(precision == (jax.lax.Precision.HIGHEST,) * 2 for precision, _ in found)


@pytest.mark.parametrize("name", LAYERS)
def test_both_directions_of_every_layer_multiply_in_full_precision(name):
    make, shape, _ = LAYERS[name]
    layer, context = make(), data_for((2,)) if name in CONDITIONAL_LAYERS else None
    found = both_directions(layer, shape, context)
    assert are_exact(found)
    assert bool(found) == any(len(weight.shape) > 1 for weight in layer.weights)


def test_a_layer_of_ones_own_and_a_context_network_do_too():
    class Turn(layers.FlowLayer):
        matrix = np.eye(2, dtype="float32")

        def forward_and_log_det(self, z, context=None):
            return ops.matmul(z, self.matrix), self.per_example(0.0, z)

        def inverse_and_log_det(self, x, context=None):
            return ops.matmul(x, self.matrix), self.per_example(0.0, x)

    found = both_directions(Turn(), (2,))
    assert len(found) == 2
    assert are_exact(found)
    flow = flowzoo.Flow([Turn()], event_shape=2, context_shape=3, context_network=keras.layers.Dense(1))
    found = products(flow.log_prob, data_for((2,)), data_for((3,)))
    assert len(found) == 2
    assert are_exact(found)


def test_networks_of_mixed_precision_multiply_in_16_bits():
    for network, shape in (
        (flowzoo.networks.MLP((8,), dtype="mixed_bfloat16"), (4,)),
        (flowzoo.networks.ConvNet(8, dtype="mixed_bfloat16"), (4, 4, 4)),
    ):
        layer = layers.AffineCoupling(network, dtype="mixed_bfloat16")
        found = both_directions(layer, shape)
        assert found
        assert {dtype for _, dtype in found} == {"bfloat16"}
