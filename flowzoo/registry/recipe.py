"""Training and measuring the zoo's models by their recipes."""

import csv
import math
import os
import pathlib
import platform
import shutil
import time

import keras
from keras import ops

from flowzoo import backend
from flowzoo.datasets import ImageBatches, binarize, load_arrays
from flowzoo.metrics import bits_per_dim, log_likelihoods
from flowzoo.registry.architecture import build
from flowzoo.registry.index import info
from flowzoo.registry.publish import complete, store
from flowzoo.registry.vae import evaluate_vae
from flowzoo.registry.weights import load
from flowzoo.vae import FlowVAE


def evaluate(flow, images, context=None, *, batch_size=500, seed=0, progress=None):
    """Mean log-likelihood of images in every space that papers report, and bits/dim.

    Arguments:
        flow: an image flow.
        images: (n, H, W, C) with values 0 ... 255.
        context: (n, *context_shape) for a conditional flow.
        seed: integer that draws the dequantisation noise.
        progress: called with the number of images done.

    Returns: dict with "examples", "bits_per_dim" and "log_likelihood_<space>" in nats.
    """
    totals = {}
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        found = log_likelihoods(
            flow, images[part], None if context is None else context[part], seed=seed + start
        )
        for space, values in found.items():
            totals[space] = totals.get(space, 0.0) + float(ops.sum(values))
        if progress is not None:
            progress(min(start + batch_size, len(images)))
    means = {space: total / len(images) for space, total in totals.items()}
    return {
        "examples": len(images),
        "bits_per_dim": bits_per_dim(means["pixels"], flow.dimensions),
        **{f"log_likelihood_{space}": mean for space, mean in means.items()},
    }


def evaluate_pretrained(name_or_path, *, data_dir=None, progress=None):
    """Measures a pretrained model again on the split that its card names."""
    facts = info(name_or_path)
    return _measure(load(name_or_path), facts["data"], data_dir, progress)


def _measure(flow, data, data_dir, progress=None):
    images, labels = _arrays(flow, data, data["test"], data_dir)
    if isinstance(flow, FlowVAE):
        if data.get("binarize"):
            images = binarize(images)
        found = evaluate_vae(
            flow, images, num_importance_samples=data["importance_samples"], progress=progress
        )
    else:
        found = evaluate(flow, images, labels, progress=progress)
    return {"split": data["test"], **found}


def _arrays(flow, data, split, data_dir):
    """Images and, for a class-conditional flow, their labels, or None."""
    labels = None if flow.context_shape is None else data.get("labels", True)
    return load_arrays(data["name"], split, size=data.get("size", 64), labels=labels, data_dir=data_dir)


