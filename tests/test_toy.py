import math

import keras
import numpy as np
import pytest
from helpers import numpy

import flowzoo
from flowzoo.datasets import Checkerboard, EightGaussians, Rings, Spiral, TwoMoons, midpoint_grid

DENSITIES = {
    "two moons": TwoMoons(),
    "eight Gaussians": EightGaussians(),
    "checkerboard": Checkerboard(),
    "spiral": Spiral(),
    "rings": Rings(),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_densities_integrate_to_one_and_match_their_samples(name):
    density = DENSITIES[name]
    points, area = midpoint_grid(density.limit, 400)
    np.testing.assert_allclose(np.exp(density.log_prob(points)).sum() * area, 1.0, atol=1e-3)
    samples = density.sample(20000, seed=0)
    np.testing.assert_array_equal(samples, density.sample(20000, seed=0))
    np.testing.assert_allclose(-density.log_prob(samples).mean(), density.entropy(), atol=0.02)


def test_entropies_have_their_closed_forms():
    assert math.isclose(Checkerboard().entropy(), math.log(8), rel_tol=1e-6)
    # Far apart, eight Gaussians have the entropy of one and of the choice among eight.
    apart = math.log(8) + math.log(2 * math.pi * math.e * 0.05**2)
    assert math.isclose(EightGaussians(noise=0.05).entropy(), apart, rel_tol=1e-3)


# density and flow -> makes the flow, the peak of its learning rate, and the epochs
FLOWS = {
    ("two moons", "RealNVP"): (
        lambda: flowzoo.RealNVP(event_shape=2, couplings=12, activation="gelu", log_scale_bound=2.0),
        5e-3,
        16,
    ),
    # Without components, twice the layers and four times the epochs come to 0.15 nats, the bound below.
    ("eight Gaussians", "MAF MoG"): (lambda: flowzoo.MAF(event_shape=2, components=8), 5e-3, 12),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", FLOWS, ids=" ".join)
def test_flows_come_close_to_the_entropy_and_integrate_to_one(case):
    density = DENSITIES[case[0]]
    make, peak, epochs = FLOWS[case]
    x, batch_size = density.sample(20000, seed=0), 400
    flow = make()
    rate = keras.optimizers.schedules.CosineDecay(peak, epochs * len(x) // batch_size)
    flow.compile(optimizer=keras.optimizers.Adam(rate, clipnorm=5.0))
    flow.fit(x, batch_size=batch_size, epochs=epochs, verbose=0)
    test = density.sample(20000, seed=1)
    # The gap by the same points: their own sampling error cancels.
    log_prob = flow.predict(test, batch_size=5000, verbose=0)
    gap = float(np.mean(density.log_prob(test) - log_prob))
    assert -0.01 < gap < 0.15
    points, area = midpoint_grid(6.0, 600)
    total = np.exp(flow.predict(points, batch_size=20000, verbose=0).astype("float64")).sum() * area
    np.testing.assert_allclose(total, 1.0, atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: flowzoo.NICE(event_shape=2),
        lambda: flowzoo.MAF(event_shape=2, components=5, autoregressive_layers=2),
        lambda: flowzoo.IAF(event_shape=2, autoregressive_layers=2),
    ],
    ids=["NICE", "MAF MoG", "IAF"],
)
def test_other_flows_integrate_to_one_after_training(make):
    flow = make()
    flow.compile(optimizer=keras.optimizers.Adam(2e-3))
    flow.fit(TwoMoons().sample(4000, seed=0), batch_size=100, epochs=3, verbose=0)
    points, area = midpoint_grid(12.0, 600)
    log_prob = numpy(flow.predict(points, batch_size=40000, verbose=0)).astype("float64")
    np.testing.assert_allclose(np.exp(log_prob).sum() * area, 1.0, atol=1e-2)
