"""Flows whose networks are transformers: TarFlow and Jet."""

import keras
import numpy as np
import pytest
from cases import IMAGE_MODELS
from helpers import data_for, numpy, pass_for_each_token, pixels
from keras import ops

import flowzoo
from flowzoo import backend, layers
from flowzoo.testing import perturb


def built(length=20, size=2, **options):
    """A perturbed layer on rows of tokens, with classes, and latents and labels for it."""
    layer = layers.TransformerAutoregressive(16, layers=2, heads=2, classes=3, **options)
    layer.build((None, length, size), (None, 1))
    perturb(layer)
    return layer, ops.convert_to_tensor(data_for((length, size), n=3)), np.array([[0.0], [2.0], [-1.0]])


@pytest.mark.parametrize("reverse", [False, True])
def test_a_token_depends_on_those_before_it_alone_and_its_numbers_not_on_one_another(reverse):
    layer, x, labels = built(4, reverse=reverse)
    columns = []
    for place in range(8):
        moved = numpy(x).reshape(3, 8)
        moved[:, place] += 0.1
        found = layer.inverse_and_log_det(ops.convert_to_tensor(moved.reshape(3, 4, 2)), labels)[0]
        columns.append(numpy(found - layer.inverse_and_log_det(x, labels)[0]).reshape(3, 8))
    jacobian = np.stack(columns, axis=-1)[:, ::-1, ::-1] if reverse else np.stack(columns, axis=-1)
    token = np.arange(8) // 2
    may = (token[:, None] > token) | np.eye(8, dtype=bool)
    np.testing.assert_array_equal((jacobian != 0).any(axis=0), may)


def test_sampling_with_kept_keys_and_values_equals_a_pass_for_each_token():
    layer, z, labels = built(9, reverse=True)
    x, log_det = layer.forward_and_log_det(z, labels)
    np.testing.assert_allclose(numpy(x), numpy(pass_for_each_token(layer, z, labels)), atol=1e-4)
    np.testing.assert_allclose(numpy(log_det), -numpy(layer.inverse_and_log_det(x, labels)[1]), atol=1e-4)


@pytest.mark.parametrize("guidance", [None, 1.5])
def test_jacobi_iterations_end_at_the_exact_sample(guidance):
    layer, z, labels = built(20)  # more than a segment, and no multiple of it
    exact = numpy(layer.solve(z, labels, guidance=guidance)[0])
    assert np.abs(exact - numpy(z)).max() > 0.5
    for tolerance, error in ((0.0, 1e-4), (1e-2, 0.05)):
        found = layer.solve_by_iteration(z, labels, guidance=guidance, tolerance=tolerance)
        np.testing.assert_allclose(numpy(found), exact, atol=error)


def test_guidance_moves_away_from_the_sample_without_a_class():
    flow = IMAGE_MODELS["TarFlow, classes"]()
    perturb(flow, scale=0.3)

    def sample(label, **options):
        return numpy(flow.sample(2, label, seed=0, discrete=False, **options))

    np.testing.assert_allclose(sample(-1, guidance=3.0), sample(-1), atol=1e-2)  # nowhere to move
    np.testing.assert_allclose(sample(4, guidance=1e-6), sample(4), atol=1e-2)
    guided = sample(4, guidance=2.0)
    assert np.abs(guided - sample(4)).max() > 1
    found = sample(4, guidance=2.0, method="jacobi", tolerance=0.0)
    np.testing.assert_allclose(found, guided, atol=1e-2)
    with pytest.raises(ValueError, match="guidance is for flows with classes"):
        flowzoo.TarFlow(2, blocks=1, layers_per_block=1, hidden_size=8).sample(2, guidance=1.0)


def test_training_drops_labels_at_its_rate():
    flow = flowzoo.TarFlow(
        (3, 2), blocks=1, layers_per_block=1, hidden_size=8, classes=3, label_dropout=0.25, standardize=False
    )
    perturb(flow)
    x, labels = np.repeat(data_for((3, 2), n=1), 400, axis=0), np.full(400, 2, "uint8")
    with_label, without = (float(flow.log_prob(x[:1], [label])[0]) for label in (2, -1))
    found = numpy(flow((x, labels), training=True))
    dropped = np.isclose(found, without, rtol=1e-5)
    np.testing.assert_allclose(found[~dropped], with_label, rtol=1e-5)
    assert 0.15 < dropped.mean() < 0.35
    np.testing.assert_allclose(numpy(flow((x, labels))), with_label, rtol=1e-5)


def test_denoise_is_one_step_along_the_gradient():
    flow = flowzoo.TarFlow((4, 4, 1), blocks=1, layers_per_block=1, hidden_size=8, noise_scale=0.1)
    x = flow.sample(5, seed=0, discrete=False)  # a new flow is a standard normal of pixels in [-1, 1]
    unit = (numpy(x) + 0.5) / 128 - 1
    clean = numpy(flow.denoise(x, discrete=False))
    np.testing.assert_allclose((clean + 0.5) / 128 - 1, unit * (1 - 0.1**2), atol=1e-5)
    assert numpy(flow.denoise(x)).dtype == np.uint8
    plain = IMAGE_MODELS["Jet"](), flowzoo.TarFlow((4, 4, 1), blocks=1, layers_per_block=1, hidden_size=8)
    assert not hasattr(plain[0], "denoise")
    with pytest.raises(ValueError, match="built without noise_scale"):
        plain[1].denoise(x)


