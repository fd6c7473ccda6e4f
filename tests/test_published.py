"""Models answer for themselves: figures, fingerprints, cards."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from cases import IMAGE_MODELS, MODELS
from helpers import data_for, numpy, pixels
from keras import ops

import flowzoo
from flowzoo.metrics import log_likelihoods
from flowzoo.testing import perturb
from flowzoo.training.directions import directions_of_attributes


def test_figures_of_images_are_means_in_every_space():
    flow = IMAGE_MODELS["Glow, variational, logit"]()
    perturb(flow, scale=0.1)
    x, seen = pixels(flow.event_shape, n=7), []
    found = flow.measure(x, seed=3, batch_size=3, progress=seen.append)
    assert seen == [3, 6, 7]
    assert found.pop("examples") == 7
    parts = [log_likelihoods(flow, x[start : start + 3], seed=3 + start) for start in (0, 3, 6)]
    for space in ("pixels", "unit", "logit"):
        values = np.concatenate([numpy(part[space]) for part in parts])
        np.testing.assert_allclose(found.pop(f"log_likelihood_{space}"), values.mean(), rtol=1e-5)
        if space == "pixels":
            bits = -values.mean() / flow.dimensions / np.log(2)
            np.testing.assert_allclose(found.pop("bits_per_dim"), bits, rtol=1e-5)
    assert not found


def test_figures_of_a_conditional_flow_take_the_context():
    flow = MODELS["MAF"](context_shape=(2,))
    perturb(flow)
    x, context = data_for((3,), n=5), data_for((2,), n=5, seed=1)
    found = flow.measure(x, context, batch_size=2)
    assert found.keys() == {"examples", "log_likelihood"}
    np.testing.assert_allclose(found["log_likelihood"], numpy(flow.log_prob(x, context)).mean(), rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in [*MODELS, *IMAGE_MODELS] if "conditional" not in name])
def test_fingerprints_are_finite_and_need_no_luck(name):
    flow = (MODELS | IMAGE_MODELS)[name]()
    perturb(flow, scale=0.1)
    found = flow.fingerprint()
    assert np.isfinite(found).all()
    assert len(set(found)) == 8
    assert flow.fingerprint() == found


def test_a_fingerprint_of_vectors_is_their_density():
    flow = flowzoo.NICE(event_shape=4, couplings=2, hidden_units=(8,))
    perturb(flow)
    x = np.random.RandomState(0).normal(size=(8, 4)).astype("float32")
    np.testing.assert_allclose(flow.fingerprint(), numpy(flow.log_prob(x)), rtol=1e-6)


@pytest.mark.parametrize("name", ["Glow", "Glow, additive, matrix, no learned prior, 5 bits", "RealNVP"])
def test_a_fingerprint_of_images_is_the_density_of_integers_with_the_noise_given(name):
    flow = IMAGE_MODELS[name]()
    perturb(flow, scale=0.1)
    x, _, noise = flow.fixed_inputs()
    layer = flow.flow_layers[-1]
    assert x.min() >= 0
    assert x.max() <= 255
    np.testing.assert_array_equal(x % layer.step, 0)
    assert noise.shape == x.shape
    assert 0 < noise.min() < noise.max() < 1
    # The same flow of real numbers, whose last layers are those below the dequantisation.
    real = flowzoo.Flow(flow.flow_layers[:-1], event_shape=flow.event_shape)
    np.testing.assert_allclose(flow.fingerprint(), numpy(real.log_prob(x / layer.step + noise)), rtol=1e-5)


def test_a_fingerprint_sees_the_learned_noise_and_its_density():
    flow = IMAGE_MODELS["Glow, variational, logit"]()
    perturb(flow, scale=0.1)
    before = flow.fingerprint()
    x, _, noise = flow.fixed_inputs()
    z, log_det = flow.flow_layers[-1].inverse_and_log_det(
        ops.convert_to_tensor(x), None, ops.convert_to_tensor(noise)
    )
    real = flowzoo.Flow(flow.flow_layers[:-1], event_shape=flow.event_shape)
    np.testing.assert_allclose(before, numpy(real.log_prob(z)) + numpy(log_det), rtol=1e-5)
    perturb(flow.flow_layers[-1], scale=0.1)
    assert not np.allclose(flow.fingerprint(), before)


def test_a_flow_of_classes_has_attribute_directions(tmp_path):
    flow = IMAGE_MODELS["Glow, classes"]()
    perturb(flow, scale=0.1)
    x, classes, bright = pixels(flow.event_shape, n=12), np.arange(12) % 3, np.arange(12) % 2
    labels = {"Bright": bright, True: classes}
    directions = directions_of_attributes(
        flow, {"attributes": ["Bright"]}, (x[:8], classes[:8]), lambda role, name: (x, labels[name])
    )
    flowzoo.save_pretrained(flow, tmp_path / "classes", directions=directions)
    found = flowzoo.registry.attribute_directions(tmp_path / "classes")["Bright"]
    with_it, all_of_training = (
        numpy(flow.encode(x[part], classes[part], seed=0)).mean(axis=0)
        for part in (slice(1, None, 2), slice(8))
    )
    np.testing.assert_allclose(found, with_it - all_of_training, rtol=2e-3, atol=2e-3)
    # Cells of 6, and a border of 2, twice as large: 6 rows of 10, 4 rows of 7.
    for name, shape in (("interpolations", (76, 124)), ("attributes", (52, 88))):
        assert plt.imread(tmp_path / "classes" / f"{name}.png").shape[:2] == shape
    card = (tmp_path / "classes" / "README.md").read_text()
    assert 'directions["Bright"], strengths=[-1, 0, 1, 2], context=7)' in card


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        ({"config": {"event_shape": 2, "context_shape": 3}}, "flow.sample(16, context=context, seed=0)"),
        ({"config": {"event_shape": [8, 8, 3]}}, "bits = flow.bits_per_dim(images, seed=0)"),
        (
            {"config": {"event_shape": [28, 28, 1], "classes": 10}},
            "flow.bits_per_dim(images, context=[7] * 16, seed=0)",
        ),
    ],
)
def test_cards_say_how_a_flow_is_used(facts, lines):
    assert lines in flowzoo.Glow.card_use(facts)


def test_cards_say_how_an_autoencoder_is_used():
    text = flowzoo.IAFVAE.card_use({"config": {}, "data": {"binarize": True}})
    assert "flowzoo.datasets.binarize(pixels, seed=0)\nreconstructions = flow.reconstruct(images)" in text
    assert "binarize" not in flowzoo.FVAE.card_use({"config": {}})
