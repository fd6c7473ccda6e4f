import json
import os

import keras
import numpy as np
import pytest
from cases import VAES, networks
from helpers import count_calls, data_for, numpy, restored, run_python
from keras import ops

import flowzoo
from flowzoo import backend
from flowzoo.likelihoods import LIKELIHOODS, likelihood_distribution
from flowzoo.testing import check_gradients, jacobian_log_det, perturb

LOG_2_PI = np.log(2 * np.pi)


def data_of(vae, n=4, seed=0):
    """Data that the model's likelihood knows."""
    random = np.random.default_rng(seed)
    if vae.likelihood == "bernoulli":
        return random.integers(0, 2, (n, *vae.event_shape)).astype("float32")
    if vae.likelihood == "gaussian" and not vae.is_image_flow:
        return random.normal(size=(n, *vae.event_shape)).astype("float32")
    return random.integers(0, 256, (n, *vae.event_shape)).astype("uint8")


@pytest.fixture(scope="module", params=VAES)
def shared(request):
    """A model with perturbed weights, and data for it."""
    keras.utils.set_random_seed(0)
    vae = VAES[request.param]()
    perturb(vae, scale=0.3)
    return vae, data_of(vae)


@pytest.fixture
def case(shared):
    yield from restored(*shared)


# The bound.


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(likelihood, x, location, scale):
    """log p(x | z), component by component, in float64."""
    location, x = location.astype("float64"), x.astype("float64")
    if likelihood == "bernoulli":
        return x * np.log(sigmoid(location)) + (1 - x) * np.log(sigmoid(-location))
    if likelihood == "gaussian":
        return -0.5 * ((x - location) / scale) ** 2 - np.log(scale) - 0.5 * LOG_2_PI
    upper = np.where(x == 255, 1.0, sigmoid((x + 0.5 - location) / scale))
    lower = np.where(x == 0, 0.0, sigmoid((x - 0.5 - location) / scale))
    return np.log(upper - lower)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_without_flows_the_elbo_is_that_of_an_ordinary_vae(likelihood):
    encoder, decoder = networks()
    scale = 60.0 if likelihood == "discretized_logistic" else 3.0
    vae = flowzoo.FlowVAE(encoder, decoder, likelihood=likelihood, likelihood_scale=scale)
    x = data_of(vae, n=20)
    noise = data_for((3,), n=20, seed=1)
    mean, log_scale = (numpy(part).astype("float64") for part in encoder(x.astype("float32")))
    z = mean + np.exp(log_scale) * noise
    log_q = np.sum(-0.5 * noise.astype("float64") ** 2 - 0.5 * LOG_2_PI - log_scale, axis=1)
    log_p = np.sum(-0.5 * z**2 - 0.5 * LOG_2_PI, axis=1)
    location = numpy(decoder(z.astype("float32")))
    expected = np.sum(by_hand(likelihood, x, location, scale), axis=1) + log_p - log_q
    reconstruction, kl = vae.terms(ops.convert_to_tensor(x.astype("float32")), ops.convert_to_tensor(noise))
    np.testing.assert_allclose(numpy(reconstruction - kl), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(numpy(kl), log_q - log_p, rtol=1e-5, atol=1e-5)


def test_the_mean_kl_without_flows_is_the_closed_form():
    vae = VAES["no flows"]()
    x = np.repeat(data_of(vae, n=2), 20000, axis=0)
    kl = numpy(vae.call(x)["kl"]).reshape(2, -1)
    mean, log_scale = (numpy(part)[::20000] for part in vae.encoder(x))
    exact = 0.5 * np.sum(mean**2 + np.exp(2 * log_scale) - 1 - 2 * log_scale, axis=1)
    assert (np.abs(kl.mean(axis=1) - exact) < 5 * kl.std(axis=1) / np.sqrt(20000)).all()


@pytest.mark.parametrize(
    "flows",
    [
        {"posterior_flow": lambda: flowzoo.IAF(3, hidden_units=(8,))},
        {"posterior_flow": lambda: flowzoo.Flow([flowzoo.layers.AffineCoupling()], event_shape=3)},
        {"prior_flow": lambda: flowzoo.MAF(3, hidden_units=(8,), initializer="he_normal")},
        {
            "posterior_flow": lambda: flowzoo.IAF(3, hidden_units=(8,)),
            "prior_flow": lambda: flowzoo.NICE(3, base="normal", initializer="he_normal"),
        },
    ],
)
def test_flows_that_start_as_the_identity_leave_the_elbo(flows):
    encoder, decoder = networks()
    plain = flowzoo.FlowVAE(encoder, decoder)
    x = data_of(plain, n=20)
    flows = {role: make() for role, make in flows.items()}
    vae = flowzoo.FlowVAE(encoder, decoder, **flows)
    np.testing.assert_allclose(numpy(vae.elbo(x, seed=0)), numpy(plain.elbo(x, seed=0)), rtol=1e-5)
    for flow in flows.values():
        perturb(flow)
    assert not np.allclose(numpy(vae.elbo(x, seed=0)), numpy(plain.elbo(x, seed=0)), rtol=1e-3)


def test_the_posterior_density_is_that_of_a_change_of_variables(case):
    vae, x = case
    posterior = vae._posterior(ops.convert_to_tensor(x[:1].astype("float32")))
    noise = data_for((vae.latent_dimensions,), n=1, seed=2)
    _, log_q = vae._latent(posterior, ops.convert_to_tensor(noise))
    log_det = jacobian_log_det(lambda e: vae._latent(posterior, e)[0], noise)
    expected = np.sum(-0.5 * noise**2 - 0.5 * LOG_2_PI, axis=1) - log_det
    np.testing.assert_allclose(numpy(log_q), expected, rtol=1e-4, atol=1e-4)


def test_the_prior_density_is_that_of_its_flow(case):
    vae, _ = case
    z = data_for((vae.latent_dimensions,), seed=3)
    if vae.prior_flow is None:
        expected = np.sum(-0.5 * z**2 - 0.5 * LOG_2_PI, axis=1)
    else:
        expected = numpy(vae.prior_flow.log_prob(z.reshape(-1, *vae.latent_shape)))
    np.testing.assert_allclose(numpy(vae._log_prior(ops.convert_to_tensor(z))), expected, rtol=1e-5)


def test_more_importance_samples_tighten_the_bound(case):
    vae, _ = case
    x = data_of(vae, n=100)
    bounds = {
        count: numpy(vae.log_prob(x, num_importance_samples=count, seed=count)) for count in (1, 8, 200)
    }
    draws = np.stack([numpy(vae.elbo(x, seed=seed)) for seed in range(20)])
    # Differences over the same images, whose own spread does not matter then.
    assert bounds[200].mean() > bounds[8].mean() > draws.mean()
    error = draws.std(axis=0) / np.sqrt(20)
    assert (bounds[200] > draws.mean(axis=0) - 5 * error).all()
    difference = bounds[1] - draws.mean(axis=0)
    assert abs(difference.mean()) < 5 * difference.std() / 10


def test_one_importance_sample_is_the_elbo(case):
    vae, x = case
    noise = data_for((vae.latent_dimensions,), n=len(x), seed=1)
    x = ops.convert_to_tensor(x.astype("float32"))
    reconstruction, kl = vae.terms(x, ops.convert_to_tensor(noise))
    nothing_yet = np.full(len(noise), -np.inf, "float32")
    examples = (x, nothing_yet, noise[:, None], *vae._posterior(x))
    log_weights = vae._log_weights.run(examples, (np.int32(1), np.float32(1.0)))
    np.testing.assert_allclose(numpy(log_weights), numpy(reconstruction - kl), rtol=1e-4)


def test_log_prob_does_not_depend_on_how_many_latents_are_decoded_at_a_time(case, monkeypatch):
    vae, x = case
    noise = data_for((vae.latent_dimensions,), n=len(x) * 7, seed=1)
    padded = np.pad(noise.reshape(len(x), 7, -1), ((0, 0), (0, 2), (0, 0)), constant_values=9.0)
    parts = iter([noise, *np.split(padded, 3, axis=1)])  # of the last three, one counts
    monkeypatch.setattr(
        type(vae),
        "_drawn_noise",
        lambda *_: ops.convert_to_tensor(next(parts).reshape(-1, vae.latent_dimensions)),
    )
    whole = numpy(vae.log_prob(x, num_importance_samples=7))
    monkeypatch.setattr("flowzoo.vae.DECODINGS", 3 * len(x))
    np.testing.assert_allclose(numpy(vae.log_prob(x, num_importance_samples=7)), whole, rtol=1e-5)


def test_log_prob_takes_more_examples_than_are_decoded_at_a_time(monkeypatch):
    weights, bias, covariance, random = linear_gaussian()
    vae = linear_gaussian_vae(weights, bias, covariance, width=1.0)
    x = random.normal(size=(7, 5))
    whole = numpy(vae.log_prob(x, num_importance_samples=400, seed=0))
    monkeypatch.setattr("flowzoo.vae.DECODINGS", 3)
    np.testing.assert_allclose(numpy(vae.log_prob(x, num_importance_samples=400, seed=0)), whole, atol=0.5)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="it always knows how many there are")
