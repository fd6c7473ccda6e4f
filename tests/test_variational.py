import math

import keras
import numpy as np
import pytest
from helpers import numpy
from keras import ops

import flowzoo
from flowzoo import backend
from flowzoo.testing import gradients
from flowzoo.variational import ReverseKL


def normal_log_prob(x, mean, log_scale):
    return -0.5 * ops.square((x - mean) * ops.exp(-log_scale)) - log_scale - 0.5 * math.log(2 * math.pi)


def banana(x):
    """x_1 ~ N(0, 2^2), x_2 ~ N(x_1^2 / 4, 1)."""
    return normal_log_prob(x[:, 0], 0.0, math.log(2.0)) + normal_log_prob(x[:, 1], x[:, 0] ** 2 / 4, 0.0)


def funnel(x):
    """Neal's funnel: x_1 ~ N(0, 3^2), the others N(0, exp(x_1))."""
    others = ops.sum(normal_log_prob(x[:, 1:], 0.0, x[:, :1] / 2), axis=1)
    return normal_log_prob(x[:, 0], 0.0, math.log(3.0)) + others


def kl(flow, target, n=20000):
    z = flow.base_distribution.sample(n, seed=backend.random_key(1))
    x, log_det = flow.forward_and_log_det(z)
    return float(ops.mean(flow.base_distribution.log_prob(z) - log_det - target(x)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "dimensions", "steps", "bound"), [(banana, 2, 1000, 0.05), (funnel, 3, 1500, 0.2)]
)
def test_an_inverse_autoregressive_flow_fits(target, dimensions, steps, bound):
    flow = flowzoo.IAF(
        event_shape=dimensions, autoregressive_layers=2, hidden_units=(32, 32), activation="tanh"
    )
    history = flow.fit_variational(
        target, steps=steps, batch_size=256, optimizer=_adam(steps), seed=0, verbose=0
    ).history
    assert len(history["loss"]) == steps // 100
    assert history["loss"][-1] < history["loss"][0]
    assert -0.01 < kl(flow, target) <= bound


def _adam(steps):
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, steps))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "path_gradient", "jit_compile"),
    [
        (flowzoo.IAF, True, True),
        (flowzoo.IAF, False, True),
        (flowzoo.RealNVP, True, True),
        (flowzoo.MAF, True, backend.name == "jax"),  # without XLA JAX runs each operation by itself
    ],
)
def test_any_flow_fits_a_shifted_normal(make, path_gradient, jit_compile):
    flow = make(event_shape=2, hidden_units=(8,))
    history = flow.fit_variational(
        lambda x: -0.5 * ops.sum((x - 1.0) ** 2, axis=-1),
        steps=300,
        batch_size=64,
        optimizer="adam",
        path_gradient=path_gradient,
        jit_compile=jit_compile,
        seed=0,
        verbose=0,
    ).history
    assert len(history["loss"]) == 3
    assert history["loss"][-1] < history["loss"][0]
    # The target lacks its constant, so the loss tends to -log(2 pi).
    np.testing.assert_allclose(history["loss"][-1], -math.log(2 * math.pi), atol=0.05)


def test_the_path_gradient_vanishes_where_the_flow_is_the_target():
    flow = flowzoo.IAF(event_shape=2, hidden_units=(8,))
    z = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(16, 2)).astype("float32"))

    def target(x):
        return ops.sum(normal_log_prob(x, 0.0, 0.0), axis=1)

    for path_gradient, bound in ((True, 1e-6), (False, None)):
        trainer = ReverseKL(flow, target, path_gradient)
        np.testing.assert_allclose(numpy(trainer(z)), 0, atol=1e-5)
        found = gradients(flow.trainable_weights, lambda trainer=trainer: ops.mean(trainer(z)))
        largest = max(np.abs(gradient).max() for gradient in found)
        assert largest < bound if bound else largest > 1e-3


def test_what_it_cannot_fit_is_refused():
    image_flow = flowzoo.NICE(event_shape=(4, 4, 1), hidden_units=(8,))
    with pytest.raises(ValueError, match="is an image flow"):
        image_flow.fit_variational(banana, steps=10)
    with pytest.raises(ValueError, match="is conditional"):
        flowzoo.IAF(event_shape=2, context_shape=2).fit_variational(banana, steps=10)
    with pytest.raises(ValueError, match="steps must be a positive integer"):
        flowzoo.IAF(event_shape=2).fit_variational(banana, steps=0)
