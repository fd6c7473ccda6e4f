"""What real data do to a flow: constants, rare and heavy-tailed columns, any units, weights that moved."""

import keras
import numpy as np
import pytest
from cases import IMAGE_MODELS, MODELS
from helpers import data_for, numpy, pixels
from keras import ops

import flowzoo
from flowzoo.layers import ActNorm, BatchNormalization, DiagonalScaling, Standardize
from flowzoo.naming import named_weights
from flowzoo.testing import jacobian_log_det

pytestmark = pytest.mark.compiled  # these train and draw much

# Five columns of 640 rows; the fourth is always a plain one.
PLAIN = np.random.default_rng(0).normal(size=(640, 5))


def with_column(values):
    x = PLAIN.copy()
    x[:, 1] = values
    return x.astype("float32")


random = np.random.default_rng(1)
TABLES = {
    "constant": with_column(3.0),
    "zero": with_column(0.0),
    "constant and large": with_column(1e8),
    "constant in the first rows": with_column(np.where(np.arange(640) < 200, 5.0, random.normal(size=640))),
    "rare and binary": with_column(random.uniform(size=640) < 0.01),
    "one row in 640": with_column(np.arange(640) == 639),
    "lognormal": with_column(np.exp(3 * random.normal(size=640))),
    "all lognormal": np.exp(3 * random.normal(size=(640, 5))).astype("float32"),
    "large": with_column(1e8 + 1e6 * PLAIN[:, 1]),
    "tiny": with_column(1e-8 * PLAIN[:, 1]),
    "copied": with_column(PLAIN[:, 0]),
    "one row many times": np.repeat(PLAIN[:1], 640, axis=0).astype("float32"),
}
FITTED = {
    "RealNVP": lambda: flowzoo.RealNVP(event_shape=5, couplings=4, hidden_units=(8,)),
    "RealNVP, batch": lambda: flowzoo.RealNVP(
        event_shape=5, couplings=4, hidden_units=(8,), normalization="batch"
    ),
    "MAF": lambda: flowzoo.MAF(event_shape=5, autoregressive_layers=3, hidden_units=(8,)),
    "MAF, actnorm, MoG": lambda: flowzoo.MAF(
        event_shape=5, autoregressive_layers=2, hidden_units=(8,), normalization="actnorm", components=2
    ),
}


def fitted(flow, x, *, batch_size=32, epochs=2, context=None, plain=False):
    """The losses of each epoch of training on x, by an optimizer that remembers nothing if `plain`."""
    if not flow.compiled:
        flow.compile(
            optimizer=keras.optimizers.SGD(1e-3, clipnorm=10.0) if plain else keras.optimizers.Adam(1e-3)
        )
    data = x if context is None else (x, context)
    return np.array(flow.fit(data, batch_size=batch_size, epochs=epochs, verbose=0).history["loss"])


# Starting from data.


@pytest.mark.parametrize("kind", [ActNorm, DiagonalScaling])
def test_scales_start_at_the_deviation_and_at_one_for_constants(kind):
    layer = kind()
    layer.build((None, 4))
    x = 7.0 * data_for((4,), n=100)
    x[:, 1], x[:, 2], x[:, 3] = 0.0, 1e8, np.arange(100) == 0
    layer.initialize(ops.convert_to_tensor(x))
    expected = [x[:, 0].std(), 1.0, 1.0, np.sqrt(0.01 * 0.99)]
    np.testing.assert_allclose(np.exp(numpy(layer.log_scale())), expected, rtol=1e-3)
    if kind is ActNorm:
        np.testing.assert_allclose(numpy(layer.shift), x.astype("float64").mean(axis=0), rtol=1e-6)


