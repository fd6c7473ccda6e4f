import keras
import numpy as np
import pytest
from helpers import numpy

import flowzoo
from flowzoo.testing import perturb

SMALL = {"spline_layers": 3, "hidden_units": (16, 16), "bins": 5}


def grid_of_torus(n=150):
    axis = -np.pi + 2 * np.pi * (np.arange(n) + 0.5) / n
    return np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2).astype("float32"), (2 * np.pi / n) ** 2


@pytest.mark.parametrize("autoregressive", [False, True])
def test_on_the_torus_the_density_closes_integrates_to_one_and_is_sampled(autoregressive):
    flow = flowzoo.NSF(2, periodic=(0, 1), autoregressive=autoregressive, **SMALL)
    perturb(flow)
    points, area = grid_of_torus()
    density = np.exp(numpy(flow.log_prob(points)).astype("float64"))
    assert abs(density.sum() * area - 1) < 0.01
    edge = np.array([[-np.pi, 0.4], [3.1415925, 0.4], [0.4, -np.pi], [0.4, 3.1415925]], "float32")
    log_prob = numpy(flow.log_prob(edge))
    np.testing.assert_allclose(log_prob[::2], log_prob[1::2], atol=5e-3)
    samples = numpy(flow.sample(5000, seed=0))
    assert (np.abs(samples) <= np.pi).all()
    found, _, _ = np.histogram2d(*samples.T, bins=5, range=[[-np.pi, np.pi]] * 2)
    expected = density.reshape(5, 30, 5, 30).sum((1, 3)).T * area
    np.testing.assert_allclose(found / 5000, expected, atol=0.03)
    assert numpy(flow.log_prob([[3.2, 0.0]]))[0] == -np.inf
    z = numpy(flow.encode(samples[:50]))
    difference = np.abs(numpy(flow.decode(z)) - samples[:50])
    assert np.minimum(difference, 2 * np.pi - difference).max() < 1e-3


def test_angles_and_other_dimensions_mix():
    flow = flowzoo.NSF(4, periodic=(0, 2), seed=0, **SMALL)
    perturb(flow, scale=0.2)
    x = np.random.default_rng(0).uniform(-3, 3, (50, 4)).astype("float32")
    np.testing.assert_allclose(numpy(flow.decode(numpy(flow.encode(x)))), x, atol=1e-3)
    left, right = x.copy(), x.copy()
    left[:, 2], right[:, 2] = -np.pi, 3.1415925
    np.testing.assert_allclose(numpy(flow.log_prob(left)), numpy(flow.log_prob(right)), atol=2e-2)


def test_one_dimension_with_two_modes():
    random = np.random.default_rng(0)
    x = (random.choice([-1.5, 1.5], 4000) + 0.3 * random.normal(size=4000)).astype("float32")[:, None]
    flow = flowzoo.NSF(1, spline_layers=2, hidden_units=(16,))
    flow.compile(keras.optimizers.Adam(0.01))
    flow.fit(x, batch_size=200, epochs=15, verbose=0)
    new = random.choice([-1.5, 1.5], 20000) + 0.3 * random.normal(size=20000)
    modes = [np.exp(-0.5 * ((new - m) / 0.3) ** 2) / (0.3 * np.sqrt(2 * np.pi)) for m in (-1.5, 1.5)]
    truth = np.log(np.mean(modes, axis=0)).mean()
    gap = truth - numpy(flow.log_prob(new[:, None].astype("float32"))).mean()
    assert -0.01 < gap < 0.05  # a Gaussian has 0.73


def test_arguments_of_the_other_form_are_refused():
    with pytest.raises(ValueError, match="levels is not for vectors"):
        flowzoo.NSF(3, levels=2)
    with pytest.raises(ValueError, match="hidden_units is not for images"):
        flowzoo.NSF((8, 8, 3), hidden_units=(8,))
    with pytest.raises(ValueError, match="autoregressive form is for vectors"):
        flowzoo.NSF((8, 8, 3), autoregressive=True)
    with pytest.raises(ValueError, match="periodic must hold different numbers from 0 to 2"):
        flowzoo.NSF(3, periodic=(3,))
    with pytest.raises(ValueError, match="all of one width"):
        flowzoo.NSF(3, hidden_units=(16, 8))
