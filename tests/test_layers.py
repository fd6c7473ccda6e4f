import keras
import numpy as np
import pytest
from cases import CONDITIONAL_LAYERS, LAYERS
from helpers import data_for, numpy, pass_for_each_dimension
from keras import ops

import flowzoo
from flowzoo import backend, layers
from flowzoo.networks import MADE, MLP, ResidualMLP
from flowzoo.testing import check_flow_layer, gradients, perturb


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer(name):
    make, shape, unit = LAYERS[name]
    # Of one dimension, MADE lets nothing see the input.
    unreached = ("kernel_0",) if shape == (1,) else ()
    context = data_for((2,), seed=1) if name in CONDITIONAL_LAYERS else None  # models have these without
    check_flow_layer(make(), data_for(shape, unit=unit), context=context, without_gradient=unreached)


@pytest.mark.parametrize("name", ["additive coupling", "affine coupling", "autoregressive"])
def test_new_conditioned_layers_are_the_identity(name):
    make, shape, _ = LAYERS[name]
    layer = make()
    layer.build((None, *shape))
    x = data_for(shape)
    z, log_det = layer.inverse_and_log_det(ops.convert_to_tensor(x))
    np.testing.assert_array_equal(numpy(z), x)
    np.testing.assert_array_equal(numpy(log_det), np.zeros(len(x)))


def test_additive_coupling_preserves_volume():
    layer = layers.AdditiveCoupling(MLP((16,)))
    layer.build((None, 4))
    perturb(layer)
    assert not numpy(layer.inverse_and_log_det(ops.convert_to_tensor(data_for((4,))))[1]).any()


def test_affine_scales_stay_within_their_bound():
    layer = layers.AffineCoupling(MLP((16,)), log_scale_bound=2.0)
    layer.build((None, 4))
    perturb(layer, scale=1000.0)
    assert np.abs(numpy(layer.forward_and_log_det(ops.convert_to_tensor(data_for((4,))))[1])).max() <= 2 * 2.0


def test_mixture_has_the_mixture_density():
    layer = layers.MaskedAutoregressive(transformer="mixture", components=3, hidden_units=(8,))
    layer.build((None, 1))
    perturb(layer)
    x = np.linspace(-30, 30, 400, dtype="float32")[:, None]  # far into both tails
    z, log_det = layer.inverse_and_log_det(ops.convert_to_tensor(x))
    log_prob = numpy(log_det - 0.5 * z[:, 0] ** 2 - 0.5 * np.log(2 * np.pi))
    logits, means, raw = numpy(layer.made(ops.convert_to_tensor(x)))[0].reshape(3, 3).astype("float64")
    weights = np.exp(logits) / np.exp(logits).sum()
    means, scales = np.add(means, [-0.5, 0.0, 0.5]), np.exp(2 * np.tanh(raw / 2))
    expected = np.log(
        np.sum(weights * np.exp(-0.5 * ((x - means) / scales) ** 2) / (scales * np.sqrt(2 * np.pi)), axis=1)
    )
    np.testing.assert_allclose(log_prob, expected, rtol=1e-4, atol=1e-3)


def test_actnorm_starts_from_the_first_batch_alone():
    layer = layers.ActNorm()
    layer.build((None, 3))
    x = 5.0 + 2.0 * data_for((3,), n=200)
    layer.initialize(ops.convert_to_tensor(x))
    z = numpy(layer(x))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-4)
    layer.initialize(ops.convert_to_tensor(x * 10))
    np.testing.assert_array_equal(numpy(layer(x)), z)


def test_batch_normalization_uses_the_batch_in_training_and_averages_elsewhere():
    layer = layers.BatchNormalization(momentum=0.0)
    layer.build((None, 3))
    x = 5.0 + 2.0 * data_for((3,), n=200)
    z = numpy(layer(x, training=True))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-3)
    np.testing.assert_allclose(numpy(layer.statistics.mean), x.mean(axis=0), rtol=1e-4)
    one = numpy(layer(x[:1], training=False))
    np.testing.assert_allclose(one, z[:1], atol=1e-3)


def test_invertible_linear_starts_as_a_rotation():
    layer = layers.InvertibleLinear(seed=3)
    layer.build((None, 6))
    matrix = numpy(layer(np.eye(6, dtype="float32")))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(6), atol=1e-5)
    again = layers.InvertibleLinear(seed=3)
    again.build((None, 6))
    np.testing.assert_array_equal(numpy(again(np.eye(6, dtype="float32"))), matrix)