def test_batch_normalization_takes_a_constant_column_for_one_of_variance_one():
    layer = BatchNormalization(momentum=0.0)
    layer.build((None, 3))
    x = data_for((3,), n=100)
    x[:, 1], x[:, 2] = 0.1, 1e6
    z, log_det = (numpy(part) for part in layer(x, log_det=True, training=True))
    np.testing.assert_allclose(z[:, 1:], 0.0, atol=0.1)
    np.testing.assert_allclose(log_det, -np.log(x[:, 0].std()), atol=1e-4)
    np.testing.assert_allclose(numpy(layer.statistics.variance)[1:], 1.0)


def test_standardize_gives_mean_0_and_variance_1_in_any_units_and_keeps_the_density():
    units = np.array([1.0, 1e6, 1e-8, 3.0], "float64")
    places = np.array([0.0, 1e8, 0.0, 2020.0])
    x = (places + units * data_for((4,), n=500)).astype("float32")
    layer = Standardize()
    layer.build((None, 4))
    assert not layer.trainable_weights
    np.testing.assert_array_equal(numpy(layer(x)), x)
    layer.initialize(ops.convert_to_tensor(x))
    z, log_det = (numpy(part) for part in layer(x, log_det=True))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-3)
    np.testing.assert_allclose(log_det, -np.log(x.astype("float64").std(axis=0)).sum(), rtol=1e-5)
    np.testing.assert_allclose(numpy(layer(z, forward=True)), x, rtol=1e-6, atol=1e-8)
    layer.initialize(ops.convert_to_tensor(2 * x))
    np.testing.assert_array_equal(numpy(layer(x)), z)


def test_standardize_gives_constants_their_size_for_scale():
    layer = Standardize()
    layer.build((None, 3))
    layer.initialize(ops.convert_to_tensor(np.tile(np.float32([[0.0, 1e8, -4.0]]), (10, 1))))
    z = numpy(layer(np.float32([[2.0, 1.5e8, -4.0]])))
    np.testing.assert_allclose(z, [[2.0, 0.5, 0.0]], rtol=1e-5)


@pytest.mark.parametrize("kind", ["array", "generator", "dataset"])
def test_fit_starts_from_more_rows_than_a_batch_and_loses_none(kind):
    x = np.sort(data_for((2,), n=64), axis=0)
    x[:4] = 9.0  # a first batch that is no measure
    flow = flowzoo.Flow([ActNorm()], event_shape=2)
    flow.compile(optimizer=keras.optimizers.SGD(0.0))
    seen = []

    class Count(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs):
            seen.append(batch)

    if kind == "array":
        flow.fit(x, batch_size=4, verbose=0, callbacks=[Count()])
    elif kind == "generator":
        flow.fit(((x[i : i + 4],) for i in range(0, 64, 4)), verbose=0, callbacks=[Count()])
    else:
        batches = flowzoo.datasets.Batches(x, batch_size=4, shuffle=False)
        flow.fit(batches, verbose=0, callbacks=[Count()])
    assert len(seen) == 16
    np.testing.assert_allclose(numpy(flow.flow_layers[0].shift), x.mean(axis=0), atol=1e-4)


def test_fit_starts_from_rows_all_over_a_sorted_table():
    x = np.linspace(-1, 1, 50000, dtype="float32")[:, None] * np.ones((1, 2), "float32")
    flow = flowzoo.Flow([Standardize()], event_shape=2)
    flow.compile(optimizer="sgd")
    flow._initialize_from({"x": x}, 32)
    np.testing.assert_allclose(numpy(flow.flow_layers[0].statistics.mean), 0.0, atol=1e-3)


@pytest.mark.parametrize("name", FITTED)
def test_every_table_trains_to_finite_densities(name):
    flow = FITTED[name]()
    start = flow.get_weights()
    for table, x in TABLES.items():
        flow.set_weights(start)
        losses = fitted(flow, x)
        assert np.isfinite(losses).all(), (table, losses)
        assert np.isfinite(numpy(flow.log_prob(x))).all(), table
        assert np.isfinite(numpy(flow.sample(10, seed=0))).all(), table


