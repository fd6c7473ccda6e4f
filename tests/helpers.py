"""What several tests share."""

import os
import subprocess
import sys

import keras
import numpy as np
from keras import ops

from flowzoo import backend


def perturb(module, seed=0, scale=0.5):
    """Kicks every float weight, so that nothing is at its zero or identity start."""
    rng = np.random.default_rng(seed)
    for weight in module.weights:
        if not keras.backend.is_float_dtype(weight.dtype):
            continue
        fan_in = weight.shape[0] if len(weight.shape) > 1 else 10
        kick = scale * rng.normal(size=weight.shape) / np.sqrt(fan_in)
        if weight.name.endswith("variance"):
            kick = np.abs(kick)
        if weight.name == "sign":  # +1 or -1
            kick = np.zeros_like(kick)
        weight.assign(weight + ops.cast(kick, weight.dtype))


def data_for(shape, *, unit=False, n=4, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.05, 0.95, (n, *shape)) if unit else rng.normal(size=(n, *shape))
    return values.astype("float32")


def pixels(shape, *, n=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape)).astype("uint8")


def jacobian_log_det(function, value):
    """log |det J| of `function` at one example without batch axis, from the full autodiff Jacobian."""

    def flat(v):
        return ops.reshape(function(ops.reshape(v, (1, *value.shape))), (-1,))

    vector = ops.convert_to_tensor(np.reshape(value, -1))
    if backend.name == "jax":
        import jax

        matrix = jax.jit(jax.jacrev(flat))(vector)
    else:
        import tensorflow as tf

        with tf.GradientTape(persistent=True) as tape:
            tape.watch(vector)
            output = flat(vector)
        matrix = tape.jacobian(output, vector, experimental_use_pfor=False)
    return np.linalg.slogdet(ops.convert_to_numpy(matrix).astype("float64"))[1]


def gradients(model, loss):
    """Gradients of `loss()` with regard to the model's trainable weights, as arrays or None."""
    weights = model.trainable_weights
    if backend.name == "jax":
        import jax

        def of_values(values):
            with keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True))):
                return loss()

        return [np.asarray(g) for g in jax.grad(of_values)([w.value for w in weights])]

    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = loss()
    found = tape.gradient(value, [w.value for w in weights])
    return [None if g is None else ops.convert_to_numpy(g) for g in found]


def pass_for_each_dimension(layer, z, context=None):
    """What an autoregressive layer's `forward_and_log_det` gives, by as many passes as dimensions."""
    order = ops.cast(ops.argsort(ops.convert_to_tensor(layer.made.degrees)), "int32")

    def transformed(x):
        return layer.transformer.forward(z, ops.cast(layer.made(x, context), z.dtype))

    def step(dimension, x):
        return (ops.where(ops.arange(z.shape[1], dtype="int32") == dimension, transformed(x)[0], x),)

    (x,) = backend.repeat(z.shape[1], step, (ops.zeros_like(z),), order)
    return x, ops.sum(transformed(x)[1], axis=1)


def count_calls(monkeypatch, layer):
    """A list that grows by one at every call of `layer`."""
    calls = []
    original = layer.call

    def counted(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(layer, "call", counted)
    return calls


def without(*packages):
    """Code to put before that of `run_python`, which makes packages impossible to import."""
    return f"""
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *arguments):
        return None if name.split(".")[0] in {packages} else self.finder.find_spec(name, *arguments)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Without, sys.meta_path)
"""


WITHOUT_TENSORFLOW = without("tensorflow", "tf_keras")


def run_python(code, *arguments, **environment):
    """Runs `code` in a new process on the same backend; returns what it printed."""
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "KERAS_BACKEND": backend.name, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def numpy(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))
