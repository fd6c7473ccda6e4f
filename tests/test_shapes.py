"""Shapes of context: one example of x or context stands for as many as there are of the other."""

import numpy as np
import pytest
from cases import IMAGE_MODELS, MODELS
from helpers import compiled_mixtures, data_for, numpy, pixels

import flowzoo
from flowzoo.testing import perturb

CONDITIONAL = {
    **{name: (make, 3) for name, make in MODELS.items() if "," not in name},
    **{
        name: (make, (4, 4, 1))
        for name, make in IMAGE_MODELS.items()
        if "onditional" in name and name != "Glow, conditional on images"  # whose levels need larger ones
    },
}


@pytest.fixture(scope="module", params=compiled_mixtures(CONDITIONAL))
def conditional(request):
    make, event_shape = CONDITIONAL[request.param]
    flow = make(event_shape=event_shape, context_shape=2)
    x = pixels(flow.event_shape, n=5) if flow.is_image_flow else data_for(flow.event_shape, n=5)
    context = data_for((2,), n=5, seed=1)
    flow.initialize(x, context)
    perturb(flow, scale=0.1)
    return flow, x, context


@pytest.mark.parametrize("method", ["log_prob", "encode", "decode", "inverse_and_log_dets", "measure"])
def test_one_of_x_or_context_stands_for_all(conditional, method):
    flow, x, context = conditional
    if method == "decode":
        x = numpy(flow.encode(x, context))

    def call(x, context):
        if method == "measure":
            return flow.measure(x, context, seed=0)[
                "bits_per_dim" if flow.is_image_flow else "log_likelihood"
            ]
        found = getattr(flow, method)(x, context, **({} if method == "decode" else {"seed": 0}))
        return numpy(found[0] if isinstance(found, (tuple, list)) else found)

    first_x, first_context = np.repeat(x[:1], 5, axis=0), np.repeat(context[:1], 5, axis=0)
    of_all_contexts, of_all_x = call(first_x, context), call(x, first_context)
    tolerance = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(call(x[:1], context), of_all_contexts, **tolerance)
    np.testing.assert_allclose(call(x, context[:1]), of_all_x, **tolerance)
    np.testing.assert_allclose(call(x, context[0]), of_all_x, **tolerance)
    with pytest.raises(ValueError, match=r"(x|z) has 5 examples, but context has 3 examples: give as many"):
        call(x, context[:3])


def test_passes_broadcast_one_example_to_as_many_contexts_and_back(conditional):
    flow, x, context = conditional
    z = numpy(flow.encode(x, context, seed=0))
    for method, values in ((flow.forward_and_log_det, z), (flow.inverse_and_log_det, x.astype("float32"))):
        for few in ((values[:1], context), (values, context[:1])):
            full = [np.repeat(part, 5 // len(part), axis=0) for part in few]
            for found, expected in zip(method(*few), method(*full), strict=True):
                np.testing.assert_allclose(numpy(found), numpy(expected), rtol=1e-4, atol=1e-4)


def test_samples_take_a_context_each_or_one_for_all(conditional):
    flow, _, context = conditional
    each = numpy(flow.sample(5, np.repeat(context[:1], 5, axis=0), seed=0))
    for one in (context[0], context[:1], context[0].tolist()):
        np.testing.assert_array_equal(numpy(flow.sample(5, one, seed=0)), each)
    for n in (1, 10):
        with pytest.raises(ValueError, match=rf"context has 5 examples, but n is {n}.*np.repeat\(context, k"):
            flow.sample(n, context)


def test_distributions_broadcast_any_batch_shapes(conditional):
    flow, x, context = conditional
    if flow.is_image_flow:
        return
    expected = numpy(flow.log_prob(np.tile(x[:2], (5, 1)), np.repeat(context, 2, axis=0))).reshape(5, 2)
    distribution = flow.distribution
    for values, of, wanted in (
        (x[0], context, expected[:, 0]),
        (x[:1], context, expected[:, 0]),
        (x[:2, None], context, expected.T),
        (x[:2], context[:, None], expected),
        (x[0], context[0], expected[0, 0]),
    ):
        found = numpy(distribution.log_prob(values, context=of))
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    z = numpy(flow.bijector.inverse(x[0], context=context))
    assert z.shape == (5, 3)
    np.testing.assert_allclose(numpy(flow.bijector.forward(z[:, None], context=context)).shape, (5, 5, 3))


def test_one_label_stands_for_all_images():
    flow = flowzoo.Glow((4, 4, 1), levels=1, steps=1, hidden_channels=4, classes=3)
    images = pixels((4, 4, 1), n=5)
    expected = numpy(flow.log_prob(images, [2] * 5, seed=0))
    in_batches = numpy(flow.log_prob(images, [2] * 5, seed=0, batch_size=2))
    np.testing.assert_allclose(numpy(flow.log_prob(images, 2, seed=0, batch_size=2)), in_batches, rtol=1e-5)
    np.testing.assert_allclose(numpy(flow.log_prob(images, [2], seed=0)), expected, rtol=1e-5)
    assert numpy(flow.log_prob(images[:1], [0, 1, 2], seed=0)).shape == (3,)
    with pytest.raises(ValueError, match="Labels must be integers from 0 to 2"):
        flow.log_prob(images, 3)
