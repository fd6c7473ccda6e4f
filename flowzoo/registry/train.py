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

from flowzoo import backend, plots
from flowzoo.datasets import load_arrays
from flowzoo.metrics import bits_per_dim, log_likelihoods
from flowzoo.registry.card import write_card
from flowzoo.registry.folder import find, read_model_file, write_model_file
from flowzoo.registry.weights import build, load, save_weights


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
    facts = read_model_file(find(name_or_path))
    return _measure(load(name_or_path), facts["data"], data_dir, progress)


def _measure(flow, data, data_dir, progress=None):
    images, _ = load_arrays(data["name"], data["test"], data_dir=data_dir)
    return {"split": data["test"], **evaluate(flow, images, progress=progress)}


def train(name_or_path, folder, *, data_dir=None, epochs=None, verbose=1):
    """Trains a model of the zoo by the recipe in its `model.json`, and publishes it to `folder`.

    The recipe fixes data, epochs, batch size, optimizer, precision and seed. Training that was
    interrupted goes on from its last epoch when called again with the same folder.

    Returns: the new facts, written to `folder/model.json` with weights, card and samples.
    """
    facts = read_model_file(find(name_or_path))
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    recipe, data = facts["recipe"], facts["data"]
    epochs = epochs or recipe["epochs"]
    keras.utils.set_random_seed(recipe["seed"])
    images, _ = load_arrays(data["name"], data["train"], data_dir=data_dir)
    held_out = recipe["validation_examples"]
    training, validation = images[:-held_out], images[-held_out:]

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe["dtype_policy"])
    try:
        flow = build(facts)
    finally:
        keras.config.set_dtype_policy(policy)
    optimizer = _optimizer(recipe, epochs * -(-len(training) // recipe["batch_size"]))
    flow.compile(optimizer=optimizer, jit_compile=recipe["jit_compile"])
    work = folder / ".training"
    best = keras.callbacks.ModelCheckpoint(
        work / "best.weights.h5", monitor="val_loss", save_best_only=True, save_weights_only=True
    )
    work.mkdir(exist_ok=True)
    resumed = (work / "backup").exists()
    log = keras.callbacks.CSVLogger(folder / "training.csv", append=resumed)
    if resumed:
        best.best = min(row["val_loss"] for row in _read_log(folder))
    # The backup comes last, so that what is resumed from is what was logged.
    backup = keras.callbacks.BackupAndRestore(work / "backup", delete_checkpoint=False)
    flow.fit(
        training,
        batch_size=recipe["batch_size"],
        epochs=epochs,
        validation_data=(validation,),
        verbose=verbose,
        callbacks=[keras.callbacks.TerminateOnNaN(), EpochSeconds(), log, best, backup],
    )
    flow.load_weights(work / "best.weights.h5")
    rows = _read_log(folder)
    seconds = sum(row["seconds"] for row in rows)
    facts["recipe"]["epochs"] = epochs
    facts["parameters"] = sum(math.prod(weight.shape) for weight in flow.trainable_weights)
    facts["training"] = {
        "examples": len(training),
        "best_epoch": 1 + min(range(len(rows)), key=lambda i: rows[i]["val_loss"]),
        "seconds": round(seconds),
        "examples_per_second": round(len(training) * len(rows) / seconds, 1),
        "hardware": hardware(),
        "backend": backend.name,
        "keras": keras.__version__,
    }
    publish(flow, folder, facts, data_dir=data_dir)
    shutil.rmtree(work)
    return facts


def publish(flow, folder, facts, *, data_dir=None):
    """Writes weights, samples, measured metrics and card of a trained flow into `folder`."""
    stored = build(facts)  # an uncompiled twin, whose file holds no optimizer state
    stored.set_weights(flow.get_weights())
    facts["weights"] = save_weights(stored, folder)
    stored.load_weights(folder / facts["weights"]["file"])  # as rounded as users get them
    facts["metrics"] = _measure(stored, facts["data"], data_dir)
    plots.image_grid(stored.sample(64, seed=0), path=folder / "samples.png", columns=16)
    write_model_file(folder, facts)
    write_card(folder, facts)


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
