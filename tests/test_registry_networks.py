"""Networks in a `model.json`: trusted kinds alone, and no absurd sizes."""

import json
import math

import keras
import numpy as np
import pytest
from cases import IMAGE_MODELS
from helpers import data_for, numpy, pixels

import flowzoo
from flowzoo.naming import named_weights
from flowzoo.networks import MLP, ConvNet, ResidualMLP, ResNet
from flowzoo.registry import RegistryError
from flowzoo.registry.architecture import build
from flowzoo.registry.networks import is_network, network_size
from flowzoo.testing import perturb

layers = keras.layers


def serialized(network):
    return json.loads(json.dumps(keras.saving.serialize_keras_object(network)))


TRUSTED = {
    "dense": (lambda: layers.Dense(8, "gelu", kernel_initializer="he_normal"), (5,)),
    "perceptron": (lambda: MLP((8, 8)), (5,)),
    "residual perceptron": (lambda: ResidualMLP(8), (5,)),
    "convolutions of flowzoo": (lambda: keras.Sequential([ConvNet(8), ResNet(8, blocks=1)]), (8, 8, 2)),
    "labels": (lambda: keras.Sequential([layers.Embedding(10, 4)]), ()),
    "images to vectors": (
        lambda: keras.Sequential(
            [
                layers.Rescaling(1 / 255),
                layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
                layers.LayerNormalization(),
                keras.Sequential([layers.Flatten(), layers.Dropout(0.1), layers.Dense(6)]),
            ]
        ),
        (8, 8, 3),
    ),
    "small images to large": (
        lambda: keras.Sequential([layers.UpSampling2D(2), layers.Conv2DTranspose(4, 3, padding="same")]),
        (4, 4, 1),
    ),
}


@pytest.mark.parametrize("name", TRUSTED)
def test_networks_of_plain_layers_are_trusted_and_sized_before_they_are_built(name):
    make, shape = TRUSTED[name]
    network = make()
    bare = serialized(network)
    network.build((None, *shape))
    for value in (bare, serialized(network)):
        assert is_network(value)
        depth, weights = network_size(value, shape)
        true = sum(math.prod(weight.shape) for weight in network.weights)
        assert 1 <= depth <= 8
        assert true / 8 < weights < 8 * true


class Own(layers.Dense):
    pass


def functional():
    x = keras.Input((3,))
    return keras.Model(x, layers.Dense(2)(x))


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"class_name": "Dense", "module": "keras.layers"},
        {**serialized(layers.Dense(3)), "class_name": ["Dense"], "module": {}},
        {**serialized(layers.Dense(3)), "module": "os"},
        {**serialized(layers.Dense(3)), "registered_name": "evil>Dense"},
        {**serialized(layers.Dense(3)), "class_name": "Lambda", "registered_name": "Lambda"},
        {**serialized(MLP((8,))), "module": "evil"},
        serialized(layers.Dense(3, activation=layers.ReLU())),
        serialized(Own(3)),
        serialized(functional()),
        serialized(keras.Sequential([layers.Dense(3), layers.LSTM(3)])),
        serialized(keras.Sequential([layers.Dense(3)] + [layers.Flatten() for _ in range(64)])),
        serialized(layers.Dense(2**15)),
    ],
)
def test_other_networks_are_not_trusted(value):
    assert not is_network(value)
    facts = {"name": "some", "class": "MAF", "config": {"event_shape": 2, "context_shape": 3}}
    facts["config"]["context_network"] = value if value is not None else 3
    with pytest.raises(RegistryError, match="is not of the kind that the zoo stores"):
        build(facts)


def test_shapes_that_a_network_claims_to_be_built_for_are_not_believed():
    network = keras.Sequential([layers.Dense(4, name="dense")], name="some")
    network.build((None, 3))
    value = serialized(network)
    value["config"]["build_input_shape"] = [None, 10**9]
    for entry in value["config"]["layers"]:
        entry["build_config"] = {"input_shape": [None, 10**9]}
    value["config"]["layers"][0]["module"] = "antigravity"  # an InputLayer, which is not made
    config = {"event_shape": 2, "context_shape": 3, "context_network": value}
    flow = build({"name": "some", "class": "MAF", "config": config})
    assert named_weights(flow)["context_network/dense/kernel"].shape == (3, 4)


def test_absurd_networks_are_refused_unbuilt():
    bomb = serialized(keras.Sequential([layers.Flatten(), layers.Dense(2**14)]))
    facts = {
        "name": "bomb",
        "class": "MAF",
        "config": {"event_shape": 2, "context_shape": [512, 512, 3], "context_network": bomb},
    }
    with pytest.raises(RegistryError, match="absurdly large"):
        build(facts)
    facts["config"]["context_network"] = serialized(keras.Sequential([layers.Reshape((7, 7))]))
    with pytest.raises(RegistryError, match="context_network of model 'bomb' cannot be built"):
        build(facts)


@pytest.mark.parametrize(
    "make",
    [
        IMAGE_MODELS["Glow, conditional on images"],
        IMAGE_MODELS["RealNVP, conditional on images of a network"],
        lambda: flowzoo.Glow(
            (4, 4, 1),
            levels=1,
            steps=1,
            hidden_channels=4,
            context_shape=(),
            context_network=keras.Sequential([layers.Embedding(2, 4)]),
        ),
    ],
)
def test_conditional_image_flows_are_stored_and_loaded(make, tmp_path):
    flow = make()
    perturb(flow, scale=0.1)
    facts = flowzoo.save_pretrained(flow, tmp_path / "some", dtype="float32")
    assert np.isfinite(facts["fingerprint"]).all()
    loaded = flowzoo.load(tmp_path / "some")
    x = pixels(flow.event_shape, n=4)
    context = np.arange(4) % 2 if flow.context_shape == () else data_for(flow.context_shape)
    np.testing.assert_array_equal(
        numpy(loaded.log_prob(x, context, seed=0)), numpy(flow.log_prob(x, context, seed=0))
    )
