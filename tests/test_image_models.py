import json
import os

import keras
import numpy as np
import pytest
from cases import IMAGE_MODELS
from helpers import data_for, numpy, pixels, restored, run_python
from keras import ops

import flowzoo
from flowzoo import backend
from flowzoo.layers import Chain, Dequantize, Logit, Rescale, Reshape, VariationalDequantize
from flowzoo.metrics import bits_per_dim
from flowzoo.testing import check_gradients, jacobian_log_det, perturb


def context_for(model, n):
    """A context for `n` examples, or None for an unconditional flow."""
    if model.context_shape is None:
        return None
    return np.arange(n) % 10 if model.context_shape == () else data_for(model.context_shape, n=n, seed=1)


def seen(model, context):
    """What the layers of the model see of a context."""
    return None if context is None else model._seen_context(ops.convert_to_tensor(context, "float32"))


@pytest.fixture(scope="module", params=IMAGE_MODELS)
def shared(request):
    """A model with perturbed weights, images and context (or None) for it."""
    keras.utils.set_random_seed(0)
    model = IMAGE_MODELS[request.param]()
    perturb(model, scale=0.1)
    return model, pixels(model.event_shape, n=4), context_for(model, 4)


@pytest.fixture
def case(shared):
    yield from restored(*shared)


def test_images_have_one_flat_latent_that_decodes_to_them(case):
    model, x, context = case
    z = model.encode(x, context)
    assert tuple(z.shape) == (len(x), np.prod(model.event_shape))
    assert sum(model.level_sizes) == np.prod(model.event_shape)
    step = 8 if getattr(model, "bits", None) == 5 else 1
    decoded = numpy(model.decode(z, context))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, x // step * step)


def test_reals_come_back_both_ways(case):
    model, _, context = case
    layers, context = model.flow_layers[:-1], seen(model, context)
    chain = Chain(layers)
    bins = model.flow_layers[-1].bins
    reals = bins * data_for(model.event_shape, unit=True)
    z, inverse_log_det = chain.inverse_and_log_det(ops.convert_to_tensor(reals), context)
    back, log_det = chain.forward_and_log_det(z, context)
    np.testing.assert_allclose(numpy(back) / bins, reals / bins, atol=1e-4)
    np.testing.assert_allclose(numpy(log_det), -numpy(inverse_log_det), rtol=1e-5, atol=1e-3)
    chain = Chain([layer for layer in layers if not isinstance(layer, (Rescale, Logit))])
    z = data_for(z.shape[1:], seed=2)
    back, _ = chain.inverse_and_log_det(
        chain.forward_and_log_det(ops.convert_to_tensor(z), context)[0], context
    )
    np.testing.assert_allclose(numpy(back), z, atol=1e-3)


def test_log_prob_is_the_base_density_and_the_jacobian(case):
    model, x, context = case
    log_prob = numpy(model.log_prob(x, context, seed=0))
    base = numpy(model.base_distribution.log_prob(model.encode(x, context, seed=0)))
    # The Jacobian at the dequantised image, which the layers but the last bring back from the latent.
    chain, context = Chain(model.flow_layers[:-1]), seen(model, context)
    z, log_dets = model.inverse_and_log_dets(x, None if context is None else case[2], seed=0)
    reals = numpy(chain.forward_and_log_det(ops.reshape(z, (-1, *model.latent_shape)), context)[0])
    part = None if context is None else context[:1]
    expected = jacobian_log_det(lambda v: chain.inverse_and_log_det(v, part)[0], reals[:1])[0]
    of_noise = float(log_dets[0][0])  # not a function of x: the density of the noise
    np.testing.assert_allclose(log_prob[0], base[0] + expected + of_noise, atol=1e-3, rtol=1e-6)


def test_every_weight_is_tracked_and_gets_a_gradient(case):
    model, x, context = case
    of_context = 0 if model.context_statistics is None else len(model.context_statistics.weights)
    others = of_context + len(model.base_layer.weights)
    assert len(model.weights) == others + sum(len(layer.weights) for layer in model.layers)
    check_gradients(model.trainable_weights, lambda: -ops.mean(model.log_prob(x, context)))


def test_bits_per_dim_through_the_tfp_distribution(case):
    model, x, context = case
    keywords = {} if context is None else {"context": context}
    bits = numpy(model.bits_per_dim(x, context, seed=3))
    log_prob = model.distribution.log_prob(x.astype("float32"), seed=3, **keywords)
    np.testing.assert_allclose(numpy(bits_per_dim(log_prob, model.dimensions)), bits, rtol=1e-5)