def train(name_or_path, folder, *, data_dir=None, epochs=None, learning_rate=None, verbose=1):
    """Trains a model of the zoo by the recipe in its `model.json`, and publishes it to `folder`.

    The recipe fixes data, epochs, batch size, optimizer, precision and seed. Training that was
    interrupted goes on from its last epoch when called again with the same folder.

    Arguments:
        epochs, learning_rate: instead of the recipe's.

    Returns: the new facts, written to `folder/model.json` with weights, card and samples.
    Raises: RuntimeError when the loss is no longer finite; the last good epoch is kept.
    """
    facts = info(name_or_path)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    recipe, data = facts["recipe"], facts["data"]
    recipe["epochs"] = epochs or recipe["epochs"]
    if learning_rate is not None:
        recipe["optimizer"]["config"]["learning_rate"] = learning_rate
    keras.utils.set_random_seed(recipe["seed"])
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe["dtype_policy"])
    try:
        flow = build(facts)
    finally:
        keras.config.set_dtype_policy(policy)

    images, labels = _arrays(flow, data, data["train"], data_dir)
    held_out = recipe["validation_examples"]
    training, validation = (
        tuple(part[chosen] for part in (images, labels) if part is not None)
        for chosen in (slice(-held_out), slice(-held_out, None))
    )
    if data.get("binarize"):
        validation = (binarize(validation[0]), *validation[1:])
    steps = -(-len(training[0]) // recipe["batch_size"])
    flow.compile(optimizer=_optimizer(recipe, recipe["epochs"] * steps), jit_compile=recipe["jit_compile"])
    work = folder / ".training"
    work.mkdir(exist_ok=True)
    done = _read_log(folder) if (work / "backup").exists() else []
    batches = ImageBatches(
        *training,
        batch_size=recipe["batch_size"],
        flip=data.get("flip", False),
        binarize=data.get("binarize", False),
        seed=recipe["seed"],
        epoch=len(done),
    )
    flow.fit(
        batches,
        epochs=recipe["epochs"],
        validation_data=ImageBatches(*validation, batch_size=recipe["batch_size"], shuffle=False),
        verbose=verbose,
        callbacks=_callbacks(
            folder, work, done, averaged=recipe["optimizer"]["config"].get("use_ema", False)
        ),
    )
    flow.load_weights(work / "best.weights.h5")
    rows = _read_log(folder)
    seconds = sum(row["seconds"] for row in rows)
    facts["training"] = {
        "examples": len(training[0]),
        "best_epoch": 1 + min(range(len(rows)), key=lambda i: rows[i]["val_loss"]),
        "seconds": round(seconds),
        "examples_per_second": round(len(training[0]) * len(rows) / seconds, 1),
        "hardware": hardware(),
        "backend": backend.name,
        "keras": keras.__version__,
    }
    stored = store(flow, folder, facts)
    facts["metrics"] = _measure(stored, data, data_dir)
    complete(stored, folder, facts)
    shutil.rmtree(work)
    return facts


def _callbacks(folder, work, done, *, averaged):
    """What watches a training; `done` are the rows of the log that it goes on from."""
    swap = keras.callbacks.SwapEMAWeights() if averaged else None  # validates with the averages
    best = SaveBest(work / "best.weights.h5", swap)
    if done:
        best.best = min(row["val_loss"] for row in done)
    return [
        StopWhenDiverged(work),
        EpochSeconds(),
        *([swap] if averaged else []),
        keras.callbacks.CSVLogger(folder / "training.csv", append=bool(done)),
        best,
        # The backup comes last, so that what is resumed from is what was logged.
        keras.callbacks.BackupAndRestore(work / "backup", delete_checkpoint=False),
    ]


class SaveBest(keras.callbacks.ModelCheckpoint):
    """Saves the weights of the best validation loss, the averaged ones where an EMA is kept."""

    def __init__(self, path, swap=None):
        super().__init__(path, monitor="val_loss", save_best_only=True, save_weights_only=True)
        self.swap = swap

    def on_epoch_end(self, epoch, logs=None):
        if self.swap is not None:
            self.swap.on_test_begin()
        super().on_epoch_end(epoch, logs)
        if self.swap is not None:
            self.swap.on_test_end()


class StopWhenDiverged(keras.callbacks.Callback):
    """Ends a training whose loss is no longer finite, before anything good is overwritten."""

    def __init__(self, work):
        super().__init__()
        self.work = work

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = float(logs["loss"])
        if math.isfinite(loss):
            return
        kept = (
            f"The state after epoch {self.epoch} is kept in {self.work}, with the best weights so far, and "
            "the same command goes on from there"
            if self.epoch
            else "It was the first epoch, so there is nothing to go on from; start again"
        )
        raise RuntimeError(
            f"Training diverged: the loss became {loss} in epoch {self.epoch + 1}, batch {batch + 1}. "
            f"{kept}. A lower learning rate (--learning-rate), a longer warm-up or a smaller clipnorm in "
            "the recipe usually helps."
        )


class EpochSeconds(keras.callbacks.Callback):
    """Adds to the logs how long each epoch took, validation included."""

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = round(time.monotonic() - self.started, 3)


def hardware():
    """One line on what this machine computes with."""
    cores = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    if backend.name == "jax":
        import jax

        devices = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    else:
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        devices = [tf.config.experimental.get_device_details(gpu)["device_name"] for gpu in found]
    return ", ".join(devices) or cores


def _optimizer(recipe, steps):
    """The recipe's Keras optimizer, whose learning rate warms up, then falls to 0 as a cosine."""
    config = dict(recipe["optimizer"]["config"])
    peak = config.pop("learning_rate")
    config["learning_rate"] = keras.optimizers.schedules.CosineDecay(
        0.0, steps - recipe["warmup_steps"], warmup_target=peak, warmup_steps=recipe["warmup_steps"]
    )
    return getattr(keras.optimizers, recipe["optimizer"]["class_name"])(**config)


def _read_log(folder):
    with open(folder / "training.csv", newline="") as file:
        rows = {row["epoch"]: row for row in csv.DictReader(file)}  # the last of an epoch counts
    return [{key: float(value) for key, value in row.items()} for row in rows.values()]
