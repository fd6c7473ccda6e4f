import keras
import numpy as np
import pytest
from helpers import count_calls, data_for, numpy, pixels
from keras import ops

import flowzoo
from flowzoo import backend
from flowzoo.layers import (
    ActNorm,
    AffineCoupling,
    Dequantize,
    Logit,
    MaskedAutoregressive,
    Permutation,
    Rescale,
    Reshape,
)
from flowzoo.metrics import bits_per_dim, log_likelihoods
from flowzoo.networks import MLP
from flowzoo.testing import perturb


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays, batch_size=16):
        super().__init__()
        self.arrays, self.batch_size = arrays, batch_size

    def __len__(self):
        return len(self.arrays[0]) // self.batch_size

    def __getitem__(self, index):
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        batch = tuple(array[part] for array in self.arrays)
        return batch if len(batch) > 1 else batch[0]


def uniform_model(event_shape=(4, 4, 3)):
    return flowzoo.Flow(
        [Reshape((int(np.prod(event_shape)),)), Rescale(256.0), Dequantize(256)],
        event_shape=event_shape,
        base="uniform",
    )


# Training.


def test_fit_arguments_are_those_of_keras():
    x = data_for((2,), n=64)
    flow = flowzoo.NICE(event_shape=2, hidden_units=(8,))
    flow.compile(optimizer="adam")
    seen = []
    history = flow.fit(
        Batches(x),
        steps_per_epoch=2,
        initial_epoch=1,
        epochs=3,
        validation_data=(x,),
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append((epoch, set(logs))))
        ],
        verbose=0,
    )
    assert history.epoch == [1, 2]
    assert seen == [(1, {"loss", "val_loss"}), (2, {"loss", "val_loss"})]


def test_image_flows_report_bits_per_dim():
    x = pixels((4, 4, 1), n=32)
    flow = flowzoo.NICE(event_shape=(4, 4, 1), hidden_units=(8,))
    flow.compile(optimizer="adam")
    logs = flow.fit(x, validation_data=(x,), verbose=0).history
    assert set(logs) == {"loss", "bits_per_dim", "val_loss", "val_bits_per_dim"}
    np.testing.assert_allclose(logs["val_bits_per_dim"][0], logs["val_loss"][0] / (16 * np.log(2)), rtol=1e-5)


def test_actnorm_starts_from_the_first_fit_and_not_again():
    x = 3.0 + 2.0 * data_for((2,), n=64)
    flow = flowzoo.Flow([ActNorm()], event_shape=2)
    flow.compile(optimizer=keras.optimizers.SGD(0.0))
    flow.fit(x, batch_size=32, shuffle=False, verbose=0)
    np.testing.assert_allclose(numpy(flow.encode(x)).mean(axis=0), 0, atol=1e-4)
    flow.fit(10 * x, verbose=0)
    np.testing.assert_allclose(numpy(flow.encode(x)).mean(axis=0), 0, atol=1e-4)


def test_fit_initializes_only_where_a_layer_needs_it(monkeypatch):
    started = []
    monkeypatch.setattr(flowzoo.Flow, "initialize", lambda *arguments: started.append(arguments))
    x = data_for((2,), n=32)
    for normalization in (None, "actnorm"):
        flow = flowzoo.RealNVP(event_shape=2, couplings=2, normalization=normalization, standardize=False)
        flow.compile(optimizer="adam")
        flow.fit(x, verbose=0)
        assert len(started) == (normalization is not None)


