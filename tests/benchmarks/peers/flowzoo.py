"""flowzoo as a user calls it, arrays in and arrays out, on the backend that Keras takes."""

import itertools
import time

import keras
import numpy as np

import flowzoo

PACKAGE = "flowzoo"


def model(cell):
    """The cell's flow, compiled for training."""
    if cell.kind == "glow":
        flow = flowzoo.Glow(
            cell.shape, levels=3, steps=cell.layers, hidden_channels=cell.hidden[0], learned_prior=False
        )
    elif cell.kind == "maf":
        flow = flowzoo.MAF(cell.shape, autoregressive_layers=cell.layers, hidden_units=cell.hidden)
    elif cell.kind.startswith("nsf"):
        flow = flowzoo.NSF(
            cell.shape,
            autoregressive=cell.kind == "nsf-ar",
            spline_layers=cell.layers,
            hidden_units=cell.hidden,
            residual=False,
        )
    else:
        flow = flowzoo.RealNVP(cell.shape, couplings=cell.layers, hidden_units=cell.hidden)
    flow.compile(optimizer=keras.optimizers.Adam(1e-4))
    return flow


def build(cell, mode):
    flow = model(cell)
    batches = itertools.cycle(cell.batches())

    def train(calls):
        x = np.concatenate(list(itertools.islice(batches, calls)))
        epoch = EpochTime()
        flow.fit(x, batch_size=cell.batch, verbose=0, callbacks=[epoch])
        return epoch.seconds

    def log_prob(calls):
        for x in itertools.islice(batches, calls):
            np.asarray(flow.log_prob(x))

    def sample(calls):
        for _ in range(calls):
            np.asarray(flow.sample(cell.samples))

    parameters = sum(np.prod(weight.shape) for weight in flow.trainable_weights)
    return parameters, {"train": train, "log_prob": log_prob, "sample": sample}


class EpochTime(keras.callbacks.Callback):
    """The seconds of the last epoch, which leave out what `fit` does once, before its epochs."""

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.start