def test_noise_is_gaussian_of_its_scale_and_leaves_encoding_alone():
    flow = flowzoo.TarFlow((8, 8, 3), blocks=1, layers_per_block=1, hidden_size=8, noise_scale=0.1, mix=False)
    x = np.full((50, 8, 8, 3), 128.0, "float32")
    _, log_det = flow.inverse_and_log_det(x)
    z = numpy(flow.inverse_and_log_det(x, seed=0)[0])
    np.testing.assert_allclose([z.mean(), z.std()], [1 / 256, 0.1], atol=3e-3)
    np.testing.assert_allclose(numpy(log_det), -192 * np.log(128), rtol=1e-5)
    np.testing.assert_allclose(numpy(flow.encode(x)), 1 / 256, atol=1e-6)
    np.testing.assert_array_equal(numpy(flow.decode(flow.encode(x))), x)


@pytest.mark.parametrize("name", ["TarFlow, classes", "Glow, classes"])
def test_class_log_probs_are_those_of_bayes(name):
    flow = IMAGE_MODELS[name]()
    perturb(flow, scale=0.3)
    x = pixels(flow.event_shape, n=3)
    found = numpy(flow.class_log_probs(x, seed=0, batch_size=2))
    key = backend.random_key(0)
    noise = [numpy(flow._drawn_noise(key, start, x[start : start + 2])) for start in (0, 2)]
    densities = [flow.fixed_log_prob(x, [y] * 3, np.concatenate(noise)) for y in range(10)]
    expected = np.stack([numpy(density) for density in densities], axis=-1)
    expected -= expected.max(axis=-1, keepdims=True)
    expected -= np.log(np.exp(expected).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(found, expected, atol=2e-3)
    np.testing.assert_allclose(np.exp(found).sum(axis=-1), 1, atol=1e-5)
    with pytest.raises(ValueError, match="has no classes"):
        IMAGE_MODELS["Glow"]().class_log_probs(pixels((8, 8, 3)))


def test_patches_are_those_of_the_image():
    layer = layers.Patches(2)
    layer.build((None, 4, 6, 3))
    x = data_for((4, 6, 3))
    tokens = numpy(layer(x))
    np.testing.assert_array_equal(tokens[:, 4], x[:, 2:4, 2:4].reshape(-1, 12))


@pytest.mark.parametrize(("pattern", "axis"), [("rows", 1), ("columns", 2)])
def test_couplings_split_rows_or_columns(pattern, axis):
    network = flowzoo.networks.VisionTransformer(8, layers=1)
    layer = layers.CheckerboardCoupling(network, "sigmoid", pattern=pattern)
    layer.build((None, 4, 4, 2))
    perturb(layer)
    x = data_for((4, 4, 2))
    same = (numpy(layer(x)) == x).all(axis=(0, 3 - axis, 3))
    np.testing.assert_array_equal(same, [True, False, True, False])


def test_jet_splits_the_places_at_every_fifth_coupling():
    flow = flowzoo.Jet((8, 8, 3), depth=20, block_depth=1, hidden_size=8)
    spatial = [layer for layer in flow.flow_layers[::-1] if isinstance(layer, layers.CheckerboardCoupling)]
    assert [layer.pattern for layer in spatial] == ["checkerboard", "rows", "columns", "checkerboard"]
    assert [layer.swap for layer in spatial] == [False, False, False, True]


def test_the_softmax_and_the_norms_compute_in_float32_under_mixed_precision():
    layer = flowzoo.networks.TransformerLayer(causal=True, dtype="mixed_bfloat16")
    plain = flowzoo.networks.TransformerLayer(causal=True)
    for one in (layer, plain):
        one.build((None, 6, 16))
    layer.set_weights(plain.get_weights())
    x = 300 + data_for((6, 16))  # bfloat16 keeps no more than its mean of these
    found = layer.attention_norm(ops.cast(x, "bfloat16"))
    rounded = numpy(ops.cast(ops.cast(x, "bfloat16"), "float32"))
    np.testing.assert_allclose(
        numpy(ops.cast(found, "float32")), numpy(plain.attention_norm(rounded)), atol=0.02
    )
    assert keras.backend.standardize_dtype(layer(x).dtype) == "bfloat16"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: flowzoo.TarFlow((28, 30, 1)), "Pad the images by 0 rows and 2 columns"),
        (lambda: flowzoo.TarFlow((2, 2, 2, 2)), r"\(T, D\) or an integer"),
        (lambda: flowzoo.TarFlow((4, 2), noise_scale=0.1), "noise_scale is for images"),
        (lambda: flowzoo.TarFlow((4, 4, 1), noise_scale=0.1, dequantization="variational"), "leave that"),
        (lambda: flowzoo.TarFlow((4, 4, 1), transformer="gated"), "transformer must be one of"),
        (lambda: flowzoo.TarFlow((4, 4, 1), classes=2, context_shape=3), "not both"),
        (lambda: flowzoo.TarFlow((4, 4, 1), classes=2, label_dropout=1.0), "label_dropout must lie"),
        (lambda: layers.TransformerAutoregressive(8).build((None, 3)), "works on rows of tokens"),
        (lambda: flowzoo.networks.TransformerLayer(3).build((None, 4, 16)), "heads must divide"),
        (lambda: layers.CheckerboardCoupling(pattern="dots"), "pattern must be one of"),
    ],
)
def test_bad_arguments_are_explained(make, message):
    with pytest.raises(ValueError, match=message):
        make()
