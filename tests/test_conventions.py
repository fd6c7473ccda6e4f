"""What holds for the methods of every model alike; `flowzoo.__doc__` says it in words."""

import inspect

import keras
import numpy as np
import pytest
from cases import IMAGE_MODELS, MODELS, VAES
from helpers import data_for, pixels
from keras import ops

import flowzoo
from flowzoo import backend, layers, plots
from flowzoo.backend import tfb
from flowzoo.layers.flow_layer import FlowLayer

FLOWS = (flowzoo.Flow, flowzoo.FlowVAE)


def public_methods(owner):
    """Those that flowzoo defines, by name."""
    found = inspect.getmembers(owner, inspect.isfunction)
    return {
        name: inspect.signature(method).parameters
        for name, method in found
        if name[0] != "_" and method.__module__.startswith("flowzoo")
    }


@pytest.mark.parametrize("owner", [*FLOWS, plots], ids=lambda owner: owner.__name__)
def test_no_seed_is_chosen_for_users(owner):
    chosen = {
        name: parameters["seed"].default
        for name, parameters in public_methods(owner).items()
        if "seed" in parameters
    }
    assert len(chosen) >= 3
    assert set(chosen.values()) == {None}


@pytest.mark.parametrize("owner", FLOWS)
def test_examples_and_context_come_first_and_the_rest_by_keyword(owner):
    for name in ("log_prob", "bits_per_dim", "encode", "decode", "sample", "reconstruct", "measure"):
        (_, _, context, *rest) = public_methods(owner)[name].values()
        assert (context.name, context.default) == ("context", None), name
        assert {one.kind for one in rest} == {inspect.Parameter.KEYWORD_ONLY}, name


def test_methods_give_tensors():
    x, vector = pixels((8, 8, 3), n=4), data_for((3,))
    flow, plain = IMAGE_MODELS["Glow"](), MODELS["NICE"]()
    direction = flow.attribute_direction(x[:2], x[2:])
    found = {
        "attribute_direction": direction,
        "mean_latent": flow.mean_latent(x),
        "manipulate": flow.manipulate(x, direction, [0.0]),
        "interpolate": flow.interpolate(x[0], x[1], steps=2),
        "reconstruct": flow.reconstruct(x),
        "anomaly_score": flow.anomaly_score(x),
        "anomaly_score of vectors": plain.anomaly_score(vector),
        "log_prob": plain.log_prob(vector),
        "encode": plain.encode(vector),
        "sample": plain.sample(2),
        "reconstruct, VAE": VAES["no flows"]().reconstruct(np.ones((2, 5))),
    }
    assert all(ops.is_tensor(value) for value in found.values()), {k: type(v) for k, v in found.items()}
    dtypes = {keras.backend.standardize_dtype(found[name].dtype) for name in ("anomaly_score", "mean_latent")}
    assert dtypes == {"float32"}


def test_unseeded_methods_draw_from_the_model_and_seeds_of_every_kind_fix_them():
    x, flow = pixels((8, 8, 3), n=4), IMAGE_MODELS["Glow"]()
    for method in (
        lambda seed: flow.anomaly_score(x, seed=seed),
        lambda seed: flow.mean_latent(x, batch_size=3, seed=seed),
        lambda seed: flow.measure(x, seed=seed)["bits_per_dim"],
    ):
        first, again, key, other, unseeded, later = (
            np.asarray(method(seed)) for seed in (5, 5, backend.random_key(5), 6, None, None)
        )
        np.testing.assert_array_equal(first, again)
        np.testing.assert_array_equal(first, key)
        assert not np.array_equal(first, other)
        assert not np.array_equal(unseeded, later)


def test_a_bijector_is_a_property_of_flows_and_of_layers():
    assert isinstance(flowzoo.Flow.bijector, property)
    assert isinstance(FlowLayer.bijector, property)
    layer = layers.ActNorm()
    layer.build((None, 3))
    assert isinstance(layer.bijector, tfb.Bijector)