def test_log_prob_in_a_function_of_any_number_of_examples():
    import tensorflow as tf

    weights, bias, covariance, random = linear_gaussian()
    vae = linear_gaussian_vae(weights, bias, covariance, width=1.0)
    x = random.normal(size=(7, 5)).astype("float32")
    log_prob = tf.function(
        lambda x: vae.log_prob(x, num_importance_samples=400, seed=0),
        input_signature=[tf.TensorSpec((None, 5))],
    )
    expected = numpy(vae.log_prob(x, num_importance_samples=4000, seed=0))
    np.testing.assert_allclose(numpy(log_prob(x)), expected, atol=0.5)
    assert tuple(log_prob(x[:2]).shape) == (2,)
    inputs = keras.Input((5,))
    model = keras.Model(inputs, vae.log_prob(inputs, num_importance_samples=400, seed=0))
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=0.5)


def linear_gaussian(seed=0):
    """x = W z + b + 0.5 e: its marginal is N(b, W W^T + 0.25 I), its posterior Gaussian too."""
    random = np.random.default_rng(seed)
    weights, bias = random.normal(size=(2, 5)), random.normal(size=5)
    precision = np.eye(2) + weights @ weights.T / 0.25
    covariance = np.linalg.inv(precision)
    return weights, bias, covariance, np.random.default_rng(1)