@pytest.mark.parametrize("parametrization", ["plu", "matrix"])
def test_the_weights_of_an_invertible_linear_move_it_by_its_factor(parametrization):
    x, found = data_for((4,)), []
    for factor in (1.0, 0.1):
        layer = layers.InvertibleLinear(parametrization=parametrization, factor=factor, seed=3)
        layer.build((None, 4))
        (weight,) = layer.trainable_weights
        start = numpy(layer(x))
        weight.assign(weight + 0.02 / factor)
        found.append((start, *map(numpy, layer(x, log_det=True))))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert not np.allclose(found[0][0], found[0][1], atol=1e-2)


def test_dequantize_adds_the_noise_that_it_is_given_and_gives_the_integers_back():
    random = np.random.default_rng(0)
    layer = layers.Dequantize(256)
    layer.build((None, 1000))
    assert layer.noise_shape == (1000,)
    x = random.integers(0, 256, (20, 1000)).astype("float32")
    noise = ((random.integers(0, 256, x.shape) + 0.5) / 256).astype("float32")
    z, log_det = layer.inverse_and_log_det(ops.convert_to_tensor(x), None, ops.convert_to_tensor(noise))
    np.testing.assert_array_equal(numpy(z), x + noise)
    assert not numpy(log_det).any()
    real, log_det = layer.forward_and_log_det(z)
    np.testing.assert_array_equal(numpy(real), x + noise - 0.5)
    assert not numpy(log_det).any()
    np.testing.assert_array_equal(numpy(layer.whole(real)), x)
    np.testing.assert_array_equal(numpy(layer(x)), x + 0.5)
    z, _ = layer.inverse_and_log_det(x + 0.7, None, noise)
    np.testing.assert_array_equal(numpy(z), x + noise)  # what is no integer loses its fraction


