"""What an interrupted training goes on from."""

import csv
import io
import json
import shutil

import keras
import numpy as np

from flowzoo import backend, replicas
from flowzoo.registry.folder import write_text


class Checkpoints(keras.callbacks.Callback):
    """Keeps, at the end of every epoch, all that a training goes on from, even if it is killed.

    `folder/epoch-<n>` holds the weights with the optimizer's state, the states of the random
    generators, the weights of the best epoch so far, and the log. It is written under another name
    and then renamed, so it is whole or not there. Keras's `BackupAndRestore` writes in place, and
    keeps neither random states nor the best weights.

    Arguments:
        folder: is made if missing.
        recipe: what the training is told to do, plain data; another one is refused.
        log: CSV file that shows the rows so far.
        swap: a `keras.callbacks.SwapEMAWeights`, if averaged weights are validated.
        writes: whether this machine, of several, writes the files; all of them read.

    Raises: ValueError if the folder holds a training by another recipe.
    """

    def __init__(self, folder, *, recipe, log, swap=None, writes=True):
        super().__init__()
        self.folder = folder
        self.log = log
        self.swap = swap
        self.writes = writes
        self.latest = max(folder.glob("epoch-*"), default=None)
        self.rows = [] if self.latest is None else _read_rows(self.latest / "training.csv")
        path = folder / "recipe.json"
        if self.latest is not None and json.loads(path.read_text()) != recipe:
            raise ValueError(
                f"{folder} holds {len(self.rows)} epochs of a training by another recipe, epochs, learning "
                "rate or precision. Give another folder, or delete that one to start again."
            )
        if writes:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(recipe, indent=1))

    @property
    def best_weights(self):
        """The file with the weights of the epoch whose `loss_of` is the least."""
        return self.latest / "best.weights.h5"

    def on_train_begin(self, logs=None):
        if self.latest is None:
            return
        self.model.load_weights(self.latest / "state.weights.h5")
        with np.load(self.latest / "random_states.npz") as states:
            for i, variable in enumerate(backend.random_states(self.model)):
                variable.assign(states[f"arr_{i}"])

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append({"epoch": epoch, **{key: float(logs[key]) for key in sorted(logs)}})
        best = loss_of(self.rows[-1]) <= min(map(loss_of, self.rows))
        if not self.writes:
            if best:
                self._save_best(None)  # all machines swap the weights, or none
            return
        partial = self.folder / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        self._save_weights(partial / "state.weights.h5")
        states = map(keras.ops.convert_to_numpy, backend.random_states(self.model))
        np.savez(partial / "random_states.npz", *states)
        if best:
            self._save_best(partial / "best.weights.h5")
        else:
            shutil.copyfile(self.best_weights, partial / "best.weights.h5")
        write_text(partial / "training.csv", _csv(self.rows))
        done, self.latest = self.latest, self.folder / f"epoch-{epoch + 1:05d}"
        partial.rename(self.latest)
        if done is not None:
            shutil.rmtree(done)
        write_text(self.log, _csv(self.rows))

    def _save_best(self, path):
        """The weights alone, the averaged ones where an EMA is kept."""
        if self.swap is not None:
            self.swap.on_test_begin()
        if path is not None:
            self._save_weights(path)
        if self.swap is not None:
            self.swap.on_test_end()

    def _save_weights(self, path):
        with replicas.one_machine():
            self.model.save_weights(path)


def loss_of(row):
    """The loss that tells how good an epoch is: on validation data, or without any on the training data."""
    return row.get("val_loss", row["loss"])


def _csv(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _read_rows(path):
    with open(path, newline="") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    return [{**row, "epoch": int(row["epoch"])} for row in rows]
