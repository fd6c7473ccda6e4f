import contextlib

import keras
import numpy as np
import pytest
from helpers import numpy
from keras import ops

import flowzoo
from flowzoo import backend, transformers
from flowzoo.testing import gradients
from flowzoo.transformers import (
    CircularSpline,
    MixtureOfGaussians,
    MixtureOfLogistics,
    RationalQuadraticSpline,
)

SPLINES = {
    "8 bins": RationalQuadraticSpline(),
    "2 bins, narrow": RationalQuadraticSpline(bins=2, bound=0.5),
    "30 bins, wide": RationalQuadraticSpline(bins=30, bound=50.0),
    "circle": CircularSpline((True,), bins=6),
}


def parameters_for(transformer, n, scale=1.0):
    return scale * np.random.default_rng(0).normal(size=(n, transformer.parameters))


def bound_of(spline):
    return np.pi if isinstance(spline, CircularSpline) else spline.bound


def knots(spline, parameters):
    """The places of the knots on the data's side, without the two ends: (n, bins - 1)."""
    _, widths, _, _ = spline._knots(ops.convert_to_tensor(parameters))
    return -bound_of(spline) + np.cumsum(np.concatenate([numpy(w) for w in widths[:-1]], 1), axis=1)


@pytest.mark.parametrize("name", SPLINES)
def test_splines_with_zero_parameters_are_the_identity(name):
    spline = SPLINES[name]
    x = np.linspace(-2 * spline.bound, 2 * spline.bound, 101, dtype="float32")[:, None]
    z, log_derivative = spline.inverse(ops.convert_to_tensor(x), ops.zeros((101, spline.parameters)))
    np.testing.assert_allclose(numpy(z), x, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(numpy(log_derivative), 0, atol=1e-5)


@pytest.mark.parametrize("name", SPLINES)
def test_splines_at_their_knots_and_bounds(name):
    spline = SPLINES[name]
    parameters = parameters_for(spline, 20).astype("float32")
    bound = bound_of(spline)
    places = np.concatenate([np.full((20, 1), -bound), knots(spline, parameters), np.full((20, 1), bound)], 1)
    for place in places.T.astype("float32"):
        for x in (place, np.nextafter(place, np.float32(-100)), np.nextafter(place, np.float32(100))):
            x = x[:, None]
            z, log_derivative = spline.inverse(ops.convert_to_tensor(x), ops.convert_to_tensor(parameters))
            assert np.isfinite(numpy(z)).all()
            assert np.isfinite(numpy(log_derivative)).all()
            back, other = spline.forward(z, ops.convert_to_tensor(parameters))
            difference = np.abs(numpy(back) - x)
            difference = (
                np.minimum(difference, np.abs(2 * np.pi - difference)) if name == "circle" else difference
            )
            slope = np.exp(np.minimum(numpy(log_derivative), 0))
            assert (difference * slope <= 1e-5 * max(1, bound)).all()
            np.testing.assert_allclose(numpy(other), -numpy(log_derivative), atol=0.02)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_splines_rise_and_their_log_derivative_is_that_of_their_values(scale):
    spline = RationalQuadraticSpline(bins=5, bound=3.0)
    row = parameters_for(spline, 1, scale)
    x = np.linspace(-4, 4, 4001)[:, None]
    parameters = ops.convert_to_tensor(np.repeat(row, len(x), 0), "float32")
    z, log_derivative = map(numpy, spline.inverse(ops.convert_to_tensor(x, "float32"), parameters))
    rise = np.diff(z[:, 0])
    assert (rise >= -1e-6).all()
    assert abs(np.sum(np.exp(log_derivative[:-1, 0].astype("float64"))) * 8 / 4000 - 8) < 0.05  # z rises by 8


@pytest.mark.parametrize("value", [-1e6, -5.0, 5.0, 1e6, np.inf, -np.inf])
def test_splines_leave_what_is_far_away(value):
    spline = RationalQuadraticSpline(bound=5.0)
    parameters = ops.convert_to_tensor(parameters_for(spline, 3), "float32")
    for method in (spline.inverse, spline.forward):
        result, log_derivative = method(ops.full((3, 1), value), parameters)
        assert (numpy(result) == value).all()
        assert not numpy(log_derivative).any()


@pytest.mark.parametrize("name", SPLINES)
@pytest.mark.parametrize("method", ["inverse", "forward"])
def test_gradients_of_splines_are_finite_everywhere(name, method):
    spline = SPLINES[name]
    bound = bound_of(spline)
    values = np.array([0.0, -bound, bound, 1e6, -1e6, *np.linspace(-bound, bound, 9)], "float32")[:, None]
    parameters = keras.Variable(parameters_for(spline, len(values), scale=3.0).astype("float32"))

    def total():
        result, log_derivative = getattr(spline, method)(
            ops.convert_to_tensor(values), ops.convert_to_tensor(parameters)
        )
        return ops.sum(ops.sin(result)) + ops.sum(log_derivative)

    (gradient,) = gradients([parameters], total)
    assert np.isfinite(numpy(gradient)).all()


def test_float64_splines_are_inverted_to_its_precision():
    spline = RationalQuadraticSpline()
    with float64():
        parameters = ops.convert_to_tensor(parameters_for(spline, 1000), "float64")
        x = np.random.default_rng(1).normal(size=(1000, 1)) * 2
        z, _ = spline.inverse(ops.convert_to_tensor(x, "float64"), parameters)
        assert keras.backend.standardize_dtype(z.dtype) == "float64"
        np.testing.assert_allclose(numpy(spline.forward(z, parameters)[0]), x, atol=1e-9)


def float64():
    """JAX has 64 bits where it is told so."""
    if backend.name == "tensorflow":
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)


