"""Seconds of first calls at one cell, in this new process: python -m peers.first_calls CELL [keras]

flowzoo's, or, of "keras", those of a model that is but the same conditioners, Keras's own layers one after
the other: what Keras and the compiler take without a flow. The last line that is printed is their JSON.
"""

import json
import sys
import time

from peers.cells import CELLS


def stopwatch():
    """A dictionary of seconds, and a function that puts those since its last call there under a name."""
    seconds, last = {}, time.perf_counter()

    def lap(name):
        nonlocal last
        seconds[name], last = time.perf_counter() - last, time.perf_counter()

    return seconds, lap


def of_flowzoo(cell):
    seconds, lap = stopwatch()
    import flowzoo

    lap("import flowzoo")
    _ = flowzoo.Flow  # what it needs is imported here
    lap("import a flow")
    import numpy as np

    from peers.flowzoo import model

    x = cell.batches(1)[0]
    lap("")
    flow = model(cell)
    lap("construct")
    flow.fit(x, batch_size=cell.batch, verbose=0)
    lap("fit, one step")
    np.asarray(flow.log_prob(x))
    lap("log_prob")
    np.asarray(flow.sample(cell.samples))
    lap("sample")
    z = np.asarray(flow.encode(x))
    lap("encode")
    np.asarray(flow.decode(z))
    lap("decode")
    del seconds[""]
    return seconds


def of_keras(cell):
    import keras
    import numpy as np

    x = cell.batches(1)[0].astype("float32")
    seconds, lap = stopwatch()
    inputs = keras.Input(cell.shape)
    outputs = images(inputs, cell) if cell.kind == "glow" else vectors(inputs, cell)
    network = keras.Model(inputs, outputs)
    xla = keras.backend.backend() == "jax" or cell.kind != "glow"  # as flowzoo chooses
    network.compile("adam", "mse", jit_compile=xla)
    lap("the conditioners alone in Keras: construct")
    network.fit(x, np.zeros((len(x), *network.output_shape[1:])), batch_size=cell.batch, verbose=0)
    lap("the conditioners alone in Keras: fit, one step")
    return seconds


def vectors(x, cell):
    from keras import layers

    for _ in range(cell.layers):
        h = x
        for width in cell.hidden:
            h = layers.Dense(width, "relu")(h)
        x = x + layers.Dense(cell.size)(h)
    return x


def images(x, cell):
    from keras import layers

    for _ in range(3):  # levels, of half the size and twice the channels each
        x = layers.Conv2D(4 * x.shape[-1] if x.shape[-1] == 3 else 2 * x.shape[-1], 2, strides=2)(x)
        for _ in range(cell.layers):
            h = layers.Conv2D(cell.hidden[0], 3, padding="same", activation="relu")(x)
            h = layers.Conv2D(cell.hidden[1], 1, activation="relu")(h)
            x = x + layers.Conv2D(x.shape[-1], 3, padding="same")(h)
    return x


def main(cell, of="flowzoo"):
    print(json.dumps({"flowzoo": of_flowzoo, "keras": of_keras}[of](CELLS[cell])))


if __name__ == "__main__":
    main(*sys.argv[1:])