def test_fit_trains_dropout_and_batch_normalization():
    flow = flowzoo.RealNVP(
        event_shape=4, couplings=2, hidden_units=(8,), normalization="batch", standardize=False
    )
    x = 3.0 + data_for((4,), n=256)
    flow.compile(optimizer=keras.optimizers.SGD(0.0))
    flow.fit(np.tile(x, (300, 1)), batch_size=256, shuffle=False, verbose=0)
    mean = numpy(flow.flow_layers[3].statistics.mean)  # the data come permuted, in even and odd places
    np.testing.assert_allclose(mean, 0.951 * x.mean(axis=0)[[0, 2, 1, 3]], rtol=0.01)  # 1 - 0.99^300

    flow = flowzoo.Flow([AffineCoupling(MLP((64,), dropout=0.5))], event_shape=4)
    perturb(flow)
    flow.compile(optimizer=keras.optimizers.SGD(0.0))
    losses = flow.fit(x, batch_size=256, epochs=2, verbose=0).history["loss"]
    assert losses[0] != losses[1]
    evaluated = [flow.evaluate(x, batch_size=256, verbose=0) for _ in range(2)]
    assert evaluated[0] == evaluated[1]


def test_sampling_does_not_start_actnorm():
    flow = flowzoo.Flow([ActNorm()], event_shape=2)
    flow.sample(16)
    assert int(flow.flow_layers[0].initialized.value) == 0


def test_regularizers_and_optimizer_ema_work():
    network = keras.layers.Dense(8, kernel_regularizer="l2")
    flow = flowzoo.Flow([AffineCoupling(network)], event_shape=2)
    x = data_for((2,), n=32)
    penalty = float(sum(flow.losses))
    assert penalty > 0
    flow.compile(optimizer=keras.optimizers.Adam(1e-3, use_ema=True))
    loss = flow.evaluate(x, batch_size=32, verbose=0)
    np.testing.assert_allclose(loss, penalty - numpy(flow.log_prob(x)).mean(), rtol=1e-5)
    flow.fit(x, verbose=0)


def test_training_resumes_from_a_saved_model(tmp_path):
    x = data_for((2,), n=64)
    flow = flowzoo.MAF(event_shape=2, hidden_units=(8,))
    flow.compile(optimizer="adam")
    flow.fit(x, verbose=0, shuffle=False)
    flow.save(tmp_path / "flow.keras")
    loaded = keras.models.load_model(tmp_path / "flow.keras")
    assert int(loaded.optimizer.iterations) == 2
    one = flow.fit(x, verbose=0, shuffle=False).history["loss"]
    two = loaded.fit(x, verbose=0, shuffle=False).history["loss"]
    np.testing.assert_allclose(one, two, rtol=1e-5)


def test_summary_and_weights_files(tmp_path, capsys):
    flow = flowzoo.RealNVP(event_shape=4, couplings=2)
    flow.summary()
    assert f"{flow.flow_layers[0].name} (Coupling)" in capsys.readouterr().out
    perturb(flow)
    flow.save_weights(tmp_path / "flow.weights.h5")
    other = flowzoo.RealNVP(event_shape=4, couplings=2)
    other.load_weights(tmp_path / "flow.weights.h5")
    x = data_for((4,))
    np.testing.assert_array_equal(numpy(other.log_prob(x)), numpy(flow.log_prob(x)))


# Densities.


@pytest.mark.slow
@pytest.mark.parametrize("make", [flowzoo.RealNVP, flowzoo.MAF], ids=["RealNVP", "MAF"])
def test_conditional_flows_learn_the_labels_of_digits(make):
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = (digits.data / 17 + 0.03 * np.random.default_rng(0).normal(size=digits.data.shape)).astype("float32")
    labels = keras.utils.to_categorical(digits.target, 10)
    flow = make(event_shape=64, hidden_units=(64,), context_shape=10, normalization="actnorm")
    flow.compile(optimizer=keras.optimizers.Adam(2e-3))
    flow.fit(x[:1500], labels[:1500], epochs=12, batch_size=50, verbose=0)
    held_out, truth = x[1500:], digits.target[1500:]
    scores = [
        flow.predict(
            (held_out, np.repeat(np.eye(10)[i : i + 1], len(held_out), axis=0)), batch_size=300, verbose=0
        )
        for i in range(10)
    ]
    assert np.mean(np.argmax(scores, axis=0) == truth) > 0.75  # classifies by Bayes' rule
    assert tuple(flow.sample(3, context=np.eye(10)[7], seed=0).shape) == (3, 64)


