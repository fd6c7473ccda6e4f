"""Layers with mistakes, which `check_flow_layer` must find."""

import numpy as np
import pytest
from helpers import data_for
from keras import ops

from flowzoo.layers import ActNorm, FlowLayer
from flowzoo.testing import check_flow_layer


class Scale(FlowLayer):
    """x = exp(s) z, with a mistake that a subclass makes."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, x_shape, context_shape=None):
        self.log_scale = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="log_scale")

    def forward_and_log_det(self, z, context=None):
        s = self.factor * self.log_scale
        return z * ops.exp(s), self.per_example(ops.sum(s), z)

    def inverse_and_log_det(self, x, context=None):
        s = self.factor * self.log_scale
        return x * ops.exp(-s), -self.per_example(ops.sum(s), x)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


class WrongInverse(Scale):
    def inverse_and_log_det(self, x, context=None):
        z, log_det = super().inverse_and_log_det(x)
        return z + 0.1, log_det


class WrongSign(Scale):
    def inverse_and_log_det(self, x, context=None):
        z, log_det = super().inverse_and_log_det(x)
        return z, -log_det


class WrongLogDet(Scale):
    def forward_and_log_det(self, z, context=None):
        x, log_det = super().forward_and_log_det(z)
        return x, 2 * log_det

    def inverse_and_log_det(self, x, context=None):
        z, log_det = super().inverse_and_log_det(x)
        return z, 2 * log_det


class ScalarLogDet(Scale):
    def inverse_and_log_det(self, x, context=None):
        z, log_det = super().inverse_and_log_det(x)
        return z, log_det[0]


class WrongShape(Scale):
    def compute_output_shape(self, x_shape, context_shape=None):
        return (x_shape[0], x_shape[1] - 1)


class NotANumber(Scale):
    def inverse_and_log_det(self, x, context=None):
        z, log_det = super().inverse_and_log_det(x)
        return z * np.nan, log_det


class UnusedWeight(Scale):
    def build(self, x_shape, context_shape=None):
        super().build(x_shape)
        self.unused = self.add_weight(shape=(3,), initializer="zeros", name="unused")


class MultipliedByZero(UnusedWeight):
    def inverse_and_log_det(self, x, context=None):
        z, log_det = super().inverse_and_log_det(x)
        return z + 0 * self.unused, log_det


class ForgetfulConfig(Scale):
    def get_config(self):
        return {**super().get_config(), "factor": 1.0}


def test_a_right_layer_passes():
    check_flow_layer(Scale(2.0), data_for((3,)))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (WrongInverse(), "WrongInverse.forward_and_log_det does not undo inverse_and_log_det: .* instead of"),
        (WrongSign(), "The log_det of WrongSign.forward_and_log_det is not that of inverse_and_log_det"),
        (WrongLogDet(), "determinant of its Jacobian"),
        (ScalarLogDet(), r"another shape than \(batch,\); see per_example: \(\) instead of \(4,\)"),
        (WrongShape(), r"another shape than compute_output_shape says: \(4, 3\) instead of \(4, 2\)"),
        (NotANumber(), "nan instead of"),
        (MultipliedByZero(), "unused gets (a gradient of 0 everywhere|no gradient)"),
        (UnusedWeight(), "unused gets (a gradient of 0 everywhere|no gradient)"),
        (ForgetfulConfig(2.0), "does get_config hold every argument"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, FlowLayer) else "",
)
def test_mistakes_are_found(layer, message):
    with pytest.raises(AssertionError, match=message):
        check_flow_layer(layer, data_for((3,)))


def test_what_it_cannot_check_is_refused():
    with pytest.raises(ValueError, match="takes a flow layer; got 'layer'"):
        check_flow_layer("layer", data_for((3,)))
    with pytest.raises(ValueError, match=r"two or more examples; got shape \(1, 3\)"):
        check_flow_layer(ActNorm(), data_for((3,), n=1))
