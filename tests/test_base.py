import keras
import numpy as np
import pytest
from helpers import numpy
from keras import ops

import flowzoo
from flowzoo.backend import tfd
from flowzoo.base import GaussianMixture, Standard, StudentT
from flowzoo.naming import named_weights

BASES = {
    "normal": lambda: "normal",
    "logistic": lambda: "logistic",
    "uniform": lambda: "uniform",
    "of each dimension": lambda: ("normal", "circle"),
    "Student-t": lambda: StudentT(3.0),
    "mixture": lambda: GaussianMixture(3, seed=0),
    "mixture by name": lambda: "mixture",
}


def flow_over(base, **kwargs):
    layer = flowzoo.layers.AffineCoupling(flowzoo.networks.MLP((8,)))
    return flowzoo.Flow([layer], event_shape=2, base=base, **kwargs)


@pytest.mark.parametrize("name", BASES)
def test_the_density_of_every_base_integrates_to_one_and_its_samples_follow_it(name):
    flow = flowzoo.Flow([], event_shape=2, base=BASES[name]())
    edges = np.linspace(-60, 60, 1201)
    middle = (edges[1:] + edges[:-1]) / 2
    grid = np.stack(np.meshgrid(middle, middle), -1).reshape(-1, 2).astype("float32")
    mass = np.exp(numpy(flow.log_prob(grid)).astype("float64")) * 0.01
    assert abs(mass.sum() - 1) < 0.02
    samples = numpy(flow.sample(20000, seed=0))
    for axis in (0, 1):
        expected = np.cumsum(mass.reshape(1200, 1200).sum(axis=axis))  # of the columns, then of the rows
        found = np.searchsorted(np.sort(samples[:, axis]), edges[1:]) / len(samples)
        assert np.abs(found - expected).max() < 0.03


@pytest.mark.parametrize("name", BASES)
def test_flows_over_every_base_come_back_from_a_file(name, tmp_path):
    flow = flow_over(BASES[name]())
    for weight in flow.base_layer.weights:
        weight.assign_add(0.1 * ops.ones(weight.shape))
    flow.save(tmp_path / "flow.keras")
    again = keras.models.load_model(tmp_path / "flow.keras")
    x = np.array([[0.1, 0.2], [0.5, 0.7]], "float32")
    np.testing.assert_allclose(numpy(again.log_prob(x)), numpy(flow.log_prob(x)), rtol=1e-6)
    np.testing.assert_array_equal(numpy(again.sample(3, seed=0)), numpy(flow.sample(3, seed=0)))


def test_the_weights_of_a_base_are_trained_and_a_held_distribution_follows_them():
    flow = flow_over("mixture")
    assert {"base/logits", "base/means", "base/log_scales"} < set(named_weights(flow))
    x = np.random.default_rng(0).normal(size=(200, 2)).astype("float32") + 3
    held = flow.distribution
    before = numpy(held.log_prob(x)), numpy(flow.sample(100, seed=0))
    flow.compile(keras.optimizers.Adam(0.05))
    flow.fit(x, epochs=5, verbose=0)
    np.testing.assert_allclose(numpy(held.log_prob(x)), numpy(flow.log_prob(x)), rtol=1e-5, atol=1e-5)
    assert numpy(held.log_prob(x)).mean() > before[0].mean() + 1
    assert numpy(flow.sample(100, seed=0)).mean() > before[1].mean() + 1


def test_a_base_may_be_any_tfp_distribution_but_then_cannot_be_saved(tmp_path):
    given = tfd.Independent(tfd.Laplace(np.zeros(2, "float32"), np.ones(2, "float32")), 1)
    flow = flow_over(given)
    x = np.array([[0.5, -2.0]], "float32")
    np.testing.assert_allclose(numpy(flow.log_prob(x)), [-2.5 - 2 * np.log(2)], rtol=1e-5)
    assert flow.sample(4, seed=0).shape == (4, 2)
    with pytest.raises(ValueError, match=r"cannot be saved.*flowzoo\.base\.Base"):
        flow.save(tmp_path / "flow.keras")
    with pytest.raises(ValueError, match=r"event shape \(2,\).*has \(3,\)"):
        flow_over(tfd.MultivariateNormalDiag(np.zeros(3, "float32"), np.ones(3, "float32")))


def test_bases_that_are_none_are_refused_by_name():
    with pytest.raises(ValueError, match="'student_t'"):
        flow_over("gaussian")
    with pytest.raises(ValueError, match="base names 3 distributions for 2 dimensions"):
        flow_over(("normal", "uniform", "circle"))
    with pytest.raises(ValueError, match="df must be positive"):
        StudentT(0)
    with pytest.raises(ValueError, match="learned=False"):
        flow_over("student_t").fit_variational(lambda x: -ops.sum(x**2, -1), steps=1)


def test_the_degrees_of_freedom_are_those_of_the_data():
    x = np.random.default_rng(0).standard_t(3, size=(20000, 1)).astype("float32")
    flow = flowzoo.Flow([], event_shape=1, base=StudentT(10.0))
    flow.compile(keras.optimizers.Adam(0.05))
    flow.fit(x, batch_size=1000, epochs=10, verbose=0)
    assert 2.6 < np.exp(numpy(flow.base_layer.log_df)[0]) < 3.4
    fixed = flowzoo.Flow([], event_shape=1, base=StudentT(3.0, learned=False))
    assert not fixed.trainable_weights
    assert isinstance(flowzoo.base.get("logistic"), Standard)
