import json
import os

import keras
import numpy as np
import pytest
from cases import MODELS
from helpers import compiled_mixtures, data_for, numpy, restored, run_python
from keras import ops

import flowzoo
from flowzoo import backend
from flowzoo.metrics import bits_per_dim
from flowzoo.testing import check_gradients, jacobian_log_det, perturb

# Plain models with a context and without, variants (after a comma) with one.
CASES = [
    (name, conditional) for name in MODELS for conditional in ((True,) if "," in name else (False, True))
]


def named(case):
    return case[0] + (", conditional" if case[1] else "")


@pytest.fixture(scope="module", params=compiled_mixtures(CASES), ids=named)
def shared(request):
    """A model with perturbed weights, data and context (or None) for it."""
    keras.utils.set_random_seed(0)
    name, conditional = request.param
    model = MODELS[name](context_shape=2 if conditional else None)
    perturb(model, scale=0.3)
    return model, data_for(model.event_shape), data_for((2,), seed=1) if conditional else None


@pytest.fixture
def case(shared):
    yield from restored(*shared)


def test_encode_and_decode_are_inverses(case):
    model, x, context = case
    z = model.encode(x, context)
    assert tuple(z.shape) == (len(x), model.dimensions)
    np.testing.assert_allclose(numpy(model.decode(z, context)), x, atol=1e-4)
    z = data_for((model.dimensions,), seed=2)
    np.testing.assert_allclose(numpy(model.encode(model.decode(z, context), context)), z, atol=1e-4)


def test_log_prob_is_the_base_density_and_the_jacobian(case):
    model, x, context = case
    log_prob = numpy(model.log_prob(x, context))
    base = numpy(model.base_distribution.log_prob(model.encode(x, context)))
    context = None if context is None else ops.convert_to_tensor(context)
    log_det = jacobian_log_det(lambda v: model.inverse_and_log_det(v, context)[0], x)
    np.testing.assert_allclose(log_prob, base + log_det, atol=1e-4)


def test_every_weight_is_tracked_and_gets_a_gradient(case):
    model, x, context = case
    of_context = 0 if model.context_statistics is None else len(model.context_statistics.weights)
    others = of_context + len(model.base_layer.weights)
    assert len(model.weights) == others + sum(len(layer.weights) for layer in model.layers)
    assert model.trainable_weights
    check_gradients(model.trainable_weights, lambda: -ops.mean(model.log_prob(x, context)))


def test_the_tfp_distribution_agrees(case):
    model, x, context = case
    keywords = {} if context is None else {"context": context}
    log_prob = numpy(model.log_prob(x, context))
    np.testing.assert_allclose(numpy(model.distribution.log_prob(x, **keywords)), log_prob, rtol=1e-5)
    key = backend.random_key(0)
    sample = model.distribution.sample(4, seed=key, **keywords)
    assert tuple(sample.shape) == (4, *model.event_shape)
    np.testing.assert_allclose(
        numpy(model.distribution.log_prob(sample, **keywords)),
        numpy(model.log_prob(sample, context)),
        rtol=1e-5,
    )


TRAINED = [
    ("NICE", True),
    ("RealNVP", False),
    ("MAF", True),
    ("MAF MoG", False),
    ("IAF", True),
    ("NSF", True),
]