def linear_gaussian_vae(weights, bias, covariance, width):
    """That model, with the posterior's mean and `width` times its marginal deviations for an encoder."""
    x = keras.Input((5,))
    mean, log_scale = keras.layers.Dense(2), keras.layers.Dense(2, kernel_initializer="zeros")
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(5)])
    vae = flowzoo.FlowVAE(
        keras.Model(x, [mean(x), log_scale(x)]), decoder, likelihood="gaussian", likelihood_scale=0.5
    )
    decoder.layers[-1].set_weights([weights, bias])
    mean.set_weights([(covariance @ weights / 0.25).T, -covariance @ weights @ bias / 0.25])
    log_scale.set_weights([np.zeros((5, 2)), np.log(width * np.sqrt(np.diag(covariance)))])
    return vae


def test_log_prob_of_a_linear_gaussian_model_is_the_marginal_likelihood():
    weights, bias, covariance, random = linear_gaussian()
    vae = linear_gaussian_vae(weights, bias, covariance, width=1.3)
    data = random.normal(size=(50, 2)) @ weights + bias + 0.5 * random.normal(size=(50, 5))
    marginal = weights.T @ weights + 0.25 * np.eye(5)
    offset = data - bias
    exact = -0.5 * np.sum(offset @ np.linalg.inv(marginal) * offset, axis=1)
    exact -= 0.5 * np.linalg.slogdet(2 * np.pi * marginal)[1]
    found = numpy(vae.log_prob(data, num_importance_samples=1000, seed=0))
    assert abs(np.mean(found - exact)) < 0.05
    assert np.abs(found - exact).max() < 0.3
    bounds = [numpy(vae.elbo(data, seed=seed)).mean() for seed in range(20)]
    assert np.mean(bounds) < exact.mean() - 0.1


def test_with_the_exact_posterior_every_draw_gives_the_marginal_likelihood():
    # x = z + 0.5 e in one dimension: the posterior is N(0.8 x, 0.2).
    x = keras.Input((1,))
    mean = keras.layers.Dense(1, use_bias=False)
    decoder = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    vae = flowzoo.FlowVAE(
        keras.Model(x, mean(x)),
        decoder,
        likelihood="gaussian",
        likelihood_scale=0.5,
        posterior_scale=np.sqrt(0.2),
    )
    mean.set_weights([np.array([[0.8]])])
    decoder.layers[-1].set_weights([np.array([[1.0]])])
    data = data_for((1,), n=20)
    exact = -0.5 * data[:, 0] ** 2 / 1.25 - 0.5 * np.log(2 * np.pi * 1.25)
    np.testing.assert_allclose(numpy(vae.elbo(data, seed=0)), exact, atol=1e-5)
    np.testing.assert_allclose(numpy(vae.log_prob(data, num_importance_samples=3, seed=0)), exact, atol=1e-5)


