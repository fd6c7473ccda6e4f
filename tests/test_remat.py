"""Rematerialisation changes the memory of training, and nothing else."""

import keras
import numpy as np
import pytest
from cases import IMAGE_MODELS, MODELS
from helpers import data_for, numpy, pixels

import flowzoo
from flowzoo import backend
from flowzoo.layers import AffineCoupling, Invert
from flowzoo.networks import MLP
from flowzoo.testing import perturb


def dropout(remat, around=lambda layer: layer):
    """A flow whose networks draw random numbers in training."""
    layers = [AffineCoupling(MLP((16,), dropout=0.5), swap=i % 2 == 1, remat=remat) for i in range(3)]
    return flowzoo.Flow([around(layer) for layer in layers], event_shape=4)


# name -> makes the flow with or without remat, and its data
FLOWS = {
    "Glow": (lambda remat: IMAGE_MODELS["Glow"](remat=remat), pixels((8, 8, 3), n=32)),
    "RealNVP": (lambda remat: IMAGE_MODELS["RealNVP"](levels=1, remat=remat), pixels((4, 4, 3), n=32)),
    "MAF": (
        lambda remat: MODELS["MAF, random, batch normalization"](remat=remat, seed=1),
        data_for((3,), n=32),
    ),
    "dropout": (dropout, data_for((4,), n=32)),
    "dropout, inverted twice": (
        lambda remat: dropout(remat, lambda layer: Invert(Invert(layer))),
        data_for((4,), n=32),
    ),
}


@pytest.mark.parametrize("name", FLOWS)
def test_training_is_the_same(name):
    make, x = FLOWS[name]
    found = []
    for remat in (False, True):
        keras.utils.set_random_seed(0)
        flow = make(remat)
        perturb(flow, scale=0.1)
        for i, state in enumerate(backend.random_states(flow)):
            state.assign([i, 0])
        flow.compile(optimizer=keras.optimizers.SGD(1e-3))
        history = flow.fit(x, batch_size=16, epochs=3, shuffle=False, verbose=0).history
        found.append((history["loss"], flow.get_weights(), [numpy(v) for v in backend.random_states(flow)]))
    for plain, again in zip(*found, strict=True):
        for one, other in zip(plain, again, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_conditioner_runs_again_in_the_backward_pass(monkeypatch):
    runs = []
    call = MLP.call
    monkeypatch.setattr(MLP, "call", lambda self, x: runs.append(1) or call(self, x))
    flow = dropout(remat=True)
    flow.compile()
    x = data_for((4,), n=4)
    flow.evaluate(x, verbose=0)
    assert len(runs) == 3
    runs.clear()
    flow.fit(x, verbose=0)
    # TensorFlow traces the second run of each network; JAX takes it from the first trace.
    assert len(runs) == (6 if backend.name == "tensorflow" else 3)


def test_weights_and_configuration_survive(tmp_path):
    flow = dropout(remat=True)
    perturb(flow)
    x = data_for((4,))
    flow.save(tmp_path / "flow.keras")
    loaded = keras.models.load_model(tmp_path / "flow.keras")
    assert all(layer.remat for layer in loaded.flow_layers)
    np.testing.assert_array_equal(numpy(loaded.log_prob(x)), numpy(flow.log_prob(x)))
    flow.save_weights(tmp_path / "w.weights.h5")
    plain = dropout(remat=False)
    plain.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_allclose(numpy(plain.log_prob(x)), numpy(flow.log_prob(x)), rtol=1e-6)
    assert flowzoo.Glow.from_config(IMAGE_MODELS["Glow"](remat=True).get_config()).remat
