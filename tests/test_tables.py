"""Tables of every kind, drawn by hypothesis: whatever the columns hold, a flow trains on them to a density.

pytest --hypothesis-profile=thorough tests/test_tables.py   draws many; see `conftest.py`
"""

import functools
import itertools
import warnings

import keras
import numpy as np
import pandas as pd
from cases import MODELS
from helpers import numpy
from hypothesis import given, note
from hypothesis import strategies as st

import flowzoo

BATCH = 16
COLUMNS = {
    "normal": lambda random, n: random.normal(size=n),
    "constant": lambda random, n: np.full(n, 3.0),
    "zero": lambda random, n: np.zeros(n),
    "binary": lambda random, n: random.uniform(size=n) < 0.1,
    "integer": lambda random, n: random.poisson(2, n),
    "lognormal": lambda random, n: np.exp(3 * random.normal(size=n)),
    "Cauchy": lambda random, n: random.standard_cauchy(n),
}
PLACES_AND_UNITS = [(0, 1), (2020, 3), (1e8, 1e6), (0, 1e-8), (0, 1e-30), (0, 1e12), (0, 1e30)]
FOR_ONE_COLUMN = [name for name in MODELS if name.startswith(("MAF", "IAF", "NSF"))]


def batches(x):
    return (x[i : i + BATCH] for i in range(0, len(x), BATCH))


def tf_data(x):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(x).batch(BATCH)


FEEDS = {
    "array": lambda x: x,
    "frame": pd.DataFrame,
    "list of rows": lambda x: x.tolist(),
    "tf.data": tf_data,
    "generator": lambda x: ((batch,) for _ in itertools.count() for batch in batches(x)),
    "PyDataset": lambda x: flowzoo.datasets.Batches(x, batch_size=BATCH),
}


@st.composite
def tables(draw):
    """A float32 array (rows, columns)."""
    n = draw(st.sampled_from([1, 2, 17, 64]))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    columns = []
    for kind in draw(st.lists(st.sampled_from([*COLUMNS, "copied"]), min_size=1, max_size=3)):
        if kind == "copied":
            columns.append(columns[0] if columns else random.normal(size=n))
            continue
        place, unit = draw(st.sampled_from(PLACES_AND_UNITS))
        columns.append(place + unit * COLUMNS[kind](random, n))
    x = np.stack(columns, axis=1).astype("float32")
    return np.repeat(x[:1], n, axis=0) if draw(st.booleans()) and n > 2 else x


@functools.cache
def model(name, columns):
    """A compiled flow, and all its weights and those of its optimizer at the start."""
    flow = MODELS[name](event_shape=columns)
    flow.compile(optimizer=keras.optimizers.Adam(1e-3))
    flow.optimizer.build(flow.trainable_variables)
    variables = [*flow.weights, *flow.optimizer.variables]
    return flow, [(variable, numpy(variable)) for variable in variables]


def integral(flow):
    """Of the density, over the range of samples and half as much on either side."""
    samples = numpy(flow.sample(1000, seed=0)).astype("float64")
    low, high = samples.min(axis=0), samples.max(axis=0)
    low, high = low - (high - low) / 2, high + (high - low) / 2
    count = 20000 if len(low) == 1 else 300
    steps = (high - low) / count
    axes = [start + step * (np.arange(count) + 0.5) for start, step in zip(low, steps, strict=True)]
    points = np.stack([axis.ravel() for axis in np.meshgrid(*axes)], axis=-1).astype("float32")
    log_prob = numpy(flow.log_prob(points)).astype("float64")
    return np.exp(log_prob + np.log(steps).sum()).sum()


@given(st.data(), tables(), st.sampled_from(list(FEEDS)))
def test_any_table_trains_any_vector_model_to_a_density(data, x, feed):
    name = data.draw(st.sampled_from(list(MODELS) if x.shape[1] > 1 else FOR_ONE_COLUMN))
    note(f"{x.shape}, columns from {x.min(axis=0)} to {x.max(axis=0)}")
    flow, start = model(name, x.shape[1])
    for variable, value in start:
        variable.assign(value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        steps = {"steps_per_epoch": -(-len(x) // BATCH)} if feed == "generator" else {}
        history = flow.fit(FEEDS[feed](x), epochs=2, verbose=0, **steps).history
    assert np.isfinite(history["loss"]).all()
    assert np.isfinite(numpy(flow.log_prob(x))).all()
    assert np.isfinite(numpy(flow.sample(10, seed=0))).all()
    if x.shape[1] <= 2:
        np.testing.assert_allclose(integral(flow), 1.0, atol=0.03)
