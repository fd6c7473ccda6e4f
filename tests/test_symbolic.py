"""Methods of flows in functional models."""

import keras
import numpy as np
import pytest
from cases import IMAGE_MODELS, MODELS, VAES
from helpers import data_for, numpy, pixels

import flowzoo
from flowzoo.testing import perturb


def test_encode_decode_and_log_prob_of_symbolic_vectors(tmp_path):
    flow = MODELS["RealNVP"]()
    perturb(flow)
    inputs = keras.Input((3,))
    z = flow.encode(inputs)
    model = keras.Model(inputs, [z, flow.log_prob(inputs), flow.decode(2.0 * z)])
    assert [output.shape for output in model.outputs] == [(None, 3), (None,), (None, 3)]
    assert {id(weight) for weight in model.trainable_weights} == {id(w) for w in flow.trainable_weights}
    x = data_for((3,))
    expected = flow.encode(x), flow.log_prob(x), flow.decode(2.0 * flow.encode(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for found in (model(x), model.predict(x, verbose=0), loaded.predict(x, verbose=0)):
        for value, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(numpy(value), numpy(wanted), rtol=1e-4, atol=1e-5)
    assert loaded.count_params() == model.count_params() == flow.count_params()


def test_a_functional_model_trains_the_flow_within():
    flow = MODELS["MAF"]()
    x = 3.0 + data_for((3,), n=64)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, flow.log_prob(keras.layers.Rescaling(0.5)(inputs)))
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss=lambda y, log_prob: -log_prob)
    before = numpy(flow.log_prob(0.5 * x)).mean()
    model.fit(x, np.zeros(64), epochs=5, batch_size=32, verbose=0)
    assert numpy(flow.log_prob(0.5 * x)).mean() > before + 0.1


def test_images_with_a_context():
    flow = IMAGE_MODELS["Glow, conditional on images"]()
    perturb(flow, scale=0.1)
    x, context = pixels((8, 8, 3), n=4), data_for((8, 8, 1))
    inputs = keras.Input((8, 8, 3)), keras.Input((8, 8, 1))
    bits = flow.bits_per_dim(*inputs, seed=3)
    z = flow.encode(*inputs, seed=3)
    outputs = [bits, flow.decode(z, inputs[1]), flow.decode(z, context=inputs[1], discrete=False)]
    assert [keras.backend.standardize_dtype(o.dtype) for o in outputs] == ["float32", "uint8", "float32"]
    bits, whole, real = (numpy(part) for part in keras.Model(inputs, outputs)([x, context]))
    np.testing.assert_allclose(bits, numpy(flow.bits_per_dim(x, context, seed=3)), rtol=1e-4)
    np.testing.assert_array_equal(whole, x)
    np.testing.assert_array_equal(np.round(real), x)


def test_a_variational_autoencoder():
    vae = VAES["two flows, discretized logistic"]()
    inputs = keras.Input((5,))
    z = vae.encode(inputs)
    model = keras.Model(inputs, [vae.decode(z), vae.decode(z, discrete=False)])
    x = pixels((5,), n=4)
    whole, real = (numpy(part) for part in model(x))
    np.testing.assert_array_equal(whole, numpy(vae.reconstruct(x)))
    assert whole.dtype == np.uint8
    np.testing.assert_array_equal(np.round(np.clip(real, 0, 255)), whole)
    assert np.any(real % 1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda flow, x: flow.encode(keras.Input((4,))), ValueError, r"must have shape \(batch, 3\)"),
        (lambda flow, x: flow.log_prob(x, seed="1"), TypeError, "a seed is an integer or None"),
        (lambda flow, x: flow.inverse_and_log_dets(x), TypeError, "x is symbolic"),
    ],
)
def test_what_functional_models_cannot_do_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call(flowzoo.NICE(3, couplings=2, hidden_units=(4,)), keras.Input((3,)))