# Work done once.


@pytest.mark.compiled  # one trace serves all that ask the bijector
@pytest.mark.parametrize("path", ["log_prob", "distribution.log_prob", "bijector", "sample_and_log_prob"])
@pytest.mark.parametrize("make", [flowzoo.RealNVP, flowzoo.NICE, flowzoo.MAF, flowzoo.IAF])
def test_each_conditioner_runs_once(make, path, monkeypatch):
    flow = make(event_shape=4)
    slow_sampling = make is flowzoo.MAF
    slow_density = make is flowzoo.IAF
    layers = [getattr(layer, "layer", layer) for layer in flow.flow_layers]
    networks = [getattr(layer, "network", getattr(layer, "made", None)) for layer in layers]
    counters = [count_calls(monkeypatch, network) for network in networks if network is not None]
    x = ops.convert_to_tensor(data_for((4,)))
    if path == "sample_and_log_prob":
        if slow_sampling:
            pytest.skip("sampling from a MAF is a pass for each dimension")
        flow.distribution.experimental_sample_and_log_prob(4, seed=backend.random_key(0))
    elif slow_density:
        pytest.skip("the density of an IAF is a pass for each dimension")
    elif path == "log_prob":
        flow.log_prob(x)
    elif path == "distribution.log_prob":
        flow.distribution.log_prob(x)
    else:
        bijector = flow.bijector
        bijector.inverse(x)
        bijector.inverse_log_det_jacobian(x)
    assert counters
    assert [len(calls) for calls in counters] == [1] * len(counters)


def test_bijector_takes_any_leading_dimensions_and_a_single_example():
    flow = flowzoo.RealNVP(event_shape=3, couplings=2, context_shape=2)
    perturb(flow)
    x, context = data_for((2, 5, 3), n=1)[0], data_for((2,), n=1)[0]
    expected = numpy(flow.log_prob(x.reshape(10, 3), np.repeat(context[None], 10, axis=0))).reshape(2, 5)
    np.testing.assert_allclose(numpy(flow.distribution.log_prob(x, context=context)), expected, rtol=1e-5)
    np.testing.assert_allclose(
        numpy(flow.distribution.log_prob(x[0], context=context)), expected[0], rtol=1e-5
    )
    one = flow.distribution.log_prob(x[0, 0], context=context)
    assert tuple(one.shape) == ()
    np.testing.assert_allclose(float(one), expected[0, 0], rtol=1e-5)


# Image flows.


def test_a_uniform_model_has_8_bits_per_dim():
    model = uniform_model()
    x = pixels((4, 4, 3))
    np.testing.assert_allclose(numpy(model.bits_per_dim(x)), 8.0, atol=1e-4)
    log_prob = model.distribution.log_prob(x.astype("float32"))
    np.testing.assert_allclose(numpy(bits_per_dim(log_prob, 48)), 8.0, atol=1e-4)


def test_probabilities_of_all_images_sum_to_one():
    layers = [Reshape((2,)), Logit(0.05), Rescale(4.0), Dequantize(4)]
    flow = flowzoo.Flow([MaskedAutoregressive(hidden_units=(8,)), *layers], event_shape=(1, 2, 1))
    perturb(flow)
    images = np.stack(np.meshgrid(np.arange(4), np.arange(4)), axis=-1).reshape(16, 1, 2, 1)
    # The density averaged over the noise is the probability, but for the mass beyond the interval.
    repeated = np.repeat(images, 2000, axis=0)
    total = numpy(ops.exp(flow.log_prob(repeated, seed=0))).mean() * 16
    z = np.random.default_rng(0).normal(size=(20000, 2))
    x = numpy(flow.forward_and_log_det(ops.convert_to_tensor(z, "float32"))[0])
    np.testing.assert_array_equal(x, numpy(flow.bijector.forward(z.astype("float32"))))
    whole = numpy(flow.decode(z))
    assert whole.min() >= 0
    assert whole.max() <= 3
    np.testing.assert_array_equal(whole, np.clip(np.floor(x + 0.5), 0, 3))
    before = ops.convert_to_tensor(z, "float32")
    for layer in flow.flow_layers[:-1]:
        before, _ = layer.forward_and_log_det(before)
    inside = ((numpy(before) >= 0) & (numpy(before) < 4)).all(axis=(1, 2, 3)).mean()
    np.testing.assert_allclose(total, inside, atol=0.02)