@pytest.mark.parametrize("name", ["RealNVP", "RealNVP, batch"])
def test_batches_of_one_train(name):
    flow = FITTED[name]()
    losses = fitted(flow, TABLES["large"][:40], batch_size=1)
    assert np.isfinite(losses).all()
    assert losses[-1] < 30  # the best is 7.1 + log(1e6) = 20.9
    one = FITTED[name]()
    one.compile(optimizer="adam")
    assert np.isfinite(one.fit(((x[None],) for x in TABLES["large"][:40]), verbose=0).history["loss"]).all()


# Units.


@pytest.mark.parametrize("name", ["NICE", "RealNVP", "MAF", "IAF"])
def test_units_change_the_loss_by_their_logarithm_alone(name):
    table = data_for((3,), n=256)
    table[:, 1] += table[:, 0] ** 2
    losses = []
    flow = MODELS[name]()
    start = flow.get_weights()
    for place, unit in ((0.0, 1.0), (2020.0, 3.0), (0.0, 1e-8), (1e8, 1e6)):
        flow.set_weights(start)
        keras.utils.set_random_seed(0)  # of the order of the data
        losses.append(fitted(flow, place + unit * table, epochs=3, plain=True) - 3 * np.log(unit))
    np.testing.assert_allclose(losses[1:], [losses[0]] * 3, atol=0.02)


@pytest.mark.parametrize("name", ["RealNVP", "MAF"])
def test_units_of_a_context_do_not_matter(name):
    table, context = data_for((3,), n=256), data_for((2,), n=256, seed=1)
    table[:, :2] += 2 * context
    losses = []
    flow = MODELS[name](context_shape=2)
    start = flow.get_weights()
    for place, unit in ((0.0, 1.0), (2020.0, 3.0), (1e8, 1e6)):
        flow.set_weights(start)
        keras.utils.set_random_seed(0)  # of the order of the data
        losses.append(fitted(flow, table, context=place + unit * context, epochs=3, plain=True))
    np.testing.assert_allclose(losses[1:], [losses[0]] * 2, atol=0.02)


def test_a_context_of_an_image_flow_is_standardized_but_labels_are_not():
    flow = IMAGE_MODELS["Glow, spline, conditional"]()
    flow.initialize(pixels((4, 4, 1), n=64), 2020 + 3 * data_for((2,), n=64))
    np.testing.assert_allclose(numpy(flow.context_statistics.mean), 2020, rtol=1e-3)
    assert IMAGE_MODELS["Glow, classes"]().context_statistics is None


def test_large_statistics_survive_publishing_in_16_bits(tmp_path):
    flow = MODELS["MAF"]()
    x = (1e8 + 1e6 * data_for((3,), n=64)).astype("float32")
    flow.initialize(x)
    flowzoo.save_pretrained(flow, tmp_path / "large", description="Small.", licence="Apache-2.0")
    loaded = flowzoo.load(tmp_path / "large")
    np.testing.assert_allclose(numpy(loaded.log_prob(x)), numpy(flow.log_prob(x)), rtol=1e-2)


@pytest.mark.parametrize("name", ["NICE", "RealNVP", "MAF", "IAF"])
def test_flows_without_standardizing_can_be_had(name):
    flow = MODELS[name](standardize=False, context_shape=2)
    assert not any(isinstance(layer, Standardize) for layer in flow.flow_layers)
    assert flow.context_statistics is None
    assert flow.get_config()["standardize"] is False


# Weights that moved.