def test_the_discretized_logistic_is_a_distribution_of_pixels():
    values = np.arange(256, dtype="float32")[:, None]
    for location, log_scale in ((100.0, 0.0), (-20.0, 2.0), (254.9, -1.0), (128.0, 6.0)):
        location = ops.convert_to_tensor(np.full((256, 1), location, "float32"))
        log_p = numpy(likelihood_distribution("discretized_logistic", location, log_scale).log_prob(values))
        np.testing.assert_allclose(np.exp(log_p.astype("float64")).sum(), 1.0, atol=1e-4)
    for location in (-500.0, 800.0):
        location = ops.convert_to_tensor(np.full((256, 1), location, "float32"))
        log_p = numpy(likelihood_distribution("discretized_logistic", location, 0.0).log_prob(values))
        assert np.isfinite(log_p).all()


# The flows of the two papers.


def test_gated_steps_are_the_update_of_the_paper():
    flow = flowzoo.IAF(
        4,
        autoregressive_layers=3,
        hidden_units=(8,),
        transformer="gated",
        forget_bias=2.0,
        standardize=False,
        context_shape=2,
    )
    perturb(flow)
    z, context = data_for((4,), n=6), data_for((2,), n=6, seed=1)
    x, log_det = flow.forward_and_log_det(ops.convert_to_tensor(z), ops.convert_to_tensor(context))
    expected_log_det = 0.0
    for layer in flow.flow_layers:
        m, s = np.split(numpy(layer.layer.made(z, context)), 2, axis=1)
        gate = sigmoid(s + 2.0)
        z = gate * z + (1 - gate) * m
        expected_log_det = expected_log_det + np.log(gate).sum(axis=1)
    np.testing.assert_allclose(numpy(x), z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numpy(log_det), expected_log_det, rtol=1e-5)
    orders = [layer.layer.order for layer in flow.flow_layers]
    assert orders == ["natural", "reversed", "natural"]


def test_an_iaf_vae_runs_each_network_once_and_its_flow_sees_the_context(monkeypatch):
    vae = VAES["IAFVAE"]()
    perturb(vae)
    mades = [layer.layer.made for layer in vae.posterior_flow.flow_layers]
    calls = [count_calls(monkeypatch, network) for network in (vae.encoder, vae.decoder, *mades)]
    vae.elbo(data_of(vae), seed=0)
    assert [len(each) for each in calls] == [1] * len(calls)
    mean, log_scale, context = vae._posterior(ops.convert_to_tensor(data_of(vae)))
    noise = ops.convert_to_tensor(data_for((3,)))
    z, _ = vae._latent([mean, log_scale, context], noise)
    other, _ = vae._latent([mean, log_scale, context + 1.0], noise)
    assert not np.allclose(numpy(z), numpy(other))


def test_a_diagonal_iaf_vae_is_the_same_network_without_a_flow():
    iaf, diagonal = VAES["IAFVAE"](), VAES["IAFVAE"](posterior="diagonal")
    assert diagonal.posterior_flow is None
    assert diagonal.decoder.count_params() == iaf.decoder.count_params()
    context = 4 * (8 + 1)
    assert diagonal.encoder.count_params() == iaf.encoder.count_params() - context


def test_the_loss_of_an_fvae_is_the_formula_of_the_paper():
    vae = VAES["FVAE"](posterior_scale=0.3, likelihood_scale=20.0)
    perturb(vae.prior_flow, scale=0.1)
    x = data_of(vae, n=4)
    u = data_for((16,), n=4, seed=1)
    h = numpy(vae.encoder(x.astype("float32"))) + 0.3 * u.reshape(4, 2, 2, 4)
    f, log_det = vae.prior_flow.inverse_and_log_det(ops.convert_to_tensor(h))
    error = np.sum((x - numpy(vae.decoder(h)).astype("float64")) ** 2, axis=(1, 2, 3))
    paper = error / (2 * 20.0**2) + 0.5 * np.sum(numpy(f) ** 2, axis=1) - 0.5 * np.sum(u**2, axis=1)
    paper -= numpy(log_det) + 16 * np.log(0.3)
    constants = 192 * np.log(20.0) + 192 / 2 * LOG_2_PI
    reconstruction, kl = vae.terms(ops.convert_to_tensor(x.astype("float32")), ops.convert_to_tensor(u))
    np.testing.assert_allclose(numpy(kl - reconstruction), paper + constants, rtol=1e-5)


