"""What is passed in decides: no value, noise or weight is remembered between Keras and TFP."""

import gc
import threading
import weakref

import keras
import numpy as np
import pytest
from cases import IMAGE_MODELS, MODELS
from helpers import data_for, numpy, pixels
from keras import ops

import flowzoo
from flowzoo import backend
from flowzoo.backend import tfb, tfd
from flowzoo.layers import ActNorm, AffineCoupling, Dequantize, MaskedAutoregressive, Rescale
from flowzoo.networks import MLP
from flowzoo.testing import gradients, perturb

KEY = backend.random_key(0)
PLAIN = [name for name in MODELS if "," not in name]
pytestmark = pytest.mark.compiled


def compiled(function):
    """A user's own compilation of a function."""
    if backend.name == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, autograph=False)


def small(**kwargs):
    return flowzoo.RealNVP(**{"event_shape": 3, "couplings": 2, "hidden_units": (8,), **kwargs})


def image_flow():
    return IMAGE_MODELS["Glow, variational, logit"]()


# The view of TFP follows the weights.


@pytest.mark.parametrize("name", ["NICE", "RealNVP", "MAF", "IAF"])
def test_the_same_tensor_has_a_new_density_once_the_weights_change(name):
    flow = MODELS[name]()
    x, z = (ops.convert_to_tensor(data_for((3,), seed=seed)) for seed in (0, 1))
    held, bijector = flow.distribution, flow.bijector
    around = tfb.Chain([tfb.Shift(ops.convert_to_tensor([1.0, 2.0, 3.0])), bijector])
    layer = flow.flow_layers[-1].bijector
    views = {
        "fresh distribution": lambda: flow.distribution.log_prob(x),
        "held distribution": lambda: held.log_prob(x),
        "held bijector": lambda: bijector.inverse(x),
        "its log-determinant": lambda: bijector.inverse_log_det_jacobian(x),
        "forward": lambda: bijector.forward(z),
        "a chain around it": lambda: around.inverse(x),
        "the chain's log-determinant": lambda: around.inverse_log_det_jacobian(x, 1),
    }
    if flow.flow_layers[-1].trainable_weights:
        views["held layer"] = lambda: layer.inverse(x)
    for scale in (0.0, 0.3):
        perturb(flow, scale=scale)
        before = {view: numpy(call()) for view, call in views.items()}
        again = {view: numpy(call()) for view, call in views.items()}
        perturb(flow, scale=1.0)
        after = {view: numpy(call()) for view, call in views.items()}
        np.testing.assert_allclose(after["held distribution"], numpy(flow.log_prob(x)), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(after["fresh distribution"], after["held distribution"], rtol=1e-5)
        for view in views:
            np.testing.assert_array_equal(before[view], again[view], err_msg=view)
            volume_preserving = name == "NICE" and "determinant" in view
            assert volume_preserving or np.abs(after[view] - before[view]).max() > 1e-3, view


def test_fit_changes_the_density_of_the_same_tensor():
    flow = small()
    x = ops.convert_to_tensor(5.0 + data_for((3,), n=64))
    before = numpy(flow.distribution.log_prob(x)).mean()
    flow.compile(optimizer=keras.optimizers.Adam(0.05))
    flow.fit(x, epochs=5, verbose=0)
    after = numpy(flow.distribution.log_prob(x))
    assert after.mean() > before + 1
    np.testing.assert_allclose(after, numpy(flow.log_prob(x)), rtol=1e-4)


def test_gradients_live_at_every_call():
    flow = small()
    perturb(flow)
    x = ops.convert_to_tensor(data_for((3,)))
    held = flow.distribution
    for density in (
        lambda: held.log_prob(x),
        lambda: flow.distribution.log_prob(x),
        lambda: flow.log_prob(x),
    ):
        first, second = (gradients(flow.trainable_weights, lambda d=density: -ops.mean(d())) for _ in "12")
        for one, other in zip(first, second, strict=True):
            assert one.any()
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_held_conditional_distribution_heeds_its_context():
    flow = small(context_shape=2)
    perturb(flow)
    held, x = flow.distribution, ops.convert_to_tensor(data_for((3,)))
    for seed in (1, 2):
        context = 3 * data_for((2,), seed=seed)
        expected = numpy(flow.log_prob(x, context))
        np.testing.assert_allclose(numpy(held.log_prob(x, context=context)), expected, rtol=1e-5)
        sample, log_prob = held.experimental_sample_and_log_prob(4, seed=KEY, context=context)
        np.testing.assert_allclose(
            numpy(log_prob), numpy(flow.log_prob(sample, context)), rtol=1e-3, atol=1e-3
        )


def test_batch_shapes_of_value_and_context_broadcast():
    flow = flowzoo.MAF(event_shape=3, autoregressive_layers=1, hidden_units=(8,), context_shape=2)
    perturb(flow)
    x, context = data_for((3,), n=5), data_for((2,), n=7, seed=1)
    found = numpy(flow.distribution.log_prob(x[:, None], context=context))
    assert found.shape == (5, 7)
    for i in range(5):
        expected = flow.log_prob(np.repeat(x[i : i + 1], 7, axis=0), context)
        np.testing.assert_allclose(found[i], numpy(expected), rtol=1e-5)
    assert tuple(flow.distribution.log_prob(x[0], context=context).shape) == (7,)
    assert tuple(flow.distribution.sample((4, 1), seed=KEY, context=context).shape) == (4, 7, 3)


# TFP's own uses of a distribution and a bijector.


def test_tfp_has_nothing_to_warn_of(caplog):
    flow = small()
    assert tuple(flow.distribution.batch_shape) == ()
    assert tuple(flow.distribution.event_shape) == (3,)
    flow.distribution.log_prob(flow.distribution.sample(2, seed=KEY))
    assert not [record.message for record in caplog.records if "Distribution" in record.message]


def test_variables_are_the_flow_s():
    flow = small()
    for view in (flow.distribution, flow.bijector):
        assert [id(v) for v in view.trainable_variables] == [id(v) for v in flow.trainable_variables]
        assert [id(v) for v in view.variables] == [id(v) for v in flow.variables]


@pytest.mark.parametrize("name", PLAIN)
def test_bijectors_around_a_flow(name):
    flow = MODELS[name](event_shape=3)
    perturb(flow, scale=0.3)
    x = ops.convert_to_tensor(data_for((3,)))
    identity = tfb.Chain([flow.bijector, tfb.Invert(flow.bijector)])
    np.testing.assert_allclose(numpy(identity(x)), numpy(x), atol=1e-4)
    np.testing.assert_allclose(numpy(identity.inverse(x)), numpy(x), atol=1e-4)
    np.testing.assert_allclose(numpy(identity.forward_log_det_jacobian(x, 1)), 0, atol=1e-4)
    scaled = tfd.TransformedDistribution(flow.distribution, tfb.Scale(ops.convert_to_tensor(2.0)))
    np.testing.assert_allclose(
        numpy(scaled.log_prob(2 * x)), numpy(flow.log_prob(x)) - 3 * np.log(2), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        numpy(flow.distribution.copy().log_prob(x)), numpy(flow.log_prob(x)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", PLAIN)
def test_a_joint_distribution_takes_flows(name):
    flow, other = (MODELS[name](event_shape=3) for _ in range(2))
    perturb(flow, scale=0.3)
    perturb(other, scale=0.3, seed=1)
    joint = tfd.JointDistributionSequential(
        [
            flow.distribution,
            other.distribution,
            lambda second, first: tfd.Normal(ops.sum(first - second, axis=-1), ops.ones(())),
        ]
    )
    first, second, y = joint.sample(5, seed=KEY)
    assert tuple(first.shape) == tuple(second.shape) == (5, 3)
    normal = tfd.Normal(ops.sum(first - second, axis=-1), ops.ones(()))
    expected = sum(numpy(part) for part in (flow.log_prob(first), other.log_prob(second), normal.log_prob(y)))
    np.testing.assert_allclose(numpy(joint.log_prob([first, second, y])), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("slope", [2.0, -2.0])
def test_a_flow_of_one_number_has_a_cdf_and_quantiles(slope):
    flow = flowzoo.Flow([MaskedAutoregressive(hidden_units=(8,)), Rescale(slope, 3.0)], event_shape=1)
    perturb(flow)
    sample = numpy(flow.sample(20000, seed=0))
    levels = np.array([0.1, 0.5, 0.9], "float32")
    quantiles = numpy(flow.distribution.quantile(levels))
    assert quantiles.shape == (3, 1)
    np.testing.assert_allclose(quantiles[:, 0], np.quantile(sample, levels), atol=0.1)
    np.testing.assert_allclose(numpy(flow.distribution.cdf(quantiles)), levels, atol=1e-5)
    with pytest.raises(NotImplementedError, match="not a function of one number"):
        small().distribution.cdf(data_for((3,)))


# A user's own compilation changes nothing.


@pytest.mark.parametrize("make", [small, image_flow], ids=["vectors", "images"])
def test_compiling_a_method_leaves_the_flow_as_it_was(make):
    flow = make()
    perturb(flow, scale=0.1)
    x = flow.sample(3, seed=0)
    z = flow.encode(x, seed=1)
    states = [numpy(state) for state in backend.random_states(flow)]
    decode, log_prob, sample = map(
        compiled,
        (flow.decode, lambda x: flow.log_prob(x, seed=1), lambda: flow.sample(3, seed=0)),
    )
    np.testing.assert_allclose(numpy(decode(z)), numpy(flow.decode(z)), atol=1e-4)
    np.testing.assert_allclose(numpy(log_prob(x)), numpy(flow.log_prob(x, seed=1)), rtol=1e-4)
    np.testing.assert_allclose(numpy(sample()), numpy(x), atol=1e-4)
    for state, now in zip(states, backend.random_states(flow), strict=True):
        np.testing.assert_array_equal(state, numpy(now))
    unseeded = [compiled(flow.log_prob)(x), compiled(flow)(x), compiled(lambda: flow.sample(3))()]
    assert all(np.isfinite(numpy(found).astype("float64")).all() for found in unseeded)
    for call in (flow.sample, lambda n: flow.decode(z), lambda n: flow.encode(x), lambda n: flow.log_prob(x)):
        call(3)
    flow.compile(optimizer="sgd")
    flow.fit(x, verbose=0)


# Noise.


class Peek(keras.callbacks.Callback):
    """Measures, with a seed, at the end of each epoch."""

    def __init__(self, x):
        super().__init__()
        self.x = x

    def on_epoch_end(self, epoch, logs=None):
        self.model.bits_per_dim(self.x, seed=0)


def test_seeded_calls_leave_training_s_noise_alone():
    x = pixels((4, 4, 1), n=16)
    losses = []
    for callbacks in ([], [Peek(x)]):
        keras.utils.set_random_seed(0)
        flow = flowzoo.NICE(event_shape=(4, 4, 1), hidden_units=(8,))
        perturb(flow)
        flow.compile(optimizer=keras.optimizers.SGD(0.0))
        losses.append(flow.fit(x, epochs=3, shuffle=False, callbacks=callbacks, verbose=0).history["loss"])
    np.testing.assert_array_equal(*losses)
    assert len(set(losses[1])) == 3  # new noise in every epoch


def ranks(values):
    return np.argsort(np.argsort(values.ravel()))


def test_one_seed_draws_unrelated_latents_and_noise():
    flow = flowzoo.Flow([Rescale(40.0, 128.0), Dequantize(256)], event_shape=(4, 4, 1))
    n = 2000
    latents, noise = (numpy(draw(np.zeros(n), KEY)) for draw in (flow._latents, flow._noise))
    for shift in range(3):
        shifted = np.roll(noise.ravel(), shift)
        assert abs(np.corrcoef(ranks(latents), ranks(shifted))[0, 1]) < 0.02
    images = flow.sample(n, seed=0)
    same, other = (numpy(flow.log_prob(images, seed=seed)).mean() for seed in (0, 1))
    np.testing.assert_allclose(same, other, atol=0.02)
    np.testing.assert_allclose(same, 16 * (-0.5 * np.log(2 * np.pi * np.e) - np.log(40)), atol=0.2)


def test_seeds_of_every_kind():
    flow = image_flow()
    x = numpy(flow.sample(3, seed=5))
    for seed in (np.int64(5), backend.random_key(5), keras.random.SeedGenerator(5)):
        np.testing.assert_array_equal(numpy(flow.sample(3, seed=seed)), x)
    generator = keras.random.SeedGenerator(5)
    assert not np.array_equal(*(numpy(flow.log_prob(x, seed=generator)) for _ in range(2)))
    with pytest.raises(TypeError, match="seed must be an integer"):
        flow.sample(3, seed="5")


def test_threads_draw_noise_of_their_own():
    flow = image_flow()
    x = numpy(flow.sample(2, seed=0))
    expected = [numpy(flow.log_prob(x, seed=i)) for i in range(24)]
    found, drawn = [None] * 24, [None] * 24

    def work(first):
        for i in range(first, 24, 6):
            found[i] = numpy(flow.log_prob(x, seed=i))
            drawn[i] = numpy(flow.encode(x)).tobytes()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(found, expected)
    assert len(set(drawn)) == 24


# Losses.


def regularized(remat=False):
    """A flow whose networks have activity and weight regularizers."""

    def network():
        return keras.Sequential(
            [
                keras.layers.Dense(
                    8, "tanh", activity_regularizer=keras.regularizers.L2(0.5), kernel_regularizer="l2"
                )
            ]
        )

    return flowzoo.Flow(
        [AffineCoupling(network(), swap=i == 1, remat=remat) for i in range(2)], event_shape=4
    )


def test_rematerialised_layers_keep_their_regularizers():
    x = 3 * data_for((4,), n=32)
    found = []
    for remat in (False, True):
        keras.utils.set_random_seed(0)
        flow = regularized(remat)
        flow.compile(optimizer=keras.optimizers.SGD(0.1))
        losses = flow.fit(x, epochs=2, shuffle=False, verbose=0).history["loss"]
        found.append((losses, flow.get_weights()))
    assert found[0][0][0] > 0.5 - numpy(regularized().log_prob(x)).mean()
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_variational_fits_heed_regularizers():
    def target(x):
        return -0.5 * ops.sum(ops.square(x), axis=-1)

    norms = []
    for strength in (None, keras.regularizers.L2(1.0)):
        keras.utils.set_random_seed(0)
        network = keras.layers.Dense(8, "tanh", kernel_regularizer=strength)
        flow = flowzoo.Flow([AffineCoupling(network)], event_shape=4)
        flow.fit_variational(
            target, steps=100, batch_size=32, optimizer=keras.optimizers.SGD(0.05), seed=0, verbose=0
        )
        norms.append(np.square(numpy(network.kernel)).sum())
    assert norms[1] < 0.01 * norms[0]


# Programs.


def test_any_number_of_examples_needs_few_programs(monkeypatch):
    traces = []
    inverse = flowzoo.layers.Chain.inverse_and_log_det
    monkeypatch.setattr(
        flowzoo.layers.Chain,
        "inverse_and_log_det",
        lambda self, *inputs: traces.append(1) or inverse(self, *inputs),
    )
    flow = small()
    perturb(flow)
    x = data_for((3,), n=64)
    whole = numpy(flow.log_prob(x))
    for n in range(1, 65, 3):
        np.testing.assert_allclose(numpy(flow.log_prob(x[:n])), whole[:n], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            numpy(flow.log_prob(ops.convert_to_tensor(x[:n]))), whole[:n], rtol=1e-5, atol=1e-5
        )
    assert len(traces) == (1 if not flow._log_density.xla else 6)  # 1, 4, 8 ... 64


def test_batches_change_the_memory_alone():
    flow = small(context_shape=2)
    perturb(flow)
    x, context = data_for((3,), n=50), data_for((2,), n=50, seed=1)
    z = flow.encode(x, context, batch_size=13)
    np.testing.assert_allclose(
        numpy(flow.log_prob(x, context, batch_size=13)), numpy(flow.log_prob(x, context)), rtol=1e-5
    )
    np.testing.assert_allclose(numpy(flow.decode(z, context, batch_size=7)), x, atol=1e-4)
    drawn = numpy(flow.sample(50, context, seed=0, batch_size=20))
    assert drawn.shape == (50, 3)
    assert len(np.unique(drawn, axis=0)) == 50
    np.testing.assert_array_equal(drawn, numpy(flow.sample(50, context, seed=0, batch_size=20)))


def test_flows_are_freed():
    def used():
        flow = small()
        x = ops.convert_to_tensor(data_for((3,)))
        flow.distribution.log_prob(x)
        tfb.Invert(flow.bijector).forward(x)
        flow.sample(2)
        flow.log_prob(x)
        return weakref.ref(flow)

    alive = [used() for _ in range(3)]
    keras.backend.clear_session()
    gc.collect()
    assert [flow() for flow in alive] == [None] * 3


def test_no_trial_of_a_tuning_loop_outlives_the_next():
    x, alive = data_for((3,), n=32), []
    for units in (4, 8, 12):
        keras.backend.clear_session()
        flow = small(hidden_units=(units,))
        flow.compile(optimizer="adam")
        flow.fit(x, verbose=0)
        held = flow.distribution
        score = held.log_prob(ops.convert_to_tensor(x)), held.sample(2, seed=KEY), flow.bijector.inverse(x)
        alive.append(weakref.ref(flow))
        del flow, held, score
        keras.backend.clear_session()
        gc.collect()
        assert alive[-1]() is None


def test_a_chain_says_what_does_not_fit():
    with pytest.raises(ValueError, match="One layer of a chain may take noise"):
        flowzoo.Flow([Dequantize(4), Dequantize(4)], event_shape=2)
    with pytest.raises(ValueError, match="Dequantize layer must be the last"):
        flowzoo.Flow([Dequantize(4), ActNorm()], event_shape=2)
    with pytest.raises(ValueError, match=r"flow_layers\[0\] is not a flow layer"):
        flowzoo.layers.Chain([keras.layers.Dense(2)])
    layer = ActNorm()
    with pytest.raises(ValueError, match="share their weights"):
        flowzoo.layers.Chain([layer, layer])


def test_a_flow_layer_is_a_keras_layer_both_ways():
    chain = flowzoo.layers.Chain([AffineCoupling(MLP((8,), dropout=0.5)), ActNorm()])
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [chain(inputs), chain(chain(inputs), forward=True)])
    perturb(chain)
    x = data_for((4,))
    z, again = model.predict(x, verbose=0)
    np.testing.assert_allclose(z, numpy(chain.inverse_and_log_det(ops.convert_to_tensor(x))[0]), atol=1e-5)
    np.testing.assert_allclose(again, x, atol=1e-4)
    noisy = [numpy(chain(ops.convert_to_tensor(x), training=True)) for _ in range(2)]
    assert not np.array_equal(*noisy)