def moved(flow, deviation):
    """`flow` with all its weights moved by normal numbers."""
    random = np.random.default_rng(0)
    for weight in flow.weights:
        if keras.backend.is_float_dtype(weight.dtype):
            weight.assign(weight + ops.cast(deviation * random.normal(size=weight.shape), weight.dtype))
    return flow


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: flowzoo.NICE(event_shape=4),
        lambda: flowzoo.RealNVP(event_shape=4),
        lambda: flowzoo.RealNVP(event_shape=4, coupling="affine"),
        lambda: flowzoo.RealNVP(event_shape=4, normalization="batch"),
        lambda: flowzoo.MAF(event_shape=4),
        lambda: flowzoo.MAF(event_shape=4, transformer="affine"),
        lambda: flowzoo.MAF(event_shape=4, components=10),
        lambda: flowzoo.IAF(event_shape=4),
        lambda: flowzoo.IAF(event_shape=4, transformer="gated"),
    ],
    ids=[
        "NICE",
        "RealNVP",
        "RealNVP, affine",
        "RealNVP, batch",
        "MAF",
        "MAF, affine",
        "MAF MoG",
        "IAF",
        "IAF, gated",
    ],
)
def test_vector_models_are_bijective_and_finite_with_weights_moved_by_a_twentieth(make):
    flow = moved(make(), 0.05)
    z = x = data_for((4,), n=20)
    for there, back, given in (
        (flow.forward_and_log_det, flow.inverse_and_log_det, z),
        (flow.inverse_and_log_det, flow.forward_and_log_det, x),
    ):
        between, log_det = there(given)
        again, opposite = back(between)
        assert np.abs(numpy(between)).max() < 200
        np.testing.assert_allclose(numpy(again), given, atol=1e-4)
        np.testing.assert_allclose(numpy(opposite), -numpy(log_det), atol=1e-4)
        expected = jacobian_log_det(lambda v, there=there: there(v)[0], given)
        np.testing.assert_allclose(numpy(log_det), expected, atol=1e-3)


def test_a_glow_starts_without_exploding_and_its_images_come_back_even_from_weights_that_moved():
    x = pixels((8, 8, 3), n=64)
    flow = flowzoo.Glow(event_shape=(8, 8, 3), levels=2, steps=4, hidden_channels=256)
    flow.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=False)
    losses = flow.fit(x, epochs=3, verbose=0).history["loss"]
    gaussian = 192 * np.log(256 * np.sqrt(np.pi * np.e / 6))  # of the uniform's variance: 1099 nats
    assert max(losses) < 1.01 * gaussian
    np.testing.assert_array_equal(numpy(flow.round_trip_error(x, seed=0)), 0)
    np.testing.assert_array_equal(numpy(moved(flow, 0.01).round_trip_error(x, seed=0)), 0)


@pytest.mark.parametrize(("flow", "argument"), [("MAF", "transformer"), ("RealNVP", "coupling")])
def test_a_flow_of_a_config_from_before_latent_shifts_keeps_its_numbers(flow, argument):
    flow = getattr(flowzoo, flow)
    config = flow(event_shape=4, hidden_units=(8,)).get_config()
    assert config.pop(argument) == "latent_affine"
    assert getattr(flow.from_config(config), argument) == "affine"


def test_a_glow_of_a_config_from_before_linear_factor_keeps_its_numbers():
    config = flowzoo.Glow(event_shape=(4, 4, 1), levels=1, steps=1, hidden_channels=4).get_config()
    assert config.pop("linear_factor") == 0.1
    assert flowzoo.Glow.from_config(config).linear_factor == 1.0


def test_images_of_realnvp_come_back_from_weights_that_moved():
    flow = flowzoo.RealNVP(event_shape=(8, 8, 3), hidden_channels=8, blocks=1)
    x = pixels((8, 8, 3), n=64)
    flow.initialize(x)
    np.testing.assert_array_equal(numpy(moved(flow, 0.01).round_trip_error(x, seed=0)), 0)


