"""What users of tensorflow/probability are stuck on, each named after its issue, done with flowzoo."""

import keras
import numpy as np
import pytest
from cases import MODELS
from helpers import data_for, numpy
from keras import ops

import flowzoo
from flowzoo import backend
from flowzoo.layers import AffineCoupling, Chain, Invert, MaskedAutoregressive, TFPBijector
from flowzoo.networks import MLP
from flowzoo.testing import gradients, perturb


def test_issue_355_weights_of_a_flow_within_a_keras_model_are_tracked():
    """https://github.com/tensorflow/probability/issues/355"""

    class Density(keras.Model):
        def __init__(self):
            super().__init__()
            self.flow = flowzoo.Flow(
                [
                    AffineCoupling(MLP((8,))),
                    TFPBijector("Permute", {"permutation": [1, 0]}),
                    AffineCoupling(MLP((8,))),
                ],
                event_shape=2,
            )
            self.built = True

        def call(self, x):
            return self.flow(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return -ops.mean(y_pred)

    model = Density()
    assert len(model.trainable_variables) == 8
    x = 3.0 + data_for((2,), n=128)
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    losses = model.fit(x, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 0.5


def test_issue_674_a_trained_flow_is_saved_and_loaded(tmp_path):
    """https://github.com/tensorflow/probability/issues/674"""
    x = data_for((3,), n=64)
    flow = flowzoo.MAF(event_shape=3)
    flow.compile(optimizer="adam")
    flow.fit(x, verbose=0)
    flow.save(tmp_path / "maf.keras")
    loaded = keras.models.load_model(tmp_path / "maf.keras")
    assert isinstance(loaded, flowzoo.MAF)
    np.testing.assert_array_equal(numpy(loaded.log_prob(x)), numpy(flow.log_prob(x)))
    np.testing.assert_array_equal(numpy(loaded.sample(4, seed=0)), numpy(flow.sample(4, seed=0)))


def test_issue_787_eight_autoregressive_layers_have_eight_networks():
    """https://github.com/tensorflow/probability/issues/787"""
    flow = flowzoo.MAF(event_shape=2, autoregressive_layers=8, hidden_units=(16,))
    assert len(flow.trainable_variables) == 8 * 4
    assert len({id(weight) for weight in flow.trainable_variables}) == 8 * 4
    with pytest.raises(ValueError, match="share their weights"):
        flowzoo.Flow([MaskedAutoregressive()] * 8, event_shape=2)


@pytest.mark.parametrize("name", ["MAF", "IAF", "RealNVP"])
def test_issue_811_flows_work_in_the_functional_api(name):
    """https://github.com/tensorflow/probability/issues/811"""
    flow = MODELS[name]()
    inputs = keras.Input((3,))
    model = keras.Model(inputs, flow(inputs))
    x = data_for((3,), n=8)
    np.testing.assert_allclose(model.predict(x, verbose=0), numpy(flow.log_prob(x)), rtol=1e-4, atol=1e-5)
    assert len(model.trainable_variables) == len(flow.trainable_variables) > 0


def test_issue_1282_a_distribution_trains_the_weights_of_its_conditioner():
    """https://github.com/tensorflow/probability/issues/1282"""
    network = keras.Sequential([keras.layers.Dense(8, activation="relu")])
    flow = flowzoo.Flow([AffineCoupling(network)], event_shape=2)
    perturb(flow)
    assert {id(w) for w in network.trainable_variables} <= {id(w) for w in flow.trainable_variables}
    x = ops.convert_to_tensor(data_for((2,), n=16))
    found = gradients(flow.trainable_weights, lambda: -ops.mean(flow.distribution.log_prob(x)))
    assert all(np.abs(gradient).max() > 0 for gradient in found)


def test_issue_1410_a_chain_takes_its_context_flat():
    """https://github.com/tensorflow/probability/issues/1410"""
    flow = flowzoo.MAF(event_shape=2, autoregressive_layers=3, context_shape=1)
    perturb(flow)
    x, context = data_for((2,)), data_for((1,), seed=1)
    found = flow.distribution.log_prob(x, context=context)
    np.testing.assert_allclose(numpy(found), numpy(flow.log_prob(x, context)), rtol=1e-5)
    assert not np.allclose(numpy(found), numpy(flow.log_prob(x, context + 1)))
    sample = flow.distribution.sample(4, seed=backend.random_key(0), context=context)
    assert tuple(sample.shape) == (4, 2)


def test_issue_1437_an_inverted_autoregressive_flow_trains_in_a_keras_model():
    """https://github.com/tensorflow/probability/issues/1437"""
    flow = flowzoo.Flow([Invert(MaskedAutoregressive(hidden_units=(8,)))], event_shape=2)
    inputs = keras.Input((2,))
    keras.Model(inputs, flow(inputs))
    flow.compile(optimizer=keras.optimizers.Adam(1e-2))
    x = 2.0 + data_for((2,), n=128)
    losses = flow.fit(x, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 0.2


def test_issue_1439_a_real_nvp_has_trainable_variables():
    """https://github.com/tensorflow/probability/issues/1439"""
    flow = flowzoo.Flow([AffineCoupling(MLP((512, 512)))], event_shape=6)
    assert len(flow.trainable_variables) == 6
    assert flow.count_params() == (3 * 512 + 512) + (512 * 512 + 512) + (512 * 6 + 6)
    x = flow.distribution.sample(4, seed=backend.random_key(0))
    assert np.isfinite(numpy(flow.distribution.log_prob(x))).all()


def test_issue_1454_glow_trains_by_fit_and_its_samples_are_finite():
    """https://github.com/tensorflow/probability/issues/1454"""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (64, 1, 1, 3))
    x = np.clip(colours + rng.normal(0, 12, (64, 32, 32, 3)), 0, 255).astype("uint8")
    flow = flowzoo.Glow(event_shape=(32, 32, 3), levels=3, steps=2, hidden_channels=16)
    flow.compile(optimizer=keras.optimizers.Adam(2e-3))
    bits = flow.fit(x, epochs=6, batch_size=16, verbose=0).history["bits_per_dim"]
    assert bits[-1] < min(bits[0], 8)
    z = flow.base_distribution.sample(16, seed=backend.random_key(0))
    reals, log_det = flow.forward_and_log_det(z)
    z = ops.reshape(z, (16, *flow.latent_shape))
    before_rounding = Chain(flow.flow_layers[:-1]).forward_and_log_det(z)[0]
    for values in (reals, log_det, before_rounding):
        assert np.isfinite(numpy(values)).all()
    samples = numpy(flow.sample(16, seed=0))
    assert samples.dtype == np.uint8
    assert samples.std() > 10
    np.testing.assert_array_equal(numpy(flow.decode(flow.encode(x))), x)
