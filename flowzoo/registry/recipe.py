"""Training and measuring the zoo's models by their recipes."""

import math
import os
import pathlib
import platform
import shutil
import time

import keras
from keras import ops

from flowzoo import backend
from flowzoo.datasets import TOY_DENSITIES, Batches, ImageBatches, binarize, load_arrays
from flowzoo.metrics import bits_per_dim, log_likelihoods
from flowzoo.registry.architecture import build
from flowzoo.registry.attributes import encoded
from flowzoo.registry.checkpoints import Checkpoints
from flowzoo.registry.devices import find_devices
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
    means = _means(
        lambda start, *part: log_likelihoods(flow, *part, seed=seed + start),
        images,
        context,
        batch_size,
        progress,
    )
    return {
        "examples": len(images),
        "bits_per_dim": bits_per_dim(means["pixels"], flow.dimensions),
        **{f"log_likelihood_{space}": mean for space, mean in means.items()},
    }


def evaluate_density(flow, x, context=None, *, batch_size=1000, progress=None):
    """Mean log-likelihood, in nats, of examples that are not images.

    Returns: dict with "examples" and "log_likelihood".
    """
    means = _means(
        lambda start, *part: {"log_likelihood": flow.log_prob(*part)}, x, context, batch_size, progress
    )
    return {"examples": len(x), **means}


def _means(measure, x, context, batch_size, progress):
    """The means of the tensors (batch,) by name that `measure(start, x, context)` gives of each batch."""
    totals = {}
    for start in range(0, len(x), batch_size):
        part = slice(start, start + batch_size)
        found = measure(start, x[part], None if context is None else context[part])
        for name, values in found.items():
            totals[name] = totals.get(name, 0.0) + float(ops.sum(values))
        if progress is not None:
            progress(min(start + batch_size, len(x)))
    return {name: total / len(x) for name, total in totals.items()}


def evaluate_pretrained(name_or_path, *, data_dir=None, progress=None):
    """Measures a pretrained model again on the split that its card names."""
    facts = info(name_or_path)
    return _measure(load(name_or_path), facts["data"], data_dir, progress)


def _measure(flow, data, data_dir, progress=None):
    x, context = _arrays(flow, data, data["test"], data_dir)
    if isinstance(flow, FlowVAE):
        if data.get("binarize"):
            x = binarize(x)
        found = evaluate_vae(flow, x, num_importance_samples=data["importance_samples"], progress=progress)
    elif flow.is_image_flow:
        found = evaluate(flow, x, context, progress=progress)
    else:
        found = evaluate_density(flow, x, context, progress=progress)
    if data["name"] in TOY_DENSITIES:
        found["entropy"] = TOY_DENSITIES[data["name"]]().entropy()
    return {"split": data["test"], **found}


def _arrays(flow, data, split, data_dir):
    """Examples and, for a class-conditional flow, their labels, or None."""
    if data["name"] in TOY_DENSITIES:
        seed = ("train", "test").index(split)
        return TOY_DENSITIES[data["name"]]().sample(data["points"][split], seed=seed), None
    labels = None if flow.context_shape is None else data.get("labels", True)
    return load_arrays(data["name"], split, size=data.get("size", 64), labels=labels, data_dir=data_dir)