def test_the_bijector_maps_latents_to_real_images_and_back(case):
    model, x, context = case
    keywords = {} if context is None else {"context": context}
    z = 0.5 * data_for((model.dimensions,), seed=2)
    real, log_det = model.bijector.forward_and_log_det(z, **keywords)
    back, inverse_log_det = model.bijector.inverse_and_log_det(real, **keywords)
    np.testing.assert_allclose(numpy(back), z, atol=2e-3)
    np.testing.assert_allclose(numpy(inverse_log_det), -numpy(log_det), rtol=1e-5, atol=0.02)
    part = {name: value[:1] for name, value in keywords.items()}
    expected = jacobian_log_det(lambda v: model.bijector.forward(v, **part), z[:1])
    np.testing.assert_allclose(numpy(log_det)[:1], expected, rtol=1e-5, atol=0.01)
    # A whole pixel is the middle of the reals that round to it.
    again = model.bijector.forward(model.bijector.inverse(x.astype("float32"), **keywords), **keywords)
    np.testing.assert_allclose(numpy(again), x, atol=0.02)


def test_real_images_round_to_the_pixels_and_have_a_gradient(case):
    model, x, context = case
    z = ops.convert_to_tensor(numpy(model.encode(x, context, seed=0)))
    whole, real = model.decode(z, context), model.decode(z, context, discrete=False)
    step = 8 if getattr(model, "bits", None) == 5 else 1
    np.testing.assert_array_equal(step * np.floor((numpy(real) + 0.5) / step), numpy(whole))
    assert numpy(real).dtype == np.float32
    np.testing.assert_array_equal(numpy(model.decode(keras.Variable(z), context)), numpy(whole))
    drawn = model.sample(3, None if context is None else context[:3], seed=1, discrete=False)
    assert np.any(numpy(drawn) % 1)

    def distance(z):
        return ops.sum(ops.square(model.decode(z, context, discrete=False) - 100.0)) / 255.0**2

    gradient = numpy(backend.gradient(distance, z))
    assert np.isfinite(gradient).all()
    moved = [float(distance(z + sign * 1e-3 * gradient / np.linalg.norm(gradient))) for sign in (1, -1)]
    np.testing.assert_allclose((moved[0] - moved[1]) / 2e-3, np.linalg.norm(gradient), rtol=0.02)


def test_the_tfp_distribution_is_one_of_whole_pixels(case):
    model, _, context = case
    keywords = {} if context is None else {"context": context}
    images = numpy(model.distribution.sample(len(case[1]), seed=backend.random_key(1), **keywords))
    step = 8 if getattr(model, "bits", None) == 5 else 1
    if context is not None:
        images = images[0]
    np.testing.assert_array_equal(images % step, 0)
    assert images.min() >= 0
    assert images.max() <= 255


@pytest.mark.parametrize("step", [1, 8])
def test_samples_of_the_tfp_distribution_come_with_the_density_of_pixels(step):
    bins = 256 // step
    flow = flowzoo.Flow([Rescale(bins / 13, bins / 2), Dequantize(bins, step=step)], event_shape=(4, 4, 1))
    key = backend.random_key(1)
    images, log_prob = flow.distribution.experimental_sample_and_log_prob(1000, seed=key)
    np.testing.assert_array_equal(numpy(images) % step, 0)
    again = flow.log_prob(images, seed=0)
    entropy = 16 * (0.5 * np.log(2 * np.pi * np.e) + np.log(bins / 13))
    np.testing.assert_allclose([-numpy(log_prob).mean(), -numpy(again).mean()], entropy, atol=0.6)


@pytest.mark.parametrize(
    "shared",
    [
        "Glow, classes",
        "Glow, variational, logit",
        "NSF",
        "RealNVP, conditional, batch normalization",
        "TarFlow, classes",
    ],
    indirect=True,
)
def test_fit_lowers_the_loss_and_samples_are_images(case):
    model, _, context = case
    x = np.minimum(pixels(model.event_shape, n=64), 60)
    context = context_for(model, 64)
    # With XLA once, and always on JAX, which without it runs each operation by itself.
    jit_compile = backend.name == "jax" or model.context_shape == ()
    model.compile(optimizer=keras.optimizers.Adam(5e-3), jit_compile=jit_compile)
    data = x if context is None else (x, context)
    history = model.fit(data, batch_size=16, epochs=3, verbose=0).history
    assert history["bits_per_dim"][-1] < history["bits_per_dim"][0]
    images = numpy(model.sample(4, None if context is None else context[:4], seed=0))
    assert images.dtype == np.uint8
    assert images.shape == (4, *model.event_shape)