def test_circular_splines_close_the_circle():
    spline = CircularSpline((True, False), bins=5)
    parameters = ops.convert_to_tensor(
        np.repeat(np.random.default_rng(0).normal(size=(1, 32)), 2, 0), "float32"
    )
    ends = np.array([[-np.pi, 0.3], [np.nextafter(np.float32(np.pi), np.float32(0)), 0.3]], "float32")
    z, log_derivative = map(numpy, spline.inverse(ops.convert_to_tensor(ends), parameters))
    gap = np.abs(z[0, 0] - z[1, 0])
    assert min(gap, abs(2 * np.pi - gap)) < 1e-4
    np.testing.assert_allclose(log_derivative[0], log_derivative[1], atol=1e-3)
    assert z[0, 1] == z[1, 1]


def test_a_mixture_of_logistics_is_flow_plus_plus_map():
    mixture = MixtureOfLogistics(2, log_scale_bound=3.0)
    raw = np.array([[0.3, -0.2, 0.1, 0.5, 1.0, -2.0, 0.4, -0.3]])  # b, a, 2 logits, 2 means, 2 log-scales
    x = np.array([[0.7]])
    z, log_derivative = mixture.inverse(
        ops.convert_to_tensor(x, "float32"), ops.convert_to_tensor(raw, "float32")
    )
    weights = np.exp(raw[0, 2:4]) / np.exp(raw[0, 2:4]).sum()
    means = raw[0, 4:6] + np.array([-1 / 3, 1 / 3])
    scales = np.exp(3 * np.tanh(raw[0, 6:] / 3))
    a = 3 * np.tanh(raw[0, 1] / 3)

    def map_(x):
        below = np.sum(weights / (1 + np.exp(-(x - means) / scales)))
        return np.log(below / (1 - below)) * np.exp(a) + raw[0, 0]

    np.testing.assert_allclose(numpy(z)[0, 0], map_(0.7), rtol=1e-5)
    slope = (map_(0.7 + 1e-5) - map_(0.7 - 1e-5)) / 2e-5
    np.testing.assert_allclose(numpy(log_derivative)[0, 0], np.log(slope), atol=1e-4)


@pytest.mark.parametrize("mixture", [MixtureOfLogistics(3, 2.0), MixtureOfGaussians(3, 2.0)], ids=repr)
def test_mixtures_are_inverted_at_places_of_images(mixture):
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 3, 4, 2)).astype("float32")
    parameters = random.normal(size=(2, 3, 4, 2 * mixture.parameters)).astype("float32")
    z, log_derivative = mixture.inverse(ops.convert_to_tensor(x), ops.convert_to_tensor(parameters))
    back, other = mixture.forward(z, ops.convert_to_tensor(parameters))
    np.testing.assert_allclose(numpy(back), x, atol=1e-4)
    np.testing.assert_allclose(numpy(other), -numpy(log_derivative), atol=1e-3)
    alone, _ = mixture.inverse(ops.convert_to_tensor(x[:, 1, 2]), ops.convert_to_tensor(parameters[:, 1, 2]))
    np.testing.assert_allclose(numpy(alone), numpy(z)[:, 1, 2], atol=1e-6)


def test_layers_take_transformers_by_name_and_as_objects_and_say_what_there_is():
    layer = flowzoo.layers.Coupling(transformer=RationalQuadraticSpline(bins=3))
    again = flowzoo.layers.Coupling.from_config(layer.get_config())
    assert again.transformer.get_config() == {"bins": 3, "bound": 5.0}
    assert isinstance(transformers.get("mixture_of_logistics", components=4), MixtureOfLogistics)
    with pytest.raises(ValueError, match="transformer must be one of 'additive', 'affine'"):
        flowzoo.layers.Coupling(transformer="spliny")
    with pytest.raises(ValueError, match="needs a spline"):
        flowzoo.layers.Coupling(transformer="affine", periodic=(0,))