def test_the_round_trip_error_is_that_of_decoding_what_was_encoded():
    flow = moved(flowzoo.RealNVP(event_shape=4, log_scale_bound=4.0, hidden_units=(16,)), 0.2)
    x = data_for((4,), n=8)
    error = numpy(flow.round_trip_error(x, batch_size=8))
    np.testing.assert_allclose(
        error, np.abs(numpy(flow.decode(flow.encode(x))) - x).max(axis=1), rtol=0.5, atol=1e-5
    )
    assert error.max() > 1e-4
    flow = IMAGE_MODELS["Glow, additive, matrix, no learned prior, 5 bits"]()
    x = pixels(flow.event_shape, n=4)
    np.testing.assert_array_equal(numpy(flow.round_trip_error(x, seed=0)), 0)
    flow.decode = lambda z, context=None, **others: np.full((4, 8, 8, 3), 16, "uint8")
    expected = np.abs(16.0 - x // 8 * 8).max(axis=(1, 2, 3))
    np.testing.assert_array_equal(numpy(flow.round_trip_error(x, seed=0)), expected)


# Starting weights.


@pytest.mark.parametrize(
    "make",
    [
        lambda: flowzoo.layers.MaskedAutoregressive(hidden_units=(256, 256), initializer="uniform"),
        lambda: flowzoo.layers.AffineCoupling(
            flowzoo.networks.MLP((256, 256), initializer="uniform"), head_initializer="uniform"
        ),
    ],
    ids=["MADE", "MLP"],
)
def test_uniform_weights_start_within_one_over_the_root_of_the_inputs(make):
    layer = make()
    layer.build((None, 4))
    inputs = 4 if isinstance(layer, flowzoo.layers.MaskedAutoregressive) else 2
    weights = {name: weight for name, weight in named_weights(layer).items() if "degrees" not in name}
    assert len(weights) == 6
    for name, weight in weights.items():
        first = "hidden_0" in name or name.endswith(("kernel_0", "bias_0"))
        values = numpy(weight) * np.sqrt(inputs if first else 256)
        assert 0.3 < np.abs(values).max() <= 1, name


@pytest.mark.parametrize("kind", ["coupling", "autoregressive"])
def test_log_scales_start_at_a_tenth_of_shifts(kind):
    if kind == "coupling":
        layer = flowzoo.layers.AffineCoupling(head_initializer="uniform")
        layer.build((None, 20))
        weights = layer.head.weights
    else:
        layer = flowzoo.layers.MaskedAutoregressive(initializer="uniform")
        layer.build((None, 20))
        weights = [layer.made.output_kernel, layer.made.output_bias]
    for weight in weights:
        shift, log_scale = np.split(8 * numpy(weight), 2, axis=-1)  # 64 inputs
        assert 0.6 < np.abs(shift).max() <= 1
        assert 0.06 < np.abs(log_scale).max() <= 0.1


@pytest.mark.parametrize("width", [4, 8, 64])
def test_a_realnvp_of_any_width_starts_with_samples_of_the_size_of_its_latents(width):
    for size in (2, 10):
        flow = flowzoo.RealNVP(event_shape=size, hidden_units=(width,))
        assert 0.5 < numpy(flow.sample(1000, seed=0)).std() < 2.0


def test_vector_models_start_uniform_and_image_models_at_the_identity():
    for kind, expected in ((flowzoo.NICE, "uniform"), (flowzoo.RealNVP, "uniform"), (flowzoo.MAF, "uniform")):
        text = str(kind(event_shape=4, hidden_units=(8,)).chain.get_config())
        assert f"'initializer': '{expected}'" in text
        assert "'initializer': 'he_normal'" not in text
    assert flowzoo.MAF(event_shape=(2, 2, 1), hidden_units=(8,)).flow_layers[0].initializer == "he_normal"
    assert flowzoo.NICE(event_shape=(2, 2, 1)).flow_layers[1].head_initializer == "zeros"
    assert flowzoo.IAF(event_shape=4).flow_layers[0].layer.initializer == "he_normal"
    for shape, transformer in ((4, "latent_affine"), ((2, 2, 1), "affine")):
        flow = flowzoo.MAF(event_shape=shape, hidden_units=(8,))
        assert flow.flow_layers[0].given_transformer == flow.transformer == transformer