LOAD_AND_EVALUATE = """
import json, sys
import keras, numpy as np
import flowzoo
found = {}
for name, path in json.loads(sys.argv[1]).items():
    model = keras.models.load_model(path + ".keras")
    x = np.load(path + ".x.npy")
    context = np.load(path + ".context.npy") if model.context_shape is not None else None
    found[name] = np.asarray(keras.ops.convert_to_numpy(model.log_prob(x, context, seed=0))).tolist()
print(json.dumps(found))
"""


def test_log_prob_is_the_same_in_a_new_process(tmp_path):
    paths, expected = {}, {}
    for i, (name, make) in enumerate(IMAGE_MODELS.items()):
        model = make()
        perturb(model, seed=i, scale=0.2)
        x, context = pixels(model.event_shape), context_for(model, 8)
        path = str(tmp_path / str(i))
        np.save(path + ".x.npy", x)
        if context is not None:
            np.save(path + ".context.npy", context)
        model.save(path + ".keras")
        assert json.dumps(
            type(model).from_config(json.loads(json.dumps(model.get_config()))).get_config()
        ) == (json.dumps(model.get_config()))
        paths[name] = path
        expected[name] = numpy(model.log_prob(x, context, seed=0))
    found = json.loads(run_python(LOAD_AND_EVALUATE, json.dumps(paths)).splitlines()[-1])
    for name, log_prob in expected.items():
        np.testing.assert_allclose(found[name], log_prob, rtol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(("name", "size"), [("Glow", {}), ("RealNVP", {"levels": 1})])
def test_mixed_precision_trains_as_long_as_you_like_and_keeps_densities(name, size, policy):
    model, plain = IMAGE_MODELS[name](dtype=policy, **size), IMAGE_MODELS[name](**size)
    rows = np.arange(model.event_shape[0], dtype="uint8")[:, None, None]
    x = pixels(model.event_shape, n=200) // 8 * rows
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    losses = model.fit(x, batch_size=4, epochs=10, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    plain.set_weights(model.get_weights())
    bits = model.bits_per_dim(x[:64], seed=0)
    assert keras.backend.standardize_dtype(bits.dtype) == "float32"
    difference = numpy(bits) - numpy(plain.bits_per_dim(x[:64], seed=0))
    assert np.any(difference)
    assert abs(difference.mean()) < 0.02


IN_FLOAT64 = """
import sys
sys.path.insert(0, sys.argv[1])
import keras, numpy as np
keras.config.set_floatx("float64")
import flowzoo
from cases import IMAGE_MODELS
from helpers import numpy, pixels
from flowzoo.testing import perturb
model = IMAGE_MODELS["Glow"]()
perturb(model, scale=0.2)
x = pixels(model.event_shape, n=2)
log_prob = model.log_prob(x)
assert keras.backend.standardize_dtype(log_prob.dtype) == "float64"
assert (numpy(model.decode(model.encode(x))) == x).all()
assert numpy(model.sample(2, temperature=[0.5, 0.7])).dtype == np.uint8
"""


@pytest.mark.slow
def test_float64():
    run_python(IN_FLOAT64, os.path.dirname(__file__), JAX_ENABLE_X64="1")


# Likelihoods that are known.


@pytest.mark.parametrize("bits", [8, 5, 1])
def test_a_uniform_model_has_as_many_bits_per_dim_as_its_images(bits):
    model = flowzoo.Flow(
        [Reshape((48,)), Rescale(2.0**bits), Dequantize(2**bits, step=256 // 2**bits)],
        event_shape=(4, 4, 3),
        base="uniform",
    )
    np.testing.assert_allclose(numpy(model.bits_per_dim(pixels((4, 4, 3)))), bits, atol=1e-4)
    samples = numpy(model.sample(50, seed=0))
    assert samples.dtype == np.uint8
    assert set(np.unique(samples % (256 // 2**bits))) == {0}


def test_variational_noise_has_the_density_that_it_claims():
    layer = VariationalDequantize(couplings=3, hidden_channels=8)
    layer.build((None, 1, 2, 1))
    perturb(layer, scale=0.3)
    x = np.broadcast_to(np.array([17.0, 200.0], "float32").reshape(1, 1, 2, 1), (50000, 1, 2, 1))
    uniform = np.random.default_rng(0).uniform(size=x.shape).astype("float32")
    z, log_det = layer.inverse_and_log_det(ops.convert_to_tensor(x), None, ops.convert_to_tensor(uniform))
    noise = numpy(z) - x
    assert noise.min() >= 0
    assert noise.max() < 1
    # E_q[1 / q(u)] over a part of the unit square is the area of that part.
    weights = np.exp(numpy(log_det))
    for low, high in ((0.1, 0.5), (0.5, 0.9), (0.3, 0.8)):
        part = ((noise > low) & (noise < high)).all(axis=(1, 2, 3))
        np.testing.assert_allclose((weights * part).mean(), (high - low) ** 2, rtol=0.03)
        assert abs(part.mean() - (high - low) ** 2) > 0.002  # and yet q is not uniform
    np.testing.assert_array_equal(numpy(layer.whole(layer.forward_and_log_det(z)[0])), x)


def test_probabilities_of_all_images_sum_to_one_at_most():
    flow = flowzoo.Glow(
        event_shape=(2, 2, 1), levels=1, steps=2, hidden_channels=4, bits=1, dequantization="variational"
    )
    perturb(flow, scale=0.2)
    images = np.stack(np.meshgrid(*[[0, 128]] * 4), axis=-1).reshape(16, 2, 2, 1)
    total = numpy(ops.exp(flow.log_prob(np.repeat(images, 2000, axis=0), seed=0))).mean() * 16
    z = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(20000, 4)), "float32")
    z = ops.reshape(z, (-1, *flow.latent_shape))
    reals = numpy(Chain(flow.flow_layers[:-1]).forward_and_log_det(z)[0])
    inside = ((reals >= 0) & (reals < 2)).all(axis=(1, 2, 3)).mean()
    np.testing.assert_allclose(total, inside, atol=0.03)


# Levels, classes and what users do with a latent.


def test_levels_have_temperatures_of_their_own():
    model = IMAGE_MODELS["Glow"]()
    perturb(model, scale=0.2)
    assert model.level_sizes == [96, 96]
    np.testing.assert_array_equal(
        numpy(model.sample(2, temperature=[0.7, 0.7], seed=0)),
        numpy(model.sample(2, temperature=0.7, seed=0)),
    )
    z = numpy(model._draw(3, [0.0, 2.0], seed=0))
    assert not z[:, :96].any()
    np.testing.assert_allclose(z[:, 96:], 2 * numpy(model._draw(3, 1.0, seed=0))[:, 96:])
    assert IMAGE_MODELS["Glow, additive, matrix, no learned prior, 5 bits"]().level_sizes == [96, 48, 48]
    assert IMAGE_MODELS["RealNVP"]().level_sizes == [24, 24]
    assert flowzoo.MAF(event_shape=3).level_sizes == [3]
    for bad, message in (([0.5] * 3, "one for each of the 2 levels"), ([1.0, -1.0], "must not be negative")):
        with pytest.raises(ValueError, match=message):
            model.sample(2, temperature=bad)


def test_factored_out_latents_are_gaussian_given_what_goes_on():
    layer = flowzoo.layers.FactorOut(learned_prior=True)
    layer.build((None, 2, 2, 2))
    perturb(layer)
    x = ops.convert_to_tensor(data_for((2, 2, 2)))
    z, log_det = layer.inverse_and_log_det(x)
    shift, raw = np.split(numpy(layer.prior(x[..., :1])), 2, axis=-1)
    scale = np.exp(5 * np.tanh(raw / 5))
    np.testing.assert_allclose(
        numpy(z)[:, :4], ((numpy(x)[..., 1:] - shift) / scale).reshape(4, 4), rtol=1e-4
    )
    np.testing.assert_allclose(numpy(log_det), -np.log(scale).sum(axis=(1, 2, 3)), rtol=1e-4)
    np.testing.assert_array_equal(numpy(z)[:, 4:], numpy(x)[..., :1].reshape(4, 4))


def test_class_conditional_glow_learns_its_classes():
    dark, bright = np.full((32, 4, 4, 1), 40), np.full((32, 4, 4, 1), 200)
    x = np.concatenate([dark, bright]) + np.random.default_rng(0).integers(0, 9, (64, 4, 4, 1))
    labels = np.repeat([0, 1], 32)
    flow = flowzoo.Glow(event_shape=(4, 4, 1), levels=1, steps=1, hidden_channels=4, classes=2)
    flow.compile(optimizer=keras.optimizers.Adam(0.03))
    flow.fit(x, labels, epochs=40, batch_size=32, verbose=0)
    assert numpy(flow.sample(8, context=0, temperature=0.5, seed=0)).mean() < 100
    assert numpy(flow.sample(8, context=[1] * 8, temperature=0.5, seed=0)).mean() > 140
    right = numpy(flow.log_prob(x, labels, seed=0))
    assert (right > numpy(flow.log_prob(x, 1 - labels, seed=0))).all()
    with pytest.raises(ValueError, match=r"Labels must be integers from 0 to 1; got values from 0 to 2"):
        flow.log_prob(x[:2], [0, 2])
    with pytest.raises(ValueError, match="Labels must be integers"):
        flow.fit(x, labels + 1)


def test_squeeze_keeps_blocks_together_and_checkerboards_alternate():
    squeeze = flowzoo.layers.Squeeze()
    squeeze.build((None, 4, 4, 1))
    x = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    z = numpy(squeeze(x))
    np.testing.assert_array_equal(z[0, 0, 0], [0, 1, 4, 5])
    coupling = flowzoo.layers.CheckerboardCoupling(flowzoo.networks.ConvNet(4))
    coupling.build((None, 4, 4, 1))
    perturb(coupling)
    changed = numpy(coupling(x)) != x
    np.testing.assert_array_equal(changed[0, ..., 0], np.indices((4, 4)).sum(axis=0) % 2 == 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: flowzoo.Glow((30, 28, 1), levels=3), "Pad the images by 2 rows and 4 columns to 32 x 32"),
        (lambda: flowzoo.RealNVP((30, 30, 3), levels=3), "Pad the images by 2 rows and 2 columns to 32 x 32"),
        (lambda: flowzoo.Glow(64), r"must be \(height, width, channels\)"),
        (lambda: flowzoo.Glow((8, 8, 3), coupling="cubic"), "coupling must be one of"),
        (lambda: flowzoo.Glow((8, 8, 3), bits=9), "bits must be an integer from 1 to 8"),
        (lambda: flowzoo.Glow((8, 8, 3), dequantization="none"), "dequantization must be one of"),
        (lambda: flowzoo.Glow((8, 8, 3), classes=2, context_shape=(3,)), "not both"),
        (lambda: flowzoo.Glow((8, 8, 3), steps=[2, 2]), "an integer or 3 of them, one a level"),
        (lambda: flowzoo.FVAE((32, 32, 3), steps=[2, 0]), "each entry of steps must be a positive integer"),
        (lambda: flowzoo.Glow((8, 8, 3), linear="qr"), "parametrization must be one of"),
        (lambda: flowzoo.RealNVP((8, 8, 3), hidden_units=(8,)), "hidden_units is not for images"),
        (lambda: flowzoo.RealNVP(8, levels=2), "levels is not for vectors"),
        (lambda: flowzoo.layers.Squeeze().build((None, 3, 4, 1)), "even height and width"),
        (lambda: flowzoo.layers.FactorOut().build((None, 3, 4, 1)), "2 channels or more"),
        (lambda: flowzoo.layers.CheckerboardCoupling().build((None, 4)), r"takes images \(H, W, C\)"),
        (lambda: flowzoo.layers.ClassPrior(3).build((None, 4)), "needs the label as context"),
    ],
)
def test_bad_arguments_are_explained(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_levels_have_steps_of_their_own():
    flow = flowzoo.Glow((8, 8, 3), levels=2, steps=[1, 3], hidden_channels=8)
    finest, coarsest = flow.flow_layers, flow.flow_layers[0].chain.flow_layers
    counts = [
        sum(isinstance(layer, flowzoo.layers.AffineCoupling) for layer in part) for part in (finest, coarsest)
    ]
    assert counts == [1, 3]


def test_the_papers_configurations():
    model = flowzoo.Glow.cifar10(steps=1, hidden_channels=8)
    assert (model.levels, model.event_shape, model.learned_prior) == (3, (32, 32, 3), True)
    assert flowzoo.Glow.imagenet32(steps=1, hidden_channels=8).levels == 3
    assert flowzoo.Glow.imagenet64(steps=1, hidden_channels=8).levels == 4
    assert flowzoo.Glow.celeba_hq(event_shape=(64, 64, 3), steps=1, hidden_channels=8).bits == 5
    model = flowzoo.RealNVP.cifar10(blocks=1, hidden_channels=4)
    assert (model.levels, model.normalization) == (2, "batch")
    assert flowzoo.RealNVP.celeba64(blocks=1, hidden_channels=1).latent_shape == (64 * 64 * 3,)