def train(
    name_or_path,
    folder,
    *,
    data_dir=None,
    epochs=None,
    learning_rate=None,
    dtype_policy=None,
    devices=None,
    verbose=1,
):
    """Trains a model of the zoo by the recipe in its `model.json`, and publishes it to `folder`.

    The recipe fixes data, epochs, batch size, optimizer, precision and seed; on a GPU the precision
    is mixed_bfloat16. XLA compiles the training step on JAX, on a GPU, and where the recipe asks for
    it. Training that was interrupted, killed even, goes on from the end of its last epoch when called
    again with the same folder.

    Arguments:
        epochs, learning_rate, dtype_policy: instead of the recipe's.
        devices: number of this machine's devices that share each batch of the recipe, or None for
            one. With TF_CONFIG (on TensorFlow) or KERAS_DISTRIBUTION_JOB_ADDRESSES and its kin (on
            JAX) in the environment it is that of each machine; these share `folder`, too. Examples
            that the devices cannot share evenly, fewer than these are, are left out.

    Returns: the new facts, written to `folder/model.json` with weights, card and samples. Of
        several machines the first does so; the others wait for it and give None.
    Raises: RuntimeError when the loss is no longer finite, the last good epoch is kept; ValueError
        for more devices than there are, or that do not divide the batch.
    """
    facts = info(name_or_path)
    devices = find_devices(devices)
    recipe, data = facts["recipe"], facts["data"]
    if recipe["batch_size"] % devices.count:
        raise ValueError(
            f"A batch of the recipe has {recipe['batch_size']} examples, which {devices.count} devices "
            "cannot share evenly. Give a number of devices that divides it."
        )
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    recipe["epochs"] = epochs or recipe["epochs"]
    if learning_rate is not None:
        recipe["optimizer"]["config"]["learning_rate"] = learning_rate
    if dtype_policy is None and backend.has_gpu():
        dtype_policy = "mixed_bfloat16"
    recipe["dtype_policy"] = dtype_policy or recipe["dtype_policy"]
    keras.utils.set_random_seed(recipe["seed"])
    with devices.scope():
        flow = _build(facts)
    x, context = _arrays(flow, data, data["train"], data_dir)
    held_out = recipe["validation_examples"]
    training, validation = (
        tuple(_even(part[chosen], devices.count) for part in (x, context) if part is not None)
        for chosen in (slice(-held_out), slice(-held_out, None))
    )
    if data.get("binarize"):
        validation = (binarize(validation[0]), *validation[1:])
    steps = -(-len(training[0]) // recipe["batch_size"])
    xla = recipe["jit_compile"] or backend.prefers_xla()
    if backend.name == "tensorflow" and devices.count > 1:
        xla = False  # it compiles no step whose variables lie on several devices
    with devices.scope():
        flow.compile(optimizer=_optimizer(recipe, recipe["epochs"] * steps), jit_compile=xla)
    first = devices.machine == 0
    verbose = verbose if first else 0
    if verbose:
        print(
            f"{recipe['epochs']} times {len(training[0]):,} examples in {steps:,} batches, "
            f"on {hardware(devices)}, Keras's {backend.name} backend, {recipe['dtype_policy']}, "
            f"{'with' if xla else 'without'} XLA."
        )
    averaged = recipe["optimizer"]["config"].get("use_ema", False)
    swap = keras.callbacks.SwapEMAWeights() if averaged else None  # validates with the averages
    checkpoints = Checkpoints(
        folder / ".training",
        recipe={key: facts[key] for key in ("class", "config", "data", "recipe")},
        log=folder / "training.csv",
        swap=swap,
        writes=first,
    )
    done = len(checkpoints.rows)
    done_by_machine = devices.gather(done)
    if len(set(done_by_machine)) > 1:
        raise ValueError(
            f"The machines find {done_by_machine} epochs done in {folder}. Give a folder that all of "
            "them share."
        )
    if not done and "initialization_examples" in recipe:  # more than a small first batch
        flow.initialize(*(part[: recipe["initialization_examples"]] for part in training))
    batches = _batches(training, data, batch_size=recipe["batch_size"], seed=recipe["seed"], epoch=done)
    validation = Batches(*validation, batch_size=recipe["batch_size"], shuffle=False)
    with devices.fit_scope():
        flow.fit(
            devices.share(batches),
            epochs=recipe["epochs"],
            initial_epoch=done,
            validation_data=devices.share(validation),
            verbose=verbose,
            shuffle=False,  # the batches have an order of their own, which does not depend on interruptions
            callbacks=[
                StopWhenDiverged(checkpoints.folder),
                EpochSeconds(),
                *([swap] if averaged else []),
                checkpoints,
            ],
        )
    if not first:
        while checkpoints.folder.exists():  # a machine that leaves early would end the others
            time.sleep(1)
        return None
    if devices.count > 1:
        flow = _build(facts)  # on one device
    flow.load_weights(checkpoints.best_weights)
    rows = checkpoints.rows
    seconds = sum(row["seconds"] for row in rows)
    facts["training"] = {
        "examples": len(training[0]),
        "best_epoch": 1 + min(range(len(rows)), key=lambda i: rows[i]["val_loss"]),
        "seconds": round(seconds),
        "examples_per_second": round(len(training[0]) * len(rows) / seconds, 1),
        "hardware": hardware(devices),
        "backend": backend.name,
        "keras": keras.__version__,
    }
    stored = store(flow, folder, facts)
    facts["metrics"] = _measure(stored, data, data_dir)
    if "attributes" in data:
        facts["directions"] = _directions(stored, data, training[0], data_dir)
    complete(stored, folder, facts)
    shutil.rmtree(checkpoints.folder)
    return facts


def _build(facts):
    """The model untrained, in the precision of its recipe."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(facts["recipe"]["dtype_policy"])
    try:
        return build(facts)
    finally:
        keras.config.set_dtype_policy(policy)


def _even(examples, devices):
    """As many examples as all devices can share evenly."""
    return examples[: len(examples) // devices * devices]


def _directions(flow, data, images, data_dir, most=1000):
    """From the mean latent of the first training images to that of the first with an attribute, as text."""
    found, mean = {}, flow.mean_latent(images[:most])
    for name in data["attributes"]:
        labelled, labels = load_arrays(
            data["name"], data["train"], size=data.get("size", 64), labels=name, data_dir=data_dir
        )
        found[name] = encoded(flow.mean_latent(labelled[labels == 1][:most]) - mean)
    return found


def _batches(arrays, data, **kwargs):
    if data["name"] in TOY_DENSITIES:
        return Batches(*arrays, **kwargs)
    return ImageBatches(*arrays, flip=data.get("flip", False), binarize=data.get("binarize", False), **kwargs)


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


def hardware(devices=None):
    """One line on what this machine, or several `Devices`, compute with."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = f"{count} CPU core{'s' * (count > 1)} ({platform.machine()})"
    if backend.name == "jax":
        import jax

        found = [device.device_kind for device in jax.local_devices() if device.platform != "cpu"]
    else:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        found = [tf.config.experimental.get_device_details(gpu)["device_name"] for gpu in gpus]
    if devices is None or devices.count == 1:
        return ", ".join(found) or cores
    each = devices.count // devices.machines
    line = f"{each} of {', '.join(found)}" if found else f"{each} CPU device{'s' * (each > 1)} of {cores}"
    return f"{devices.machines} machines with {line}" if devices.machines > 1 else line


def _optimizer(recipe, steps):
    """The recipe's Keras optimizer, whose learning rate warms up, then falls to 0 as a cosine."""
    config = dict(recipe["optimizer"]["config"])
    peak = config.pop("learning_rate")
    warmup_steps = min(recipe["warmup_steps"], steps // 2)
    config["learning_rate"] = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup_steps, warmup_target=peak, warmup_steps=warmup_steps
    )
    return getattr(keras.optimizers, recipe["optimizer"]["class_name"])(**config)
