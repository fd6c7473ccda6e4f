"""Contexts: images that stay images at every scale, and networks in front of any context."""

import keras
import numpy as np
import pytest
from cases import IMAGE_MODELS, MODELS, small_images
from helpers import count_calls, data_for, numpy, pixels
from keras import ops

import flowzoo
from flowzoo import backend
from flowzoo.layers import Squeeze
from flowzoo.layers.context import context_at, context_channels
from flowzoo.naming import named_weights
from flowzoo.testing import perturb


def at(sizes, context):
    return numpy(context_at(np.zeros((len(context), *sizes, 5), "float32"), context))


@pytest.mark.parametrize("sizes", [(8, 8), (4, 4), (2, 4), (1, 1), (16, 8), (24, 24)])
def test_a_context_fits_every_scale_and_keeps_its_mean(sizes):
    context = data_for((8, 8, 3))
    found = at(sizes, context)
    channels = context_channels((None, *sizes, 5), (None, 8, 8, 3))
    assert found.shape == (4, *sizes, channels)
    means = found.reshape(4, -1, channels // 3, 3).mean(axis=(1, 2))
    np.testing.assert_allclose(means, context.mean(axis=(1, 2)), atol=1e-5)


def test_one_squeeze_of_a_context_loses_nothing():
    context = data_for((8, 6, 3))
    squeeze = Squeeze()
    squeeze.build((None, 8, 6, 3))
    np.testing.assert_array_equal(at((4, 3), context), numpy(squeeze(context)))
    np.testing.assert_array_equal(at((8, 6), context), context)
    halves = context.reshape(4, 4, 2, 3, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(at((2, 3), context)[:, 0, 0], context_of_two_rows(context), rtol=1e-5)
    np.testing.assert_allclose(at((2, 3), context).mean(), halves.mean(), atol=1e-6)
    np.testing.assert_array_equal(at((16, 12), context)[:, 1::2, ::2], context)


def context_of_two_rows(context):
    """The first place of a scale of 2 x 3 under a context of 8 x 6: means of two rows, all columns."""
    return np.concatenate([context[:, i : i + 2, j].mean(axis=1) for i in (0, 2) for j in (0, 1)], axis=-1)


def test_a_context_that_is_an_image_is_no_long_vector_to_couplings_and_priors():
    flow = flowzoo.Glow((8, 8, 3), levels=2, steps=1, hidden_channels=8, context_shape=(8, 8, 3))
    shapes = {name: tuple(weight.shape) for name, weight in named_weights(flow).items()}
    assert shapes["1/network/hidden_0/kernel"] == (3, 3, 6 + 12, 8)
    assert shapes["0/1/network/hidden_0/kernel"] == (3, 3, 12 + 12, 8)
    assert shapes["0/prior/convolution/kernel"] == (3, 3, 6 + 12, 12)
    flat = flowzoo.Glow((8, 8, 3), levels=2, steps=1, hidden_channels=8, context_shape=192)
    shapes = {name: tuple(weight.shape) for name, weight in named_weights(flat).items()}
    assert shapes["1/network/hidden_0/kernel"] == (3, 3, 6 + 192, 8)
    assert shapes["0/prior/convolution/kernel"] == (3, 3, 6, 12)


def test_a_context_acts_where_it_stands():
    flow = flowzoo.Glow((16, 16, 1), levels=1, steps=1, hidden_channels=8, context_shape=(16, 16, 1))
    perturb(flow, scale=0.2)
    x, context = pixels((16, 16, 1), n=1), data_for((16, 16, 1), n=1)
    other = context.copy()
    other[0, 1, 1] += 1.0
    changed = numpy(flow.encode(x, context, seed=0)) != numpy(flow.encode(x, other, seed=0))
    changed = changed.reshape(8, 8, 4).any(axis=-1)
    assert changed[0, 0]
    assert not changed[3:].any()
    assert not changed[:, 3:].any()


def test_the_prior_of_what_leaves_sees_the_context():
    flow = IMAGE_MODELS["Glow, conditional on images"](coupling="additive")
    layer = flow.flow_layers[0]
    weights = layer.prior.convolution.kernel
    weights.assign(np.where(np.arange(weights.shape[2])[:, None] >= layer.kept, 0.1, 0.0) + 0 * weights)
    x = pixels((8, 8, 3), n=2)
    contexts = data_for((8, 8, 1), n=2), data_for((8, 8, 1), n=2, seed=3)
    one, other = (numpy(flow.encode(x, context, seed=0)) for context in contexts)
    left = layer.left_size
    assert (one[:, :left] != other[:, :left]).mean() > 0.9
    np.testing.assert_array_equal(one[:, left : left + 24], other[:, left : left + 24])


def test_batch_shapes_of_images_and_contexts_broadcast():
    flow = IMAGE_MODELS["Glow, conditional on images"]()
    perturb(flow, scale=0.1)
    x, context = pixels((8, 8, 3), n=2).astype("float32"), data_for((8, 8, 1), n=3)
    found = numpy(flow.bijector.inverse(x[:, None], context=context))
    assert found.shape == (2, 3, 192)
    for i in range(2):
        expected = flow.bijector.inverse(np.repeat(x[i : i + 1], 3, axis=0), context=context)
        np.testing.assert_allclose(found[i], numpy(expected), atol=1e-4)
    drawn = flow.distribution.sample((4, 1), seed=backend.random_key(0), context=context)
    assert tuple(drawn.shape) == (4, 3, 8, 8, 3)
    one = numpy(flow.sample(3, context[0], seed=0))
    np.testing.assert_array_equal(one, numpy(flow.sample(3, np.stack([context[0]] * 3), seed=0)))


def test_a_context_names_the_shade_of_every_pixel():
    rng = np.random.default_rng(0)
    context = rng.integers(0, 8, (128, 4, 4, 1))
    x = 32 * context + rng.integers(0, 4, context.shape)
    losses = {}
    for shape in ((4, 4, 1), None):
        keras.utils.set_random_seed(0)
        flow = flowzoo.Glow((4, 4, 1), levels=1, steps=2, hidden_channels=16, context_shape=shape)
        flow.compile(optimizer=keras.optimizers.Adam(3e-3))
        data = x if shape is None else (x, context / 4 - 1)
        history = flow.fit(data, batch_size=32, epochs=40, verbose=0).history
        losses[shape] = history["bits_per_dim"][-1]
    assert losses[(4, 4, 1)] < losses[None] - 1.5


# Networks in front of the context.


def conditional_maf(network, context_shape):
    return flowzoo.MAF(
        3,
        autoregressive_layers=2,
        hidden_units=(8,),
        context_shape=context_shape,
        context_network=network,
    )


def image_to_vector():
    return keras.Sequential(
        [keras.layers.Conv2D(2, 3, name="convolution"), keras.layers.Flatten()], name="image_to_vector"
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda flow, x, c: flow.log_prob(x, c),
        lambda flow, x, c: flow.encode(x, c),
        lambda flow, x, c: flow.decode(x, c),
        lambda flow, x, c: flow.sample(4, c),
        lambda flow, x, c: flow.inverse_and_log_dets(x, c),
        lambda flow, x, c: flow.distribution.log_prob(x, context=c),
        lambda flow, x, c: flow.distribution.experimental_sample_and_log_prob(
            seed=backend.random_key(0), context=c
        ),
    ],
    ids=["log_prob", "encode", "decode", "sample", "log_dets", "TFP", "TFP sample"],
)
def test_a_context_network_runs_once_a_pass(monkeypatch, call):
    flow = conditional_maf(image_to_vector(), (5, 5, 1))
    calls = count_calls(monkeypatch, flow.context_network)
    call(flow, data_for((3,)), data_for((5, 5, 1)))
    assert len(calls) == 1


def test_a_context_network_trains_is_named_and_saved(tmp_path):
    flow = conditional_maf(image_to_vector(), (5, 5, 1))
    named = named_weights(flow)
    assert list(named)[:2] == ["context_network/convolution/kernel", "context_network/convolution/bias"]
    assert len(named) == len(flow.weights)
    assert "context -> image_to_vector Sequential" in repr(flow)
    before = numpy(named["context_network/convolution/kernel"]).copy()
    flow.compile(optimizer=keras.optimizers.Adam(1e-2))
    x, context = data_for((3,), n=32), data_for((5, 5, 1), n=32, seed=1)
    flow.fit(x, context, epochs=3, verbose=0)
    assert np.abs(numpy(named["context_network/convolution/kernel"]) - before).max() > 1e-3
    flow.save(tmp_path / "flow.keras")
    loaded = keras.models.load_model(tmp_path / "flow.keras")
    np.testing.assert_array_equal(numpy(loaded.log_prob(x, context)), numpy(flow.log_prob(x, context)))
    assert flow.get_layer("image_to_vector") is flow.context_network
    assert "image_to_vector" in summary(flow)


def summary(flow):
    lines = []
    flow.summary(print_fn=lambda line, **_: lines.append(line))
    return "\n".join(lines)


def test_labels_go_through_an_embedding():
    network = keras.Sequential([keras.layers.Embedding(10, 4)])
    flow = conditional_maf(network, ())
    perturb(flow)
    x = data_for((3,))
    assert np.ptp(numpy(flow.log_prob(np.repeat(x[:1], 4, axis=0), [0, 1, 2, 2]))[:3]) > 0
    assert tuple(flow.sample(5, 7).shape) == (5, 3)


def test_a_context_network_knows_when_it_trains():
    network = keras.Sequential([keras.layers.Dropout(0.5)])
    flow = conditional_maf(network, 6)
    perturb(flow)
    x, context = ops.convert_to_tensor(data_for((3,))), ops.convert_to_tensor(data_for((6,), seed=1))
    one, other = (numpy(flow((x, context))) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    one, other = (numpy(flow((x, context), training=True)) for _ in range(2))
    assert not np.array_equal(one, other)


def two_outputs():
    x = keras.Input((4,))
    return keras.Model(x, [x, 2 * x])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: flowzoo.MAF(3, context_network=small_images()), "context_network needs context_shape"),
        (lambda: flowzoo.MAF(3, context_shape=2, context_network=len), "must be a Keras layer or model"),
        (lambda: conditional_maf(two_outputs(), 4), "must give one tensor of a fixed shape"),
        (
            lambda: flowzoo.Glow((8, 8, 3), levels=2, steps=1, classes=2, context_network=small_images()),
            "not both",
        ),
        (
            lambda: flowzoo.Glow((8, 8, 3), levels=2, steps=1, hidden_channels=4, context_shape=(6, 8, 1)),
            "A context of height and width 6 x 8 does not fit a scale of 4 x 4",
        ),
        (lambda: flowzoo.layers.ClassPrior(3).build((None, 4, 4, 2), (None, 4, 4, 1)), "needs the label"),
    ],
)
def test_what_does_not_fit_is_explained(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_flat_contexts_of_models_are_as_they_were():
    for name in ("MAF", "RealNVP", "NICE"):
        one, other = (MODELS[name](context_shape=shape) for shape in ((2, 2, 1), 4))
        perturb(one)
        other.set_weights(one.get_weights())
        x, context = data_for((3,)), data_for((2, 2, 1), seed=1)
        np.testing.assert_array_equal(
            numpy(one.log_prob(x, context)), numpy(other.log_prob(x, context.reshape(4, 4)))
        )