def test_an_fvae_takes_a_flow_of_ones_own(tmp_path):
    layer = flowzoo.layers.AffineCoupling(flowzoo.networks.ConvNet(8), head="conv")
    flow = flowzoo.Flow([layer], event_shape=(2, 2, 4))
    vae = VAES["FVAE"](flow=flow)
    perturb(vae, scale=0.1)
    assert vae.prior_flow is flow
    vae.save(tmp_path / "vae.keras")
    loaded = keras.models.load_model(tmp_path / "vae.keras")
    x = data_of(vae)
    np.testing.assert_allclose(numpy(loaded.elbo(x, seed=0)), numpy(vae.elbo(x, seed=0)), rtol=1e-6)


# Training.


def test_every_weight_is_tracked_and_gets_a_gradient(case):
    vae, x = case
    parts = [vae.encoder, vae.decoder, vae.posterior_flow, vae.prior_flow]
    own = 2 - (vae.posterior_log_scale is None) - (vae.likelihood_log_scale is None)
    assert len(vae.weights) == own + sum(len(part.weights) for part in parts if part is not None)
    check_gradients(vae.trainable_weights, lambda: -ops.mean(vae.elbo(x, seed=0)))


@pytest.mark.parametrize("name", VAES)
def test_fit_raises_the_elbo_and_reports_in_nats(name):
    vae = VAES[name]()
    x = data_of(vae, n=1)[[0] * 64]
    vae.compile(optimizer=keras.optimizers.Adam(5e-3), jit_compile=backend.name == "jax")
    history = vae.fit(x, batch_size=16, epochs=4, validation_data=(x,), verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    for prefix in ("", "val_"):
        elbo, loss, reconstruction, kl, bits = (
            np.array(history[prefix + key])
            for key in ("elbo", "loss", "reconstruction", "kl", "bits_per_dim")
        )
        np.testing.assert_allclose(elbo, reconstruction - kl, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(loss, -elbo, rtol=1e-4)
        np.testing.assert_allclose(bits, -elbo / (vae.dimensions * np.log(2)), rtol=1e-4)
    assert not vae.needs_initialization
    predicted = vae.predict(x, verbose=0)
    assert {key: value.shape for key, value in predicted.items()} == {
        "elbo": (64,),
        "kl": (64,),
        "reconstruction": (64,),
    }


def test_fit_starts_the_layers_of_both_flows_from_latents():
    flows = {role: flowzoo.RealNVP(3, couplings=2) for role in ("posterior_flow", "prior_flow")}
    vae = flowzoo.FlowVAE(*networks(), **flows)
    assert vae.needs_initialization
    x = data_of(vae, n=2000)
    vae.initialize(x)
    assert not vae.needs_initialization
    w = numpy(vae.prior_flow.encode(vae.encode(x, mean=False, seed=0)))
    np.testing.assert_allclose(w.mean(axis=0), 0.0, atol=0.2)
    np.testing.assert_allclose(w.std(axis=0), 1.0, atol=0.2)
    vae.compile(optimizer="adam")
    assert np.isfinite(vae.fit(x[:64], verbose=0).history["loss"][0])


def test_fit_takes_datasets_and_weights_of_examples():
    vae = VAES["no flows"]()
    vae.compile(optimizer="adam")
    x = data_of(vae, n=8)
    images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1)).astype("uint8")
    vae.fit(x, sample_weight=np.ones(8), verbose=0)
    image_vae = VAES["IAFVAE"]()
    image_vae.compile(optimizer="adam")
    batches = flowzoo.datasets.ImageBatches(images, batch_size=4, binarize=True)
    assert np.isfinite(image_vae.fit(batches, verbose=0).history["loss"][0])
    with pytest.raises(ValueError, match="takes no context"):
        vae.fit(x, x, verbose=0)
    with pytest.raises(ValueError, match="trains on the ELBO and takes no loss"):
        vae.compile(optimizer="adam", loss="mse")


def test_warm_up_raises_the_weight_of_the_kl_and_goes_on_where_it_was(tmp_path):
    vae = VAES["IAF posterior with context"](warmup_steps=10)
    vae.compile(optimizer=keras.optimizers.SGD(0.0))
    x = data_of(vae, n=12)
    loss = vae.fit(x, batch_size=12, verbose=0).history
    expected = 0.1 * loss["kl"][0] - loss["reconstruction"][0]
    np.testing.assert_allclose(loss["loss"][0], expected, rtol=1e-4)
    evaluated = vae.evaluate(x, batch_size=12, return_dict=True, verbose=0)
    np.testing.assert_allclose(evaluated["loss"], -evaluated["elbo"], rtol=1e-5)
    np.testing.assert_allclose(numpy(vae.kl_weight), 0.1, rtol=1e-5)
    vae.save(tmp_path / "vae.keras")
    vae = keras.models.load_model(tmp_path / "vae.keras")
    vae.fit(x, batch_size=6, verbose=0)
    np.testing.assert_allclose(numpy(vae.kl_weight), 0.3, rtol=1e-5)
    vae.fit(x, batch_size=1, verbose=0)
    assert float(vae.kl_weight) == 1.0


