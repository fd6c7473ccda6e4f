"""Data that are no data of a model, by what they look like; and densities off their support."""

import functools
import os
import warnings

import keras
import numpy as np
import pytest
from cases import VAES
from helpers import data_for, numpy, pixels, run_python
from keras import ops

import flowzoo
from flowzoo import backend, layers, values
from flowzoo.layers import Dequantize, Invert, Logit, Permutation, Rescale, Reshape, TFPBijector
from flowzoo.testing import gradients, perturb

SHAPE = (4, 4, 1)
random = np.random.default_rng(0)
UNIT = random.uniform(size=(8, *SHAPE)).astype("float32")
BINARY = random.integers(0, 2, (8, *SHAPE))


def image_flow(bits=8):
    bins = 2**bits
    own = [layers.DiagonalScaling(), Reshape((16,)), Rescale(bins), Dequantize(bins, step=256 // bins)]
    return flowzoo.Flow(own, event_shape=SHAPE)


# name -> (what is given for pixels, what the message says)
NO_PIXELS = {
    "[0, 1]": (UNIT, r"scaled to \[0, 1\]. Make pixels of them: np.round\(255 \* x\)"),
    "[-1, 1]": (2 * UNIT - 1, r"scaled to \[-1, 1\]. Make pixels of them: np.round\(127.5 \* \(x \+ 1\)\)"),
    "a field": (
        270 + 30 * UNIT,
        r"from 27\d.* to 29\d.* a field of real numbers. .*without flowzoo.layers.Deq",
    ),
    "noise": (data_for(SHAPE, n=64), r"mean 0 and standard deviation 1 \(here .*Undo that"),
    "booleans": (BINARY.astype(bool), r"dtype bool, true and false. .*255 \* x.astype\('uint8'\)"),
    "16 bits": (65535 * BINARY, r"integers of 16 bits. Drop the lowest bits: x // 256"),
    "12 bits": (np.uint16(4095 * BINARY), r"integers of 12 bits. Drop the lowest bits: x // 16"),
    "resized": (255 * UNIT, r"not all integers, as in images that were resized. Round them"),
    "signed": ((255 * BINARY - 128).astype("int8"), r"signed bytes. Make pixels of them: x \+ 128"),
}


def batches_of(kind, x):
    if kind == "PyDataset":
        return flowzoo.datasets.Batches(x, batch_size=4)
    if kind == "tf.data":
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices(x).batch(4)
    return ((x[i : i + 4],) for i in (0, 4))


@pytest.mark.parametrize("what", NO_PIXELS)
def test_what_is_no_pixel_is_refused_by_what_it_looks_like(what):
    x, message = NO_PIXELS[what]
    flow = image_flow()
    flow.compile(optimizer="adam")
    for call in (flow.log_prob, flow.encode, flow.bits_per_dim, flow.initialize, flow.fit):
        with pytest.raises(
            ValueError, match=f"{flow.name} takes pixels, integers from 0 to 255; x has .*{message}"
        ):
            call(x)
    with pytest.raises(ValueError, match=message):
        flow.log_prob(ops.convert_to_tensor(x))


@pytest.mark.parametrize("kind", ["PyDataset", "generator", "tf.data"])
def test_the_first_batch_of_any_data_is_looked_at(kind):
    flow = image_flow()
    flow.compile(optimizer="adam")
    with pytest.raises(ValueError, match=r"scaled to \[0, 1\]"):
        flow.fit(batches_of(kind, UNIT), verbose=0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        flow.fit(batches_of(kind, np.nan * UNIT), verbose=0)
    flow.fit(batches_of(kind, pixels(SHAPE)), verbose=0)


def test_nan_in_the_first_batch_of_a_vector_flow_is_refused():
    flow = flowzoo.RealNVP(event_shape=2, couplings=2)
    flow.compile(optimizer="adam")
    batches = flowzoo.datasets.Batches([[1.0, np.nan], [0.0, 1.0]])
    for x in (
        batches,
        ((ops.convert_to_tensor(batches.x),) for _ in range(2)),
        ops.convert_to_tensor(batches.x),
    ):
        with pytest.raises(ValueError, match="NaN or infinite"):
            flow.fit(x, verbose=0)


def test_compiled_code_sees_no_values_and_still_runs():
    flow = image_flow()
    if backend.name == "jax":
        import jax

        found = jax.jit(flow.log_prob)(UNIT)
    else:
        import tensorflow as tf

        found = tf.function(flow.log_prob, autograph=False)(tf.constant(UNIT))
    assert np.isfinite(numpy(found)).all()


def test_flows_of_few_values_take_those_alone():
    flow = flowzoo.Flow([Reshape((16,)), Rescale(2.0), Dequantize(2)], event_shape=SHAPE)
    assert np.isfinite(numpy(flow.log_prob(BINARY.astype(bool)))).all()
    np.testing.assert_array_equal(numpy(flow.decode(flow.encode(BINARY))), BINARY)
    with pytest.raises(
        ValueError, match=r"integers from 0 to 1; x has values from 0 to 255.*integers of 8 bits"
    ):
        flow.log_prob(255 * BINARY)
    with pytest.raises(ValueError, match="integers from 0 to 255"):
        image_flow(bits=1).log_prob(UNIT)


def test_two_values_are_warned_of():
    with pytest.warns(
        UserWarning, match="holds 0 and 1 alone, but .* two shades of black. Multiply them by 255"
    ):
        image_flow().log_prob(BINARY)
    flow = image_flow(bits=1)
    with pytest.warns(UserWarning, match=r"come back as 0 and 128, .* multiply its samples by 255 / 128"):
        z = flow.encode((255 * BINARY).astype("uint8"))
    np.testing.assert_array_equal(numpy(flow.decode(z)), 128 * BINARY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (pixels(SHAPE), pixels(SHAPE).astype("float64"), np.zeros((2, *SHAPE))):
            flow.log_prob(x)
            image_flow().log_prob(x)


def test_autoencoders_look_at_their_data_alike():
    vae = VAES["two flows, discretized logistic"]()
    with pytest.raises(ValueError, match=r"takes pixels, integers from 0 to 255; .*scaled to \[0, 1\]"):
        vae.elbo(random.uniform(size=(3, 5)))
    vae = VAES["FVAE"]()
    vae.compile(optimizer="adam")
    x = random.uniform(size=(3, 8, 8, 3))
    for call in (vae.elbo, vae.fit, vae.encode):
        with pytest.raises(ValueError, match=r"takes pixels, numbers from 0 to 255; .*scaled to \[0, 1\]"):
            call(x)
    assert np.isfinite(numpy(vae.elbo(255 * x))).all()  # a density of real numbers


# Vectors.


def test_integers_of_a_vector_flow_are_warned_of_once():
    x = pixels((5, 4), n=32)
    flow = flowzoo.MAF(event_shape=(5, 4), autoregressive_layers=1, hidden_units=(8,))
    flow.compile(optimizer="adam")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        flow.fit(x, epochs=2, verbose=0)
        flow.fit(x, verbose=0)
    found = [str(one.message) for one in caught if "holds integers" in str(one.message)]
    assert len(found) == 1
    assert "give them a channel, x[..., None], and build the flow with event_shape=(5, 4, 1)" in found[0]
    flow = flowzoo.RealNVP(event_shape=3, couplings=2)
    flow.compile(optimizer="adam")
    with pytest.warns(UserWarning, match=r"\(int64\).* For counts, add noise"):
        flow.fit(np.arange(30).reshape(10, 3), verbose=0)


def test_columns_that_the_dtype_does_not_resolve_are_warned_of():
    x = np.stack([random.normal(size=64), 1.7e9 + 10 * random.normal(size=64), np.full(64, 1.7e9)], axis=1)
    flow = flowzoo.MAF(event_shape=3, autoregressive_layers=1, hidden_units=(8,))
    flow.compile(optimizer="adam")
    with pytest.warns(
        UserWarning, match=r"Column 1 of x lies at 1.7e\+09 with a standard deviation of 1?\d.* steps of 128"
    ):
        flow.fit(x, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for good in (
            2020 + 3 * x[:, :1],
            1e8 + 1e6 * x[:, :1],
            1e-30 * x[:, :1],
            x[:, 2:],
            x - x.mean(axis=0),
        ):
            values.warn_of_coarse_columns("x", good, "float32", model="maf")
        values.warn_of_coarse_columns("x", x, "float64", model="maf")


@pytest.mark.parametrize("method", ["log_prob", "encode", "fit"])
def test_numbers_beyond_the_dtype_are_refused(method):
    flow = flowzoo.RealNVP(event_shape=2, couplings=2)
    flow.compile(optimizer="adam")
    with pytest.raises(ValueError, match=r"x has values up to -1e\+39, but the largest float32 is 3.4e\+38"):
        getattr(flow, method)(np.array([[0.0, -1e39], [0.0, 1.0]]))


# Densities off the support.

KINDS = {
    "Exp": ({}, [0.0, -1.0]),
    "Softplus": ({}, [0.0, -1.0]),
    "Sigmoid": ({}, [0.0, 1.0, -0.5, 2.0]),
    "Sigmoid of an interval": ({"low": -1.0, "high": 3.0}, [-1.0, 3.0, 7.0]),
    "Tanh": ({}, [-1.0, 1.0, 2.0]),
    "Softsign": ({}, [-1.0, 1.0, 2.0]),
    "Square": ({}, [-1.0]),
    "NormalCDF": ({}, [0.0, 1.0, -3.0]),
}
DATA_ENDS = {
    **{name: (functools.partial(TFPBijector, name.split()[0], a), off) for name, (a, off) in KINDS.items()},
    "Logit": (lambda: Logit(0.0), [0.0, 1.0, -0.5, 1.5]),
    "Logit, alpha": (lambda: Logit(0.05), [-0.06, 1.06, 2.0]),
    "nested": (lambda: layers.Chain([TFPBijector("Exp"), Rescale(2.0, 1.0)]), [1.0, 0.5]),
    "Log, inverted": (lambda: Invert(TFPBijector("Log")), [0.0, -1.0]),
    "Log1p, inverted": (lambda: Invert(TFPBijector("Log1p")), [-1.0, -2.0]),
    "nested, inverted": (lambda: Invert(layers.Chain([TFPBijector("Log"), Rescale(2.0, 1.0)])), [0.0, -1.0]),
    "nested twice, inverted": (
        lambda: Invert(layers.Chain([Rescale(2.0, 1.0), layers.Chain([Invert(Logit(0.0)), Rescale(2.0)])])),
        [0.0, -0.5, 0.5],
    ),
    "Exp, inverted twice": (lambda: Invert(Invert(TFPBijector("Exp"))), [0.0, -1.0]),
}


@pytest.mark.parametrize("name", DATA_ENDS)
def test_the_density_is_zero_off_the_support_and_integrates_to_one(name):
    make, off = DATA_ENDS[name]
    flow = flowzoo.Flow([layers.DiagonalScaling(), make()], event_shape=1)
    flow.flow_layers[0].weight.assign([0.3])
    if name == "Square":  # half of the latents have no image
        flow = flowzoo.Flow([TFPBijector("Exp"), make()], event_shape=1)
    x = np.array(off, "float32")[:, None]
    for density in (flow.log_prob, flow.distribution.log_prob):
        np.testing.assert_array_equal(numpy(density(x)), -np.inf)
    samples = numpy(flow.sample(4000, seed=0))[:, 0]
    grid = np.concatenate([np.linspace(-8, 8, 16001), np.geomspace(8, 4000, 20000)])
    log_prob = numpy(flow.log_prob(grid[:, None].astype("float32"))).astype("float64")
    density = np.exp(log_prob)
    total = np.sum(np.diff(grid) * (density[1:] + density[:-1]) / 2)
    np.testing.assert_allclose(total, 1.0, atol=0.02)
    below = np.sum((np.diff(grid) * density[1:])[grid[1:] < np.median(samples)])
    np.testing.assert_allclose(below, 0.5, atol=0.03)


@pytest.mark.parametrize("name", ["Exp", "Sigmoid", "Logit", "Log, inverted"])
def test_gradients_stay_finite_beside_examples_off_the_support(name):
    make, off = DATA_ENDS[name]
    flow = flowzoo.Flow([layers.ActNorm(), make()], event_shape=2)
    perturb(flow)
    inside = np.array([[0.2, 0.7], [0.5, 0.6]], "float32")
    outside = np.array([[0.2, off[0]], [off[1], 0.3]], "float32")
    both = ops.convert_to_tensor(np.concatenate([inside, outside]))
    assert np.isneginf(numpy(flow.log_prob(both))).tolist() == [False, False, True, True]
    for gradient in gradients(flow.trainable_weights, lambda: ops.sum(flow.log_prob(both))):
        assert np.isfinite(gradient).all()
        assert gradient.all()


@pytest.mark.parametrize("method", ["fit", "encode"])
def test_data_off_the_support_are_named(method):
    x = random.uniform(0.1, 0.9, (20, 3)).astype("float32")
    x[7, 2] = 1.0
    own = [layers.AffineCoupling(), TFPBijector("Sigmoid"), Permutation([2, 0, 1])]
    flow = flowzoo.Flow(own, event_shape=3)
    flow.compile(optimizer="adam")
    message = r"no density at 1 of 20 .* tfp_bijector.*'Sigmoid', .* column 2, value 1 of example 7.*np.clip"
    with pytest.raises(ValueError, match=message):
        getattr(flow, method)(x)
    getattr(flow, method)(np.clip(x, 1e-3, 1 - 1e-3))


@pytest.mark.parametrize(
    "layer",
    [lambda: TFPBijector("Log"), lambda: layers.Chain([Permutation([1, 0]), TFPBijector("Log")])],
    ids=["layer", "chain"],
)
def test_data_off_the_support_of_an_inverted_layer_are_named(layer):
    flow = flowzoo.Flow([Invert(layer())], event_shape=2)
    with pytest.raises(ValueError, match=r"Invert of TFPBijector 'Log', .* column 1, value -2 of example 0"):
        flow.encode([[1.0, -2.0]])


def test_a_uniform_base_that_training_cannot_reach_is_refused():
    x = 3 * data_for((2,), n=64)
    flow = flowzoo.Flow([layers.AffineCoupling()], event_shape=2, base="uniform")
    flow.compile(optimizer="adam")
    for data in (x, flowzoo.datasets.Batches(x)):
        with pytest.raises(ValueError, match=r"'uniform' of flow.* first batch .*base='logistic'"):
            flow.fit(data, verbose=0)
    flow = flowzoo.Flow([Invert(Logit(0.0)), layers.AffineCoupling()], event_shape=2, base="uniform")
    flow.compile(optimizer="adam")
    assert np.isfinite(flow.fit(x, verbose=0).history["loss"]).all()
    assert isinstance(keras.models.clone_model(flow), flowzoo.Flow)


# Precision.


def test_a_flow_has_one_dtype():
    with pytest.raises(
        ValueError, match=r"JAX_ENABLE_X64|6 of its weights, .*hidden_0/kernel.*set_floatx\('float64'\)"
    ):
        flowzoo.Flow([layers.AffineCoupling()], event_shape=2, dtype="float64")
    own = layers.AffineCoupling(flowzoo.networks.MLP((4,), dtype="float64"))
    with pytest.raises(ValueError, match="has dtype 'float32', but 2 of its weights"):
        flowzoo.Flow([own], event_shape=2)


IN_FLOAT64 = """
import sys
sys.path.insert(0, sys.argv[1])
import keras, numpy as np
import flowzoo
from cases import IMAGE_MODELS, MODELS
from helpers import data_for, numpy, pixels, run_python
from flowzoo.testing import perturb
for name in ("MAF", "Glow, variational, logit"):
    make = MODELS.get(name) or IMAGE_MODELS[name]
    flow, plain = make(dtype="float64"), make()
    perturb(flow, scale=0.1)
    plain.set_weights(flow.get_weights())
    x = data_for(flow.event_shape).astype("float64") if name in MODELS else pixels(flow.event_shape)
    found = flow.fixed_log_prob(x)
    assert keras.backend.standardize_dtype(found.dtype) == "float64"
    difference = np.abs(numpy(found) - numpy(plain.fixed_log_prob(x)))
    assert 0 < difference.max() < 0.1, difference
    tolerance = {"atol": 1e-10} if name in MODELS else {"atol": 0}
    np.testing.assert_allclose(numpy(flow.decode(flow.encode(x))), x, rtol=0, **tolerance)
assert np.isfinite(numpy(MODELS["MAF"](dtype="float64").log_prob(np.full((2, 3), 1e39)))).all()
"""


def test_a_catalogue_flow_of_float64_computes_in_it():
    run_python(IN_FLOAT64, os.path.dirname(__file__), JAX_ENABLE_X64="1")
