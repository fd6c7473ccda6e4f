"""What several tests share."""

import os
import subprocess
import sys

import numpy as np
import pytest
from keras import ops

from flowzoo import backend


def data_for(shape, *, unit=False, n=4, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.05, 0.95, (n, *shape)) if unit else rng.normal(size=(n, *shape))
    return values.astype("float32")


def pixels(shape, *, n=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape)).astype("uint8")


def pass_for_each_dimension(layer, z, context=None):
    """What an autoregressive layer's `forward_and_log_det` gives, by as many passes as dimensions."""
    order = ops.cast(ops.argsort(ops.convert_to_tensor(layer.made.degrees)), "int32")

    def transformed(x):
        return layer.transformer.forward(z, ops.cast(layer.made(x, context), z.dtype))

    def step(dimension, x):
        return (ops.where(ops.arange(z.shape[1], dtype="int32") == dimension, transformed(x)[0], x),)

    (x,) = backend.repeat(z.shape[1], step, (ops.zeros_like(z),), order)
    return x, ops.sum(transformed(x)[1], axis=1)


def pass_for_each_token(layer, z, context=None):
    """x of a `TransformerAutoregressive`, by as many passes over all tokens as there are tokens."""
    z, places = layer._ordered(z), ops.arange(layer.length)

    def step(elements, x):
        found, _ = layer.transformer.forward(z, layer.parameters(x, context))
        return (ops.where((places == elements[0])[:, None], found, x),)

    (x,) = backend.repeat(layer.length, step, (ops.zeros_like(z),), (places,))
    return layer._ordered(x)


def compiled_mixtures(cases):
    """Cases, of which those of mixtures are marked: loops to their roots take long operation by operation."""
    return [pytest.param(case, marks=pytest.mark.compiled) if "MoG" in str(case) else case for case in cases]


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


def restored(model, *others):
    """Yields a model that several tests share, and what goes with it; afterwards restores its weights."""
    weights = model.get_weights()
    yield model, *others
    model.set_weights(weights)


def numpy(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))