def test_image_flow_samples_pixels_and_decodes_its_own_codes():
    flow = flowzoo.RealNVP(event_shape=(4, 4, 1), levels=1, hidden_channels=4, blocks=1)
    flow.initialize(pixels((4, 4, 1), n=32))
    perturb(flow, scale=0.1)
    x = pixels((4, 4, 1))
    assert numpy(flow.sample(3, seed=0)).dtype == np.uint8
    np.testing.assert_array_equal(numpy(flow.decode(flow.encode(x))), x)


def test_seed_fixes_the_dequantisation_noise():
    flow = flowzoo.NICE(event_shape=(4, 4, 1), hidden_units=(8,))
    x = pixels((4, 4, 1))
    np.testing.assert_array_equal(numpy(flow.log_prob(x, seed=3)), numpy(flow.log_prob(x, seed=3)))
    assert not np.array_equal(numpy(flow.log_prob(x, seed=3)), numpy(flow.log_prob(x, seed=4)))
    assert not np.array_equal(numpy(flow.log_prob(x)), numpy(flow.log_prob(x)))


def test_a_compiled_density_follows_the_weights():
    flow = flowzoo.RealNVP(event_shape=2, couplings=2, hidden_units=(8,))
    x = data_for((2,))
    before = numpy(flow.log_prob(x))
    perturb(flow)
    after = numpy(flow.log_prob(x))
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(after, numpy(flow(x)), rtol=1e-5)
    np.testing.assert_allclose(after, numpy(flow.distribution.log_prob(x)), rtol=1e-4, atol=1e-4)


def test_log_likelihoods_in_the_spaces_of_the_papers():
    flow = flowzoo.MAF(event_shape=(2, 2, 1), hidden_units=(8,), alpha=0.05)
    perturb(flow)
    x = pixels((2, 2, 1))
    found = {space: numpy(value) for space, value in log_likelihoods(flow, x, seed=0).items()}
    np.testing.assert_allclose(found["pixels"], numpy(flow.log_prob(x, seed=0)), rtol=1e-6)
    np.testing.assert_allclose(found["unit"], found["pixels"] + 4 * np.log(256), rtol=1e-5)
    # By hand: the noise comes back from the latent, and the logit's slope is 0.9 / (p (1 - p)).
    z = flow.encode(x, seed=0)
    logits = ops.convert_to_tensor(z)
    for layer in flow.flow_layers[:-4]:
        logits, _ = layer.forward_and_log_det(logits)
    p = 1 / (1 + np.exp(-numpy(logits)))
    np.testing.assert_allclose(
        found["logit"], found["unit"] - np.log(0.9 / (p * (1 - p))).sum(axis=1), rtol=1e-4
    )


# Bad input.


def test_the_same_layer_twice_is_refused():
    layer = AffineCoupling(MLP((8,)))
    with pytest.raises(ValueError, match="the same layer"):
        flowzoo.Flow([layer, Permutation("reverse"), layer], event_shape=2)


PLAIN = {"event_shape": 3, "couplings": 2}