def test_a_flow_draws_its_noise_over_the_whole_interval():
    flow = flowzoo.Flow([layers.Dequantize(4)], event_shape=1000)
    noise = numpy(flow.encode(np.zeros((20, 1000)), seed=0))
    assert 0 < noise.min() < noise.max() < 1
    np.testing.assert_allclose(np.quantile(noise, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.02)


@pytest.mark.parametrize("order", ["natural", "reversed", "random"])
@pytest.mark.parametrize("conditional", [False, True])
def test_made_respects_its_order(order, conditional):
    made = MADE(2, hidden_units=(15, 20), activation="tanh", order=order)
    made.build((None, 5), (None, 2) if conditional else None)
    perturb(made)
    context = ops.ones((1, 2)) if conditional else None
    x = data_for((5,), n=1)
    base = numpy(made(x, context)).reshape(2, 5)
    places = numpy(made.degrees)
    for i in range(5):
        moved = x.copy()
        moved[0, i] += 1.0
        changed = np.abs(numpy(made(moved, context)).reshape(2, 5) - base).max(axis=0) > 0
        np.testing.assert_array_equal(changed, places > places[i])


def test_made_context_reaches_every_dimension():
    made = MADE(1, hidden_units=(16,))
    made.build((None, 3), (None, 2))
    perturb(made)
    x = data_for((3,), n=1)
    difference = numpy(made(x, ops.ones((1, 2)))) - numpy(made(x, ops.zeros((1, 2))))
    assert (difference != 0).all()


@pytest.mark.parametrize(
    ("size", "conditional", "arguments"),
    [
        (1, False, {"hidden_units": (8,)}),
        (5, True, {"hidden_units": (8, 8), "order": "natural"}),
        (5, False, {"hidden_units": (17,), "order": "reversed", "activation": "tanh"}),
        (7, True, {"hidden_units": (3,)}),
        (6, False, {"hidden_units": (20, 4, 13), "activation": "gelu"}),
        (2, True, {"hidden_units": (1, 5)}),
        (4, True, {"hidden_units": (16,), "transformer": "gated"}),
    ],
)
def test_autoregressive_sampling_equals_a_pass_for_each_dimension(size, conditional, arguments):
    layer = layers.MaskedAutoregressive(**{"order": "random", **arguments})
    layer.build((None, size), (None, 2) if conditional else None)
    perturb(layer)
    inputs = [keras.Variable(data_for((size,)))]
    inputs += [keras.Variable(data_for((2,), seed=1))] if conditional else []

    def values(method):
        return method(*(ops.convert_to_tensor(value) for value in inputs))

    def pass_by_pass(*tensors):
        return pass_for_each_dimension(layer, *tensors)

    expected = values(pass_by_pass)
    for value, reference in zip(values(layer.forward_and_log_det), expected, strict=True):
        np.testing.assert_allclose(numpy(value), numpy(reference), rtol=1e-4, atol=1e-5)

    def gradients_of(method):
        def loss():
            x, log_det = values(method)
            return ops.sum(ops.sin(3 * x)) + ops.sum(ops.square(log_det))

        found = gradients([*inputs, *layer.trainable_weights], loss)
        return [0.0 if gradient is None else gradient for gradient in found]

    for found, reference in zip(
        gradients_of(layer.forward_and_log_det), gradients_of(pass_by_pass), strict=True
    ):
        scale = np.abs(reference).max()
        np.testing.assert_allclose(found, reference, rtol=1e-3, atol=1e-6 + 1e-4 * scale)


@pytest.mark.skipif(backend.name != "tensorflow", reason="other backends have no sparse gradients")
def test_autoregressive_sampling_has_dense_gradients():
    import tensorflow as tf

    layer = layers.MaskedAutoregressive(hidden_units=(8, 8))
    layer.build((None, 3))
    with tf.GradientTape() as tape:
        loss = ops.sum(layer.forward_and_log_det(ops.convert_to_tensor(data_for((3,))))[0])
    found = tape.gradient(loss, [weight.value for weight in layer.trainable_weights])
    assert not any(isinstance(gradient, tf.IndexedSlices) for gradient in found)


@pytest.mark.parametrize(("policy", "tolerance"), [("mixed_bfloat16", 0.03), ("mixed_float16", 0.003)])
def test_autoregressive_sampling_rounds_as_the_density_does(policy, tolerance):
    layer = layers.MaskedAutoregressive(hidden_units=(64, 64), dtype=policy)
    layer.build((None, 16), (None, 2))
    perturb(layer, scale=0.3)
    x, context = ops.convert_to_tensor(data_for((16,))), ops.convert_to_tensor(data_for((2,), seed=1))
    z, log_det = layer.inverse_and_log_det(x, context)
    back, back_log_det = layer.forward_and_log_det(z, context)
    assert keras.backend.standardize_dtype(back.dtype) == "float32"
    np.testing.assert_allclose(numpy(back), numpy(x), atol=tolerance)
    np.testing.assert_allclose(numpy(back_log_det), -numpy(log_det), atol=tolerance)


@pytest.mark.parametrize(
    "network", [MLP((8, 4), dropout=0.5), ResidualMLP(4, blocks=3)], ids=["MLP", "ResidualMLP"]
)
def test_networks_build_run_and_rebuild(network):
    network.build((None, 3))
    assert tuple(network(np.ones((5, 3), "float32")).shape) == (5, 4)
    assert network.compute_output_shape((None, 3)) == (None, 4)
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(network))
    assert twin.get_config() == network.get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.AffineCoupling(network=lambda x: x), "network must be a Keras layer"),
        (lambda: layers.AffineCoupling().build((None, 1)), "at least 2 dimensions"),
        (lambda: layers.MaskedAutoregressive(hidden_units=()), "hidden_units"),
        (lambda: layers.MaskedAutoregressive(hidden_units=(0,)), "positive integer"),
        (lambda: layers.MaskedAutoregressive(order="sideways"), "order must be one of"),
        (lambda: layers.MaskedAutoregressive(transformer="cubic"), "transformer must be one of"),
        (lambda: layers.MaskedAutoregressive().build((None, 2, 2)), "works on vectors"),
        (lambda: layers.Invert("layer"), "Invert takes a flow layer"),
        (lambda: layers.Permutation("sorted"), "order must be one of"),
        (lambda: layers.Permutation([0, 0, 1]), "each number from 0 to 2 once"),
        (lambda: layers.Permutation([1, 0]).build((None, 3)), "order has 2 places"),
        (lambda: layers.BatchNormalization(momentum=1.5), "momentum must lie"),
        (lambda: layers.Dequantize(0), "positive integer"),
        (lambda: layers.Rescale(0.0), "scale must be finite and not 0"),
        (lambda: layers.Logit(0.7), r"alpha must lie in \[0, 0.5\)"),
        (lambda: layers.Reshape((5,)).build((None, 2, 2)), "holds 5 numbers"),
        (lambda: layers.DiagonalScaling(epsilon=0), "epsilon must be positive"),
        (lambda: layers.TFPBijector("NoSuchBijector"), "must name a class of tfp.bijectors"),
        (lambda: layers.TFPBijector("Softplus", {"nonsense": 1}), "does not take the arguments"),
        (lambda: MLP(hidden_units="wide"), "hidden_units must be"),
        (lambda: ResidualMLP(0), "units must be a positive integer"),
    ],
)
def test_bad_arguments_are_explained(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_layer_builds_itself_when_it_is_called():
    layer = layers.MaskedAutoregressive(hidden_units=(8,))
    x, context = data_for((3,)), data_for((2,), seed=1)
    assert tuple(layer(x, context).shape) == (4, 3)
    assert layer.made.context_kernel is not None