def test_free_bits_hold_the_kl_of_training_alone():
    vae = VAES["no flows"](free_bits=50.0)
    vae.compile(optimizer=keras.optimizers.SGD(0.0))
    x = data_of(vae, n=12)
    history = vae.fit(x, batch_size=12, validation_data=(x,), verbose=0).history
    assert history["kl"][0] < 50.0
    np.testing.assert_allclose(history["loss"][0], 50.0 - history["reconstruction"][0], rtol=1e-4)
    np.testing.assert_allclose(history["val_loss"][0], -history["val_elbo"][0], rtol=1e-4)
    generous = VAES["no flows"](free_bits=1e-3)
    generous.compile(optimizer=keras.optimizers.SGD(0.0))
    history = generous.fit(x, batch_size=12, verbose=0).history
    np.testing.assert_allclose(history["loss"][0], -history["elbo"][0], rtol=1e-4)


def test_training_updates_networks_that_act_otherwise_in_training():
    x = keras.Input((5,))
    hidden = keras.layers.Dropout(0.9)(keras.layers.Dense(8)(x))
    encoder = keras.Model(x, [keras.layers.Dense(2)(hidden), keras.layers.Dense(2)(hidden)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization(), keras.layers.Dense(5)])
    vae = flowzoo.FlowVAE(encoder, decoder)
    data = data_of(vae, n=32)
    moving_mean = numpy(decoder.layers[0].moving_mean).copy()
    vae.compile(optimizer="adam")
    vae.fit(data, verbose=0)
    assert not np.array_equal(numpy(decoder.layers[0].moving_mean), moving_mean)
    np.testing.assert_array_equal(numpy(vae.elbo(data, seed=0)), numpy(vae.elbo(data, seed=0)))


# Samples and latents.


def test_samples_are_seeded_data(case):
    vae, _ = case
    for mean in (True, False):
        samples = numpy(vae.sample(6, mean=mean, seed=1))
        np.testing.assert_array_equal(samples, numpy(vae.sample(6, mean=mean, seed=1)))
        assert not np.array_equal(samples, numpy(vae.sample(6, mean=mean, seed=2)))
        assert samples.shape == (6, *vae.event_shape)
        assert samples.dtype == (np.uint8 if vae.is_image_flow else np.float32)
        if vae.likelihood == "bernoulli":
            assert samples.min() >= 0
            assert samples.max() <= 1
            assert np.isin(samples, (0, 1)).all() == (not mean)
    assert not np.array_equal(numpy(vae.sample(6)), numpy(vae.sample(6)))
    cold = numpy(vae.sample(2, temperature=0.0))
    np.testing.assert_allclose(cold[0], cold[1], rtol=1e-5)


def test_reconstructions_decode_the_encoded(case):
    vae, x = case
    z = vae.encode(x)
    assert tuple(z.shape) == (len(x), vae.latent_dimensions)
    np.testing.assert_array_equal(numpy(vae.reconstruct(x)), numpy(vae.decode(z)))
    assert vae.reconstruct(x).shape == x.shape
    drawn = numpy(vae.encode(x, mean=False, seed=0))
    np.testing.assert_array_equal(drawn, numpy(vae.encode(x, mean=False, seed=0)))
    assert not np.allclose(drawn, numpy(z))
    if vae.posterior_flow is None:
        mean = vae.encoder(x.astype("float32"))
        mean = mean[0] if isinstance(mean, (list, tuple)) else mean
        np.testing.assert_allclose(numpy(z), numpy(mean).reshape(len(x), -1), rtol=1e-5, atol=1e-6)


def test_reconstructions_are_drawn_below_the_images(tmp_path, monkeypatch):
    vae = VAES["FVAE"]()
    perturb(vae, scale=0.1)
    x = data_of(vae, n=4)
    drawn = []
    monkeypatch.setattr("flowzoo.plots.image_grid", lambda images, **_: drawn.append(images))
    flowzoo.plots.reconstructions(vae, x, columns=2)
    found = numpy(vae.reconstruct(x))
    np.testing.assert_array_equal(drawn[0], np.concatenate([x[:2], found[:2], x[2:], found[2:]]))


