"""How the models of a table are trained: sizes by the table, batches, and when to stop."""

import time

import keras
import numpy as np

from flowzoo.compiled import PATIENCE

LEAST_GAIN = 1e-3  # nats of held-out rows that count as better
CUTS = 2  # times that the learning rate is cut before training ends
CUT = 0.3
MOST_HELD_OUT = 20_000
AVERAGED = 0.8  # of the average of weights that stays in an epoch


def batch_size_for(n):
    """A twentieth of the rows, as a power of two from 32 to 2048; of few rows all."""
    return min(n, 2 ** int(np.clip(np.round(np.log2(max(n, 1) / 20)), 5, 11)))


def epochs_for(n, batch_size):
    """At most 300, and 20,000 steps, of which patience usually leaves most out; at least 20."""
    return int(np.clip(20_000 * batch_size / n, 20, 300))


def width_for(n):
    """The width of hidden layers: 32 under 1,000 rows, 64 under 20,000, else 128."""
    return 32 if n < 1_000 else 64 if n < 20_000 else 128


def held_out(n, fraction, rng):
    """Places of the rows to train on, and of those to hold out: one or more, and at most 20,000."""
    order = rng.permutation(n)
    count = int(np.clip(round(fraction * n), fraction > 0, min(n - 1, MOST_HELD_OUT))) if n > 1 else 0
    return np.sort(order[count:]), np.sort(order[:count])


class Rows(keras.utils.PyDataset):
    """Batches of one size, each what `make(places, rng)` gives for some rows, in another order each epoch."""

    def __init__(self, n, batch_size, make, seed):
        super().__init__()
        self.n, self.size, self.make = n, min(batch_size, n), make
        self.rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def on_epoch_end(self):
        """Shuffles; the first rows fill up the last batch."""
        self.order = np.resize(self.rng.permutation(self.n), len(self) * self.size)

    def __len__(self):
        return -(-self.n // self.size)

    def __getitem__(self, index):
        return self.make(self.order[index * self.size : (index + 1) * self.size], self.rng)


class KeepBest(keras.callbacks.Callback):
    """Ends training with those weights, averaged over epochs, that were best on held-out rows.

    Averages move less from batch to batch than weights do (Polyak and Juditsky, 1992). When `patience` epochs
    bring nothing better, training goes on from the best average with 0.3 of the learning rate, and the third
    time it ends.

    Arguments:
        loss: function without arguments, the held-out loss; None to train all epochs, without averages.
        patience: epochs.
        progress: a `Progress`.
    """

    def __init__(self, loss, patience, progress):
        super().__init__()
        self.loss, self.patience, self.progress = loss, patience, progress
        self.best, self.cuts, self.waited, self.losses = np.inf, 0, 0, []

    def on_train_begin(self, logs=None):
        if self.loss is not None:
            self.average, self.averaged = self.model.get_weights(), 1
            self.weights = self.average
            self._look()

    def on_epoch_end(self, epoch, logs=None):
        shown = [("loss", float(logs["loss"]))]
        if self.loss is not None:
            weights = self.model.get_weights()
            stays = min(AVERAGED, self.averaged / (1 + self.averaged))
            self.average = [
                stays * old + (1 - stays) * new if new.dtype.kind == "f" else new
                for old, new in zip(self.average, weights, strict=True)
            ]
            self.averaged += 1
            self.model.set_weights(self.average)
            self._look()
            self.model.set_weights(weights)
            shown.append(("held_out_loss", self.losses[-1]))
            if self.waited >= self.patience:
                self._cut()
        self.progress.update(epoch + 1, shown)

    def _look(self):
        loss = self.loss()
        self.losses.append(loss)
        self.waited += 1
        if loss < self.best - LEAST_GAIN:
            self.best, self.waited, self.weights = loss, 0, self.average

    def _cut(self):
        self.waited, self.cuts = 0, self.cuts + 1
        self.average, self.averaged = self.weights, 1
        self.model.set_weights(self.weights)
        optimizer = self.model.optimizer
        optimizer.learning_rate = CUT * float(optimizer.learning_rate)
        self.model.stop_training = self.cuts > CUTS

    def on_train_end(self, logs=None):
        if self.loss is not None:
            self.model.set_weights(self.weights)
        self.progress.end()


class Progress:
    """A line that says how far a training has come, from two seconds on."""

    def __init__(self, what, epochs, verbose):
        self.what, self.epochs, self.verbose = what, epochs, verbose
        self.started, self.bar = time.monotonic(), None

    def update(self, epoch, values):
        self.last = epoch, values
        if not self.verbose or time.monotonic() - self.started < PATIENCE:
            return
        if self.bar is None:
            print(f"Training {self.what}, at most {self.epochs} epochs:")
            self.bar = keras.utils.Progbar(
                self.epochs, unit_name="epoch", stateful_metrics=list(dict(values))
            )
        self.bar.update(epoch, values, finalize=False)

    def end(self):
        if self.bar is not None:
            self.bar.update(*self.last, finalize=True)


def train(model, rows, loss, *, what, epochs, patience, learning_rate, verbose):
    """Trains a Keras model on `Rows`, see `KeepBest`; gives the held-out losses, from the start on."""
    model.compile(optimizer=keras.optimizers.Adam(learning_rate, clipnorm=10.0))
    keep = KeepBest(loss, patience, Progress(what, epochs, verbose))
    model.fit(rows, epochs=epochs, callbacks=[keep], verbose=0)
    return keep.losses