@pytest.mark.parametrize("method", ["log_prob", "encode", "initialize", "fit"])
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.ones((5, 4)), ValueError, r"must have shape \(batch, 3\); got shape \(5, 4\)"),
        (np.ones(3), ValueError, r"add a batch axis"),
        (np.ones((2, 2, 3)), ValueError, "must have shape"),
        (np.array([[1.0, np.nan, 0.0]]), ValueError, "NaN or infinite"),
        (np.array([[1.0, np.inf, 0.0]]), ValueError, "NaN or infinite"),
        (np.array([["a", "b", "c"]]), TypeError, "array of numbers"),
        (np.ones((0, 3)), ValueError, "empty batch"),
    ],
)
def test_bad_data_are_explained(method, x, error, message):
    flow = flowzoo.RealNVP(**PLAIN)
    flow.compile(optimizer="adam")
    with pytest.raises(error, match=message):
        getattr(flow, method)(x)


def test_missing_and_unexpected_contexts_are_explained():
    x, context = data_for((3,)), data_for((2,))
    plain = flowzoo.RealNVP(**PLAIN)
    conditional = flowzoo.RealNVP(**PLAIN, context_shape=2)
    for flow in (plain, conditional):
        flow.compile(optimizer="adam")
    for call in (plain.log_prob, plain.encode, plain.decode):
        with pytest.raises(ValueError, match="takes no context"):
            call(x, context)
    with pytest.raises(ValueError, match="takes no context"):
        plain.fit((x, context))
    for call in (conditional.log_prob, conditional.encode, conditional.decode):
        with pytest.raises(ValueError, match="context is missing"):
            call(x)
    with pytest.raises(ValueError, match="context is missing"):
        conditional.sample(3)
    with pytest.raises(ValueError, match="needs pairs"):
        conditional.fit(x)
    with pytest.raises(ValueError, match=r"context must have shape \(batch, 2\)"):
        conditional.log_prob(x, data_for((3,)))
    with pytest.raises(ValueError, match="context has 2 examples"):
        conditional.sample(3, context[:2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda flow: flow.sample(0), "n must be a positive integer"),
        (lambda flow: flow.sample(2, temperature=-1.0), "temperature must not be negative"),
        (lambda flow: flow.decode(np.ones((2, 4))), "z must have shape"),
        (lambda flow: flow.bits_per_dim(np.ones((2, 3))), "for image flows"),
        (lambda flow: flow.fit(None), "x is None"),
    ],
)
def test_bad_calls_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call(flowzoo.RealNVP(**PLAIN))


def test_a_loss_is_refused():
    flow = flowzoo.RealNVP(**PLAIN)
    with pytest.raises(ValueError, match="takes no loss"):
        flow.compile(optimizer="adam", loss="mse")


@pytest.mark.parametrize(
    "arguments",
    [{"metrics": ["mse"]}, {"weighted_metrics": ["mse"]}, {"loss": "mse"}, {"loss_weights": [1.0]}],
)
def test_a_flow_stays_usable_when_compile_is_refused(arguments):
    flow = flowzoo.RealNVP(**PLAIN)
    x = data_for((3,))
    with pytest.raises(ValueError, match=r"takes no (loss|metrics)"):
        flow.compile("adam", **arguments)
    flow.compile("adam", metrics=[])
    with pytest.raises(ValueError, match=r"takes no (loss|metrics)"):
        flow.compile("adam", **arguments)
    assert np.isfinite(flow.fit(x, verbose=0).history["loss"][0])


def test_generators_give_x_alone():
    flow = flowzoo.RealNVP(**PLAIN)
    flow.compile("adam")
    x = data_for((3,), n=16)
    seen = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    for given in ((x[i : i + 8] for i in (0, 8)), iter([x[:8], x[8:]])):
        flow.fit(given, callbacks=[count], verbose=0)
    assert seen == [0, 1, 0, 1]
    assert flow.predict((x[i : i + 8] for i in (0, 8)), verbose=0).shape == (16,)


def test_pipelines_of_scikit_learn_are_told_what_to_do():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    flow = flowzoo.RealNVP(**PLAIN)
    flow.compile("adam")
    with pytest.raises(NotImplementedError, match=r"no estimator of scikit-learn.*flow\.fit\(x\)"):
        make_pipeline(StandardScaler(), flow).fit(data_for((3,), n=64)).predict(data_for((3,)))