def test_samples_come_from_the_prior_flow():
    encoder, decoder = networks()
    flow = flowzoo.Flow([flowzoo.layers.DiagonalScaling()], event_shape=3)
    vae = flowzoo.FlowVAE(encoder, decoder, prior_flow=flow, likelihood="gaussian")
    before = numpy(vae.sample(4, seed=0))
    perturb(flow, scale=1.0)
    z = flow.forward_and_log_det(flow._draw(4, 1.0, keras.random.SeedGenerator(0)))[0]
    np.testing.assert_allclose(numpy(vae.sample(4, seed=0)), numpy(decoder(z)), rtol=1e-5, atol=1e-6)
    assert not np.allclose(before, numpy(vae.sample(4, seed=0)))


def test_the_trained_model_draws_what_it_was_trained_on():
    vae = flowzoo.FlowVAE(*networks(), prior_flow=flowzoo.MAF(3, hidden_units=(8,)))
    x = np.tile(np.array([[1.0, 1.0, 0.0, 0.0, 1.0]]), (256, 1))
    vae.compile(optimizer=keras.optimizers.Adam(2e-2))
    vae.fit(x, batch_size=32, epochs=15, verbose=0)
    np.testing.assert_allclose(numpy(vae.sample(50, seed=0)).mean(axis=0), x[0], atol=0.1)


# Saving, dtypes, backends.

LOAD_AND_EVALUATE = """
import json, sys
import keras, numpy as np
import flowzoo
found = {}
for name, path in json.loads(sys.argv[1]).items():
    vae = keras.models.load_model(path + ".keras")
    x, noise = (keras.ops.convert_to_tensor(np.load(path + end)) for end in (".x.npy", ".noise.npy"))
    reconstruction, kl = vae.terms(x, noise)
    found[name] = np.asarray(keras.ops.convert_to_numpy(reconstruction - kl)).tolist()
print(json.dumps(found))
"""


def test_the_elbo_is_the_same_in_a_new_process(tmp_path):
    paths, expected = {}, {}
    for i, (name, make) in enumerate(VAES.items()):
        vae = make()
        perturb(vae, seed=i, scale=0.2)
        x, noise = data_of(vae).astype("float32"), data_for((vae.latent_dimensions,), seed=1)
        path = str(tmp_path / str(i))
        np.save(path + ".x.npy", x)
        np.save(path + ".noise.npy", noise)
        vae.save(path + ".keras")
        reconstruction, kl = vae.terms(ops.convert_to_tensor(x), ops.convert_to_tensor(noise))
        paths[name], expected[name] = path, numpy(reconstruction - kl)
    found = json.loads(run_python(LOAD_AND_EVALUATE, json.dumps(paths)).splitlines()[-1])
    for name, elbo in expected.items():
        np.testing.assert_allclose(found[name], elbo, rtol=1e-5, err_msg=name)


def test_config_round_trip():
    for name, make in VAES.items():
        vae = make(free_bits=1.0, warmup_steps=5)
        twin = type(vae).from_config(json.loads(json.dumps(vae.get_config())))
        if type(vae) is flowzoo.FlowVAE:
            vae = twin  # Keras's functional models have another config after their first round trip
            twin = type(vae).from_config(json.loads(json.dumps(vae.get_config())))
        assert json.dumps(twin.get_config()) == json.dumps(vae.get_config()), name
        assert twin.count_params() == vae.count_params(), name


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", ["IAFVAE", "FVAE"])
def test_mixed_precision_keeps_the_elbo_in_float32(name, policy):
    vae, plain = VAES[name](dtype=policy), VAES[name]()
    perturb(vae, scale=0.05)
    plain.set_weights(vae.get_weights())
    x = data_of(vae, n=16)
    elbo = vae.elbo(x, seed=0)
    assert keras.backend.standardize_dtype(elbo.dtype) == "float32"
    np.testing.assert_allclose(numpy(elbo), numpy(plain.elbo(x, seed=0)), rtol=0.02, atol=0.2)
    assert not np.array_equal(numpy(elbo), numpy(plain.elbo(x, seed=0)))
    vae.compile(optimizer="adam")
    assert np.isfinite(vae.fit(x, verbose=0).history["loss"]).all()


