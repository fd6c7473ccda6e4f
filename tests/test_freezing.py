"""Frozen layers stay frozen: in training, and in what is saved and loaded."""

import keras
import numpy as np
import pytest
from cases import IMAGE_MODELS, MODELS, VAES
from helpers import data_for, numpy

import flowzoo
from flowzoo import layers
from flowzoo.freezing import frozen_layers

# One of each class.
MAKE = {
    **{
        f"flow, {name}": MODELS[name]
        for name in ("NICE", "RealNVP, batch normalization", "MAF", "IAF", "NSF")
    },
    **{f"image flow, {name}": IMAGE_MODELS[name] for name in ("Glow, variational, logit", "RealNVP")},
    **{f"VAE, {name}": VAES[name] for name in ("two flows, discretized logistic", "IAFVAE", "FVAE")},
    "own flow": lambda: flowzoo.Flow(
        [layers.AffineCoupling(keras.Sequential([keras.layers.Dense(4)])), layers.BatchNormalization()],
        event_shape=3,
    ),
}


def inner_layers(model):
    """Every second layer with weights, of those within the layers of the model."""
    found = [layer for layer in model._flatten_layers(include_self=False) if layer.trainable_weights]
    return found[1::2]


def frozen_weights(model):
    return [not weight.trainable for weight in model.weights]


@pytest.mark.parametrize("name", MAKE)
def test_frozen_layers_are_frozen_when_they_are_loaded(name, tmp_path):
    model = MAKE[name]()
    assert "frozen" not in model.get_config()
    trainable = len(model.trainable_weights)
    for layer in inner_layers(model):
        layer.trainable = False
    assert 0 < len(model.trainable_weights) < trainable or len(inner_layers(model)) == 0
    model.save(tmp_path / "model.keras")
    for twin in (keras.models.load_model(tmp_path / "model.keras"), keras.models.clone_model(model)):
        assert frozen_layers(twin) == frozen_layers(model)
        assert frozen_weights(twin) == frozen_weights(model)
    model.trainable = False
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").trainable_weights == []


def test_training_goes_on_with_what_was_frozen(tmp_path):
    x = data_for((3,), n=64)
    flow = MODELS["RealNVP"]()
    flow.flow_layers[0].trainable = False
    flow.compile(optimizer="adam")
    flow.fit(x, verbose=0)
    flow.save(tmp_path / "flow.keras")
    loaded = keras.models.load_model(tmp_path / "flow.keras")
    assert int(loaded.optimizer.iterations) == 2
    before = loaded.get_weights()
    loaded.fit(x, verbose=0)
    same = [np.array_equal(old, new) for old, new in zip(before, loaded.get_weights(), strict=True)]
    kept = len(loaded.flow_layers[0].weights)
    assert all(same[:kept])
    assert not any(same[kept : kept + 2])


def test_published_models_are_free_to_train(tmp_path):
    flow = flowzoo.NICE(event_shape=2, couplings=2, hidden_units=(8,))
    flow.flow_layers[1].trainable = False
    flowzoo.save_pretrained(flow, tmp_path / "tiny", description="Small.", licence="Apache-2.0")
    assert len(flowzoo.load(tmp_path / "tiny").trainable_weights) == len(flow.trainable_weights) + 4


@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")  # Keras, on TensorFlow
@pytest.mark.parametrize("all_layers", [False, True])
def test_frozen_batch_normalization_keeps_its_averages(all_layers):
    """As Keras's own, which uses them in training, too."""
    flow = MODELS["RealNVP, batch normalization"](standardize=False)
    x = 3.0 + data_for((3,), n=64)
    flow.compile(optimizer="sgd")
    flow.fit(x, verbose=0)
    norms = [layer for layer in flow.flow_layers if isinstance(layer, layers.BatchNormalization)]
    norms[-1].trainable = False  # that at the data, whose mean is 3
    if all_layers:
        flow.trainable = False
    averages = [numpy(layer.statistics.mean) for layer in norms]
    assert 0.01 < averages[-1].min() < 2
    flow.compile(optimizer="sgd")
    flow.fit(x, verbose=0)
    moved = [
        not np.array_equal(numpy(layer.statistics.mean), old)
        for layer, old in zip(norms, averages, strict=True)
    ]
    assert moved == ([False] * 4 if all_layers else [True] * 3 + [False])
    for in_training, elsewhere in zip(
        norms[-1](x, log_det=True, training=True), norms[-1](x, log_det=True), strict=True
    ):
        np.testing.assert_array_equal(numpy(in_training), numpy(elsewhere))