@pytest.mark.parametrize("shared", compiled_mixtures(TRAINED), ids=named, indirect=True)
def test_fit_lowers_the_loss(case):
    model, _, context = case
    # With XLA and without, but on JAX, which without XLA runs each operation by itself.
    jit_compile = backend.name == "jax" or context is not None
    x = 2.0 + 0.5 * data_for(model.event_shape, n=128)
    context = None if context is None else data_for((2,), n=128, seed=1)
    model.compile(optimizer=keras.optimizers.Adam(5e-3), jit_compile=jit_compile)
    data = x if context is None else (x, context)
    history = model.fit(data, batch_size=64, epochs=4, validation_data=(data,), verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert np.isfinite(history["val_loss"]).all()
    evaluated = model.evaluate(data, batch_size=64, verbose=0)
    np.testing.assert_allclose(evaluated, -np.mean(numpy(model.log_prob(x, context))), rtol=1e-4)
    np.testing.assert_allclose(
        model.predict(data, batch_size=64, verbose=0),
        numpy(model.log_prob(x, context)),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("shared", compiled_mixtures(TRAINED), ids=named, indirect=True)
def test_a_batch_of_one(case):
    model, x, context = case
    part = None if context is None else context[:1]
    np.testing.assert_allclose(
        numpy(model.log_prob(x[:1], part)), numpy(model.log_prob(x, context))[:1], rtol=1e-4, atol=1e-5
    )
    assert tuple(model.sample(1, part).shape) == (1, *model.event_shape)
    model.compile(optimizer="sgd")
    model.fit(x[:1] if context is None else (x[:1], part), batch_size=1, verbose=0)


def test_sampling_is_seeded_and_takes_a_temperature(case):
    model, _, context = case
    np.testing.assert_array_equal(
        numpy(model.sample(4, context, seed=1)), numpy(model.sample(4, context, seed=1))
    )
    assert not np.array_equal(numpy(model.sample(4, context)), numpy(model.sample(4, context)))
    cold = numpy(model.sample(4, context, temperature=0.0))
    np.testing.assert_allclose(cold, numpy(model.decode(np.zeros((4, model.dimensions)), context)), atol=1e-6)


LOAD_AND_EVALUATE = """
import json, sys
import keras, numpy as np
import flowzoo
found = {}
for name, path in json.loads(sys.argv[1]).items():
    model = keras.models.load_model(path + ".keras")
    x, context = np.load(path + ".x.npy"), np.load(path + ".context.npy")
    context = context if model.context_shape else None
    found[name] = np.asarray(keras.ops.convert_to_numpy(model.log_prob(x, context))).tolist()
print(json.dumps(found))
"""


@pytest.mark.xla  # as the new process has it
def test_log_prob_is_the_same_in_a_new_process(tmp_path):
    paths, expected = {}, {}
    for i, (name, conditional) in enumerate(CASES):
        model = MODELS[name](context_shape=2 if conditional else None)
        perturb(model, seed=i, scale=0.3)
        x, context = data_for(model.event_shape, n=8), data_for((2,), n=8, seed=1)
        path = str(tmp_path / str(i))
        np.save(path + ".x.npy", x)
        np.save(path + ".context.npy", context)
        model.save(path + ".keras")
        paths[str(i)] = path
        expected[str(i)] = numpy(model.log_prob(x, context if conditional else None))
    found = json.loads(run_python(LOAD_AND_EVALUATE, json.dumps(paths)).splitlines()[-1])
    for i, log_prob in expected.items():
        np.testing.assert_allclose(found[i], log_prob, rtol=1e-6, err_msg=str(CASES[int(i)]))


IN_FLOAT64 = """
import json, sys
sys.path.insert(0, sys.argv[1])
import keras, numpy as np
keras.config.set_floatx("float64")
import flowzoo
from cases import MODELS
from helpers import data_for, numpy
from flowzoo.testing import perturb
for name, make in MODELS.items():
    model = make()
    perturb(model, scale=0.3)
    x = data_for(model.event_shape).astype("float64")
    log_prob = model.log_prob(x)
    assert keras.backend.standardize_dtype(log_prob.dtype) == "float64", name
    error = np.abs(numpy(model.decode(model.encode(x))) - x).max()
    assert error < (1e-6 if "MoG" in name else 1e-10), (name, error)
    assert np.allclose(numpy(model.distribution.log_prob(x)), numpy(log_prob), rtol=1e-12), name
model.compile(optimizer="adam")
model.fit(x, verbose=0)
"""


@pytest.mark.slow
def test_float64():
    run_python(IN_FLOAT64, os.path.dirname(__file__), JAX_ENABLE_X64="1")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_mixed_precision_trains_as_long_as_you_like_and_keeps_densities(name):
    policy = ("mixed_bfloat16", "mixed_float16")[list(MODELS).index(name) % 2]
    model, plain = MODELS[name](dtype=policy), MODELS[name]()
    x = data_for(model.event_shape, n=3200)
    x = x + x[:, ::-1] ** 2 / 2
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    losses = model.fit(x, batch_size=64, epochs=10, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    plain.set_weights(model.get_weights())
    log_prob = model.log_prob(x)
    assert keras.backend.standardize_dtype(log_prob.dtype) == "float32"
    difference = numpy(log_prob) - numpy(plain.log_prob(x))
    assert np.any(difference)
    assert abs(bits_per_dim(difference.mean(), model.dimensions)) < 0.02


def test_config_round_trip():
    for name, make in MODELS.items():
        model = make(context_shape=3)
        config = model.get_config()
        twin = type(model).from_config(json.loads(json.dumps(config)))
        assert json.dumps(twin.get_config()) == json.dumps(config), name
        assert twin.count_params() == model.count_params(), name


def test_random_orders_and_permutations_are_saved(tmp_path):
    flow = flowzoo.Flow(
        [flowzoo.layers.Permutation("random"), flowzoo.layers.MaskedAutoregressive(order="random")],
        event_shape=20,
    )
    perturb(flow)
    x = data_for((20,))
    flow.save(tmp_path / "flow.keras")
    keras.utils.set_random_seed(7)
    loaded = keras.models.load_model(tmp_path / "flow.keras")
    np.testing.assert_array_equal(numpy(loaded.log_prob(x)), numpy(flow.log_prob(x)))


def test_any_keras_network_can_be_a_conditioner(tmp_path):
    network = keras.Sequential([keras.layers.Dense(16, activation="gelu"), keras.layers.LayerNormalization()])
    flow = flowzoo.Flow([flowzoo.layers.AffineCoupling(network)], event_shape=4)
    perturb(flow)
    x = data_for((4,))
    flow.save(tmp_path / "flow.keras")
    loaded = keras.models.load_model(tmp_path / "flow.keras")
    np.testing.assert_array_equal(numpy(loaded.log_prob(x)), numpy(flow.log_prob(x)))


def test_repr_shows_the_chain():
    text = repr(flowzoo.NICE(event_shape=4))
    assert "NICE(event_shape=(4,)" in text
    assert text.count("AdditiveCoupling") == 4
    assert "logistic latent (4,)" in text


def test_nice_is_additive():
    model = MODELS["NICE"]()
    perturb(model)
    x = data_for((3,), n=16)
    _, log_det = model.inverse_and_log_det(ops.convert_to_tensor(x))
    np.testing.assert_allclose(numpy(log_det), numpy(log_det)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: flowzoo.NICE(event_shape=(2, 0)), "positive integer"),
        (lambda: flowzoo.NICE(event_shape="28"), "event_shape must be a tuple"),
        (lambda: flowzoo.NICE(event_shape=2, couplings=0), "couplings must be a positive integer"),
        (lambda: flowzoo.NICE(event_shape=2, base="cauchy"), "base must be one of"),
        (
            lambda: flowzoo.RealNVP(event_shape=1),
            r"at least 2 dimensions.*flowzoo.NSF\(event_shape=1\)",
        ),
        (lambda: flowzoo.RealNVP(event_shape=2, normalization="layer"), "normalization must be one of"),
        (lambda: flowzoo.MAF(event_shape=2, order="natural"), "order must be one of"),
        (lambda: flowzoo.MAF(event_shape=2, autoregressive_layers=1.5), "must be a positive integer"),
        (lambda: flowzoo.MAF(event_shape=2, components=0), "components must be a positive integer"),
        (lambda: flowzoo.IAF(event_shape=2, hidden_units=None), "hidden_units must be"),
        (lambda: flowzoo.MAF(event_shape=2, context_shape="2"), "context_shape must be a tuple"),
        (
            lambda: flowzoo.Flow([keras.layers.Dense(2)], event_shape=2),
            r"flow_layers\[0\] is not a flow layer",
        ),
    ],
)
def test_bad_arguments_are_explained(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_two_humps_of_one_number_are_learned_by_a_mixture():
    """The advice for one dimension: 0.5 N(-1.6, 0.4^2) + 0.5 N(1.6, 0.4^2), of entropy 1.203 nats."""
    rng = np.random.default_rng(0)
    x = (rng.choice([-1.6, 1.6], 4000) + 0.4 * rng.normal(size=4000)).astype("float32")[:, None]
    flow = flowzoo.MAF(event_shape=1, components=10, autoregressive_layers=1, hidden_units=(8,))
    flow.compile(optimizer=keras.optimizers.Adam(0.02))
    flow.fit(x[:1000], batch_size=100, epochs=30, verbose=0)
    assert 1.15 < -numpy(flow.log_prob(x[1000:])).mean() < 1.3  # a Gaussian has 1.92
