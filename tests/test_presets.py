"""Pretrained models in a dtype, as Keras's users load them, and by version."""

import numpy as np
import pytest
from helpers import numpy
from recipes import run

import flowzoo
from flowzoo.registry import RegistryError


@pytest.fixture
def tiny(published, monkeypatch):
    """The name of the small model, a NICE, in the hub that is in use."""
    monkeypatch.setenv("FLOWZOO_HUB", str(published))
    return "tiny"


X = np.random.default_rng(0).normal(size=(5, 4))


def test_a_model_loads_in_a_dtype_with_all_its_layers(tiny):
    expected = numpy(flowzoo.load(tiny).log_prob(X))
    low = flowzoo.load(tiny, dtype="mixed_bfloat16")
    networks = [layer for layer in low._flatten_layers() if type(layer).__name__ == "Dense"]
    assert networks
    assert {layer.compute_dtype for layer in networks} == {"bfloat16"}
    assert {weight.dtype for weight in low.trainable_weights} == {"float32"}
    found = numpy(low.log_prob(X))
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, expected, rtol=0.05)
    if flowzoo.backend.name == "tensorflow":
        exact = flowzoo.load(tiny, dtype="float64")
        assert {weight.dtype for weight in exact.trainable_weights} == {"float64"}
        assert numpy(exact.log_prob(X)).dtype == "float64"
        np.testing.assert_allclose(numpy(exact.log_prob(X)), expected, rtol=1e-5)
    assert flowzoo.load(tiny).compute_dtype == "float32"
    with pytest.raises(ValueError, match=r"dtype must be a policy of Keras, .* got 'float7'"):
        flowzoo.load(tiny, dtype="float7")


def test_arguments_of_the_class_take_the_place_of_the_stored_ones(tiny):
    flow = flowzoo.load(tiny, weights=False, hidden_units=(8,))
    assert flow.hidden_units == (8,)
    with pytest.raises(RegistryError, match="do not fit the model: "):
        flowzoo.load(tiny, hidden_units=(8,))
    with pytest.raises(RegistryError, match="an argument 'hidden', which it does not take"):
        flowzoo.load(tiny, hidden=8)


def test_from_preset_is_load_of_that_class_or_one_above(tiny, published):
    expected = numpy(flowzoo.load(tiny).log_prob(X))
    for cls in (flowzoo.Flow, flowzoo.NICE):
        flow = cls.from_preset(published / tiny)
        assert type(flow) is flowzoo.NICE
        np.testing.assert_array_equal(numpy(flow.log_prob(X)), expected)
    bare = flowzoo.NICE.from_preset(tiny, load_weights=False, dtype="mixed_bfloat16")
    assert bare.compute_dtype == "bfloat16"
    assert not np.allclose(numpy(bare.log_prob(X)), expected, rtol=0.05)
    for cls in (flowzoo.Glow, flowzoo.FlowVAE):
        with pytest.raises(ValueError, match=f"'tiny' is a flowzoo.NICE, and no flowzoo.{cls.__name__}"):
            cls.from_preset(tiny)
    with pytest.raises(RegistryError, match="No pretrained model is called 'tinny'"):
        flowzoo.Flow.from_preset("tinny")


def test_a_version_that_is_asked_for_is_given_or_refused(tiny):
    assert flowzoo.info("tiny@1")["version"] == 1
    np.testing.assert_array_equal(
        numpy(flowzoo.load("tiny@1").log_prob(X)), numpy(flowzoo.load(tiny).log_prob(X))
    )
    assert run("verify", "tiny@1").exit_code == 0
    with pytest.raises(RegistryError, match="tiny is at hand in version 1, but '2' was asked for"):
        flowzoo.load("tiny@2")