IN_FLOAT64 = """
import sys
sys.path.insert(0, sys.argv[1])
import keras, numpy as np
keras.config.set_floatx("float64")
import flowzoo
from cases import VAES
from test_vae import data_of
for name, make in VAES.items():
    vae = make()
    x = data_of(vae)
    assert keras.backend.standardize_dtype(vae.elbo(x).dtype) == "float64", name
    assert keras.backend.standardize_dtype(vae.log_prob(x, num_importance_samples=3).dtype) == "float64", name
"""


@pytest.mark.slow
def test_float64():
    run_python(IN_FLOAT64, os.path.dirname(__file__), JAX_ENABLE_X64="1")


def test_repr_shows_the_parts():
    vae = VAES["two flows, discretized logistic"]()
    text = repr(vae)
    assert "FlowVAE(event_shape=(5,), latent_shape=(3,)" in text
    assert "posterior_flow: IAF" in text
    assert "prior_flow: MAF" in text


# What goes wrong.


def conv_network(channels):
    return keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(channels, 3, padding="same")])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: flowzoo.FlowVAE("encoder", networks()[1]), "encoder must be a Keras layer"),
        (lambda: flowzoo.FlowVAE(*networks(), likelihood="poisson"), "likelihood must be one of"),
        (
            lambda: flowzoo.FlowVAE(*networks(), posterior_flow=flowzoo.IAF(4)),
            r"must have the encoder's latent shape \(3,\)",
        ),
        (
            lambda: flowzoo.FlowVAE(*networks(), posterior_flow=flowzoo.IAF(3, context_shape=4)),
            "but the encoder gives no context",
        ),
        (
            lambda: flowzoo.FlowVAE(*networks(outputs=3, context_size=4), posterior_flow=flowzoo.IAF(3)),
            r"the encoder gives a context of shape \(4,\)",
        ),
        (lambda: flowzoo.FlowVAE(*networks(outputs=3, context_size=4)), "context_shape is None"),
        (
            lambda: flowzoo.FlowVAE(*networks(), prior_flow=flowzoo.MAF(3, context_shape=2)),
            "prior_flow must be unconditional",
        ),
        (
            lambda: flowzoo.FlowVAE(*networks(), prior_flow=keras.layers.Dense(3)),
            "prior_flow must be a flowzoo.Flow",
        ),
        (lambda: flowzoo.FlowVAE(networks()[0], networks(latent_size=4)[1]), "decoder must take z"),
        (lambda: flowzoo.FlowVAE(conv_network(1), conv_network(2)), r"it gives \(4, 4, 2\)"),
        (
            lambda: flowzoo.FlowVAE(flowzoo.networks.MLP((3,)), networks()[1]),
            "event_shape is missing",
        ),
        (lambda: flowzoo.FlowVAE(*networks(), free_bits=-1.0), "must not be negative"),
        (lambda: flowzoo.FlowVAE(*networks(), likelihood_scale=0.0), "likelihood_scale must be a positive"),
        (lambda: flowzoo.IAFVAE(event_shape=(27, 28, 1)), "Pad the images by 1 rows"),
        (lambda: flowzoo.IAFVAE(posterior="full"), "posterior must be one of"),
        (lambda: flowzoo.FVAE(event_shape=(64, 64)), "height, width, channels"),
        (lambda: flowzoo.FVAE(coupling="mixture"), "coupling must be one of"),
        (lambda: flowzoo.IAF(3, transformer="mixture"), "transformer must be one of"),
    ],
)
def test_bad_arguments_are_explained(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda vae: vae.elbo(255 * np.ones((2, 5))), "takes values from 0 to 1; x has values from 255"),
        (lambda vae: vae.fit(255 * np.ones((2, 5)), verbose=0), "flowzoo.datasets.binarize"),
        (lambda vae: vae.elbo(np.ones((2, 4))), r"x must have shape \(batch, 5\)"),
        (lambda vae: vae.elbo(np.full((2, 5), np.nan)), "NaN"),
        (
            lambda vae: vae.log_prob(np.ones((2, 5)), num_importance_samples=0),
            "num_importance_samples must be",
        ),
        (lambda vae: vae.sample(0), "n must be a positive integer"),
        (lambda vae: vae.sample(2, temperature=-1.0), "temperature must not be negative"),
        (lambda vae: vae.sample(2, [1, 2]), "takes no context"),
        (lambda vae: vae.decode(np.ones((2, 4))), r"z must have shape \(batch, 3\)"),
    ],
)
def test_bad_input_is_explained(use, message):
    vae = VAES["no flows"]()
    vae.compile(optimizer="adam")
    with pytest.raises(ValueError, match=message):
        use(vae)
