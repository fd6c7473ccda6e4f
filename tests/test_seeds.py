"""A seed is an integer, a Keras SeedGenerator or a key of the backend, in every method that draws."""

import keras
import numpy as np
import pytest
from cases import VAES
from helpers import data_for, numpy, pixels

import flowzoo
from flowzoo import backend, metrics
from flowzoo.testing import perturb


def image_flow():
    flow = flowzoo.NICE(event_shape=(2, 2, 1), couplings=2, hidden_units=(8,))
    perturb(flow)
    return flow, pixels((2, 2, 1), n=4)


def autoencoder():
    vae = VAES["fixed width, gaussian"]()
    return vae, data_for((5,), n=4)


def variational(flow, seed):
    flow = flowzoo.IAF(event_shape=2, autoregressive_layers=1, hidden_units=(4,))
    flow.set_weights([np.zeros(weight.shape) for weight in flow.get_weights()])
    flow.fit_variational(lambda x: -keras.ops.sum((x - 1) ** 2, axis=-1), steps=2, seed=seed, verbose=0)
    return np.concatenate([weight.ravel() for weight in flow.get_weights()])


FLOW = {
    "log_prob": lambda flow, x, seed: flow.log_prob(x, seed=seed),
    "log_prob in batches": lambda flow, x, seed: flow.log_prob(x, seed=seed, batch_size=2),
    "bits_per_dim": lambda flow, x, seed: flow.bits_per_dim(x, seed=seed),
    "encode": lambda flow, x, seed: flow.encode(x, seed=seed),
    "sample": lambda flow, x, seed: flow.sample(4, seed=seed),
    "inverse_and_log_det": lambda flow, x, seed: flow.inverse_and_log_det(x.astype("float32"), seed=seed)[0],
    "inverse_and_log_dets": lambda flow, x, seed: flow.inverse_and_log_dets(x, seed=seed)[0],
    "interpolate": lambda flow, x, seed: flow.interpolate(x[0], x[1], seed=seed),
    "attribute_direction": lambda flow, x, seed: flow.attribute_direction(x[:2], x[2:], seed=seed),
    "mean_latent": lambda flow, x, seed: flow.mean_latent(x, batch_size=3, seed=seed),
    "manipulate": lambda flow, x, seed: flow.manipulate(x, 0.1 * np.ones(4), seed=seed),
    "reconstruct": lambda flow, x, seed: flow.reconstruct(x, resample_levels=[0], seed=seed),
    "anomaly_score": lambda flow, x, seed: flow.anomaly_score(x, seed=seed),
    "measure": lambda flow, x, seed: flow.measure(x, seed=seed, batch_size=3)["bits_per_dim"],
    "log_likelihoods": lambda flow, x, seed: metrics.log_likelihoods(flow, x, seed=seed)["pixels"],
    "distribution.sample": lambda flow, x, seed: flow.distribution.sample(4, seed=backend.random_key(seed)),
    "distribution.log_prob": lambda flow, x, seed: flow.distribution.log_prob(x.astype("float32"), seed=seed),
    "fit_variational": lambda flow, x, seed: variational(flow, seed),
}
VAE = {
    "elbo": lambda vae, x, seed: vae.elbo(x, seed=seed),
    "VAE.log_prob": lambda vae, x, seed: vae.log_prob(x, num_importance_samples=3, seed=seed),
    "VAE.bits_per_dim": lambda vae, x, seed: vae.bits_per_dim(x, num_importance_samples=3, seed=seed),
    "VAE.sample": lambda vae, x, seed: vae.sample(4, mean=False, seed=seed),
    "VAE.encode": lambda vae, x, seed: vae.encode(x, mean=False, seed=seed),
    "VAE.reconstruct": lambda vae, x, seed: vae.reconstruct(x, mean=False, seed=seed),
    "VAE.measure": lambda vae, x, seed: vae.measure(x, importance_samples=3, batch_size=3, seed=seed)["elbo"],
}


@pytest.mark.parametrize("method", [*FLOW, *VAE])
def test_seeds_of_every_kind_mean_the_same_everywhere(method):
    model, x = image_flow() if method in FLOW else autoencoder()
    call = {**FLOW, **VAE}[method]

    def drawn(seed):
        return numpy(call(model, x, seed))

    expected = drawn(7)
    fixed = method in ("manipulate",)  # its pixels come back, whatever the noise
    for same in (
        np.int64(7),
        keras.ops.convert_to_tensor(7),
        backend.random_key(7),
        backend.random_key(np.int32(7)),
    ):
        np.testing.assert_array_equal(drawn(same), expected)
    key = keras.random.SeedGenerator(7).next()
    if method != "distribution.sample":
        np.testing.assert_array_equal(drawn(keras.random.SeedGenerator(7)), drawn(key))
    if backend.name == "jax":
        import jax

        np.testing.assert_array_equal(drawn(jax.random.key(7)), drawn(jax.random.PRNGKey(7)))
    generator = keras.random.SeedGenerator(7)
    first, second = drawn(generator), drawn(generator)
    if not fixed and method != "interpolate":
        assert not np.array_equal(first, second)
        assert not np.array_equal(drawn(9), expected)
    for wrong in ("text", 1.5, np.float64(3), [1, 2, 3], np.zeros(2)):
        with pytest.raises(TypeError, match="seed must be an integer, a keras"):
            drawn(wrong)


def test_a_seed_that_draws_nothing_is_checked_and_moves_nothing_on():
    flow = flowzoo.RealNVP(event_shape=2, couplings=2, hidden_units=(4,))
    x = data_for((2,))
    generator = keras.random.SeedGenerator(7)
    before = numpy(generator.state)
    flow.log_prob(x, seed=generator)
    np.testing.assert_array_equal(numpy(generator.state), before)
    with pytest.raises(TypeError, match="seed must be"):
        flow.log_prob(x, seed="text")


def test_a_seed_starts_the_weights_alike_on_both_backends():
    def weights():
        return flowzoo.Glow(event_shape=(4, 4, 1), levels=1, steps=1, hidden_channels=8).get_weights()

    keras.utils.set_random_seed(3)
    first, second = weights(), weights()
    keras.utils.set_random_seed(3)
    assert all(np.array_equal(a, b) for a, b in zip(first, weights(), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert sum(np.abs(weight).sum() for weight in first) == pytest.approx(121.6805, abs=1e-3)
