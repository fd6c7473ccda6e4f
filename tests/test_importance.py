"""Densities of integers by many draws of the dequantisation noise."""

import numpy as np
import pytest
from helpers import data_for, numpy, pixels

import flowzoo
from flowzoo.layers import Dequantize, GaussianDequantize, Rescale, VariationalDequantize
from flowzoo.registry.card import card
from flowzoo.testing import perturb


def learned_noise():
    layers = [Rescale(100.0, 128.0), VariationalDequantize(couplings=2, hidden_channels=4)]
    flow = flowzoo.Flow(layers, event_shape=(4, 4, 1))
    perturb(flow, scale=0.3)
    return flow


PIXELS = np.array([[0, 1, 2, 0], [3, 0, 0, 1]]).reshape(2, 2, 2, 1)


@pytest.mark.parametrize("layer", [Dequantize(), VariationalDequantize(couplings=2, hidden_channels=4)])
def test_many_draws_come_from_below_to_the_probability_of_integers(layer):
    flow = flowzoo.Flow([layer], event_shape=(2, 2, 1), base="logistic")
    perturb(flow, scale=0.3)
    cdf = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    exact = np.log(cdf(PIXELS + 1.0) - cdf(PIXELS)).sum(axis=(1, 2, 3))
    repeated = np.repeat(PIXELS, 500, axis=0)

    def means(count):
        found = numpy(flow.log_prob(repeated, num_importance_samples=count, seed=0))
        return found.reshape(2, -1).mean(axis=1)

    bound, some, many = map(means, (None, 2, 50))
    assert (bound < some - 1e-3).all()
    assert (some < many - 1e-3).all()
    np.testing.assert_allclose(many, exact, atol=0.03)  # the noise keeps off the margin, of 0.001 a side


def test_the_estimate_is_the_mean_density_of_its_draws_in_bits_too():
    flow = learned_noise()
    x = pixels(flow.event_shape, n=3)
    noise = []
    draw = flow._drawn_noise
    flow._drawn_noise = lambda *given: noise.append(draw(*given)) or noise[-1]
    found = numpy(flow.log_prob(x, num_importance_samples=4, seed=1))
    assert len(noise) == 4
    densities = np.stack([numpy(flow.fixed_log_prob(x, noise=each)) for each in noise]).astype("float64")
    assert len(np.unique(densities)) == 12
    top = densities.max(axis=0)
    np.testing.assert_allclose(found, top + np.log(np.exp(densities - top).mean(axis=0)), rtol=1e-6)
    bits = numpy(flow.bits_per_dim(x, num_importance_samples=4, seed=1))
    np.testing.assert_allclose(bits, -found / flow.dimensions / np.log(2), rtol=1e-6)


def test_class_log_probs_by_importance_samples_are_those_of_bayes():
    flow = flowzoo.Glow(
        (4, 4, 1), levels=1, steps=1, hidden_channels=4, classes=3, dequantization="variational"
    )
    perturb(flow, scale=0.3)
    x = pixels((4, 4, 1), n=4)
    densities = [numpy(flow.log_prob(x, [y] * 4, num_importance_samples=3, seed=2)) for y in range(3)]
    expected = np.stack(densities, axis=1) - np.logaddexp.reduce(densities, axis=0)[:, None]
    found = numpy(flow.class_log_probs(x, num_importance_samples=3, seed=2))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert not np.allclose(found, numpy(flow.class_log_probs(x, seed=2)), atol=1e-3)


def test_flows_without_a_bound_refuse_importance_samples():
    with pytest.raises(ValueError, match="has no dequantisation noise"):
        flowzoo.NICE(event_shape=2).log_prob(data_for((2,)), num_importance_samples=5)
    noisy = flowzoo.Flow([GaussianDequantize()], event_shape=(4, 4, 1))
    for estimate in (noisy.bits_per_dim, noisy.log_prob):
        with pytest.raises(ValueError, match="has Gaussian noise, which makes no bound"):
            estimate(pixels((4, 4, 1)), num_importance_samples=5)
    with pytest.raises(ValueError, match="num_importance_samples must be a positive integer; got 0"):
        learned_noise().bits_per_dim(pixels((4, 4, 1)), num_importance_samples=0)


def test_bound_and_estimate_are_measured_and_told_of():
    flow = learned_noise()
    x = pixels(flow.event_shape, n=5)
    bound, found = (flow.measure(x, importance_samples=k, seed=3, batch_size=3) for k in (None, 6))
    estimates = [
        numpy(flow.bits_per_dim(x[part], num_importance_samples=6, seed=3 + part.start))
        for part in (slice(0, 3), slice(3, 5))
    ]
    np.testing.assert_allclose(
        found.pop("bits_per_dim_estimate"), np.concatenate(estimates).mean(), rtol=1e-5
    )
    assert found.pop("importance_samples") == 6
    assert found == pytest.approx(bound, rel=1e-5)
    facts = {
        "name": "tiny",
        "class": "Glow",
        "config": {"event_shape": [8, 8, 3], "dequantization": "variational"},
        "data": {"name": "mnist"},
        "metrics": {"split": "test", **bound, "importance_samples": 6, "bits_per_dim_estimate": 1.25},
        "weights": {"file": "model.weights.h5", "dtype": "float16", "bytes": 1, "sha256": "0"},
        "parameters": 1,
    }
    text = card(facts)
    assert f"| negative log-likelihood, bound | {bound['bits_per_dim']:.3f} bits/dim | – |" in text
    assert "| negative log-likelihood, importance-weighted estimate | 1.250 bits/dim | – |" in text
    assert "one draw of the noise an image, and 6 for the estimate" in " ".join(text.split())
