"""Weights have public names, which neither the session nor private attributes change."""

import keras
import numpy as np
import pytest
from cases import IMAGE_MODELS, LAYERS, MODELS, VAES

import flowzoo
from flowzoo.naming import named_weights


def catalogue():
    """Makers of all models of the catalogue under test, by name."""
    named = {**MODELS, **{f"{name} of images": make for name, make in IMAGE_MODELS.items()}, **VAES}
    own = ("no flows", "fixed width", "IAF posterior with", "two flows")  # whose networks are the test's
    return {name: make for name, make in named.items() if not name.startswith(own)}


CATALOGUE = catalogue()


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_weight_has_a_name_that_the_session_does_not_change(name):
    model = CATALOGUE[name]()
    names = named_weights(model)
    assert {id(weight) for weight in names.values()} == {id(weight) for weight in model.weights}
    keras.layers.Dense(3)  # Keras counts layers
    again = named_weights(CATALOGUE[name](name="another"))
    assert {key: weight.shape for key, weight in again.items()} == {
        key: weight.shape for key, weight in names.items()
    }
    loaded = named_weights(type(model).from_config(model.get_config()))
    assert loaded.keys() == names.keys()


@pytest.mark.parametrize("name", LAYERS)
def test_every_weight_of_a_flow_layer_has_a_name(name):
    make, shape, _ = LAYERS[name]
    layer = make()
    layer.build((None, *shape))
    assert len(named_weights(layer)) == len(layer.weights)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda: MODELS["RealNVP"](couplings=1, hidden_units=(4,), normalization="batch"),
            {
                "0/network/hidden_0/kernel",
                "0/network/hidden_0/bias",
                "0/head/kernel",
                "0/head/bias",
                "1/statistics/mean",
                "1/statistics/variance",
                "1/gamma",
                "1/beta",
                "2/places",
                *(f"3/statistics/{name}" for name in ("mean", "log_scale", "initialized")),
            },
        ),
        (
            lambda: MODELS["IAF"](autoregressive_layers=1),
            {
                *(f"0/layer/made/{role}" for role in ("kernel_0", "bias_0", "output_kernel")),
                *("0/layer/made/output_bias", "0/layer/made/degrees"),
                *(f"1/statistics/{name}" for name in ("mean", "log_scale", "initialized")),
            },
        ),
    ],
)
def test_names_tell_place_and_role(make, expected):
    assert named_weights(make()).keys() == expected


@pytest.mark.parametrize(
    ("make", "some"),
    [
        (
            IMAGE_MODELS["Glow, variational, logit"],
            {
                "0/0/shift",
                "0/1/head/convolution/kernel",
                "0/1/network/hidden_1/bias",
                "0/2/lower_upper",
                "0/prior/log_scale",
                "1/head/log_scale",
                "7/noise_layers/3/network/hidden_0/kernel",
            },
        ),
        (
            IMAGE_MODELS["RealNVP"],
            {"0/0/network/convolution_0/direction", "0/0/network/norm_2/moving_variance", "1/head/kernel"},
        ),
        (
            lambda: VAES["IAFVAE"](warmup_steps=3),
            {
                "encoder/convolutions/down_1/kernel",
                "encoder/convolutions/block_0/second/bias",
                "encoder/log_scale/kernel",
                "decoder/small_image/bias",
                "decoder/convolutions/up_0/kernel",
                "posterior_flow/1/layer/made/context_kernel",
                "kl_weight",
            },
        ),
        (
            VAES["FVAE"],
            {
                "encoder/mean/kernel",
                "decoder/convolutions/entry/bias",
                "prior_flow/0/1/network/hidden_0/kernel",
                "posterior_log_scale",
                "likelihood_log_scale",
            },
        ),
    ],
)
def test_names_tell_scales_networks_and_flows(make, some):
    assert some <= named_weights(make()).keys()


def test_networks_of_users_are_named_by_their_layers():
    network = keras.Sequential([keras.layers.Dense(8, name="first"), keras.layers.Dense(8, name="second")])
    flow = flowzoo.Flow([flowzoo.layers.AffineCoupling(network)], event_shape=2)
    assert list(named_weights(flow)) == [
        f"0/{role}/{name}"
        for role in ("network/first", "network/second", "head")
        for name in ("kernel", "bias")
    ]


def test_two_weights_of_one_name_are_refused():
    class Twice(flowzoo.layers.FlowLayer):
        def build(self, x_shape, context_shape=None):
            self.pair = [self.add_weight(shape=(), name="shift") for _ in range(2)]

    layer = Twice()
    layer.build((None, 2))
    with pytest.raises(ValueError, match="Two weights of twice would be called 'shift'"):
        named_weights(layer)


def test_values_come_by_their_names():
    flow = MODELS["NICE"]()
    named = named_weights(flow)
    named["1/head/bias"].assign(np.full(named["1/head/bias"].shape, 0.5))
    np.testing.assert_array_equal(flow.flow_layers[1].head.get_weights()[1], 0.5)
