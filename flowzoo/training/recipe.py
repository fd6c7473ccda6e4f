"""Training the zoo's models by their recipes."""

import pathlib
import shutil
import time
from typing import Any

import keras

from flowzoo import backend
from flowzoo.datasets import Batches
from flowzoo.registry.architecture import build
from flowzoo.registry.index import info
from flowzoo.registry.publish import complete, store
from flowzoo.training.arithmetic import training_flops
from flowzoo.training.callbacks import EpochSeconds, StopWhenDiverged
from flowzoo.training.checkpoints import Checkpoints, loss_of
from flowzoo.training.data import labels_for, reader, training_and_validation, training_batches
from flowzoo.training.devices import find_devices
from flowzoo.training.directions import directions_of_attributes
from flowzoo.training.facts import check_data, check_recipe
from flowzoo.training.hardware import hardware
from flowzoo.training.measuring import measure_on_test_split
from flowzoo.training.optimizer import recipe_optimizer
from flowzoo.training.statistics import sample_statistics
from flowzoo.types import PathLike


def train(
    name_or_path: PathLike,
    folder: PathLike,
    *,
    data_dir: str | None = None,
    data_file: PathLike | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    dtype_policy: str | None = None,
    devices: int | None = None,
    verbose: str | int = 1,
) -> dict[str, Any] | None:
    """Trains a model of the zoo by the recipe in its `model.json`, and publishes it to `folder`.

    The recipe fixes data, epochs, batch size, optimizer, precision and seed; on a GPU the precision
    is mixed_bfloat16. XLA compiles the training step on JAX, on a GPU, and where the recipe asks for
    it. Training that was interrupted, killed even, goes on from the end of its last epoch when called
    again with the same folder.

    Arguments:
        data_dir: TFDS's data folder.
        data_file: path of a file that `flowzoo data` wrote, to read instead of TFDS; then neither TFDS nor,
            on JAX, TensorFlow is needed. Examples, their order, and so all figures are the same.
        epochs, learning_rate, dtype_policy: instead of the recipe's.
        devices: number of this machine's devices that share each batch of the recipe, or None for
            one. With TF_CONFIG (on TensorFlow) or KERAS_DISTRIBUTION_JOB_ADDRESSES and its kin (on
            JAX) in the environment it is that of each machine; these share `folder`, too. Examples
            that the devices cannot share evenly, fewer than these are, are left out.

    Returns: the new facts, written to `folder/model.json` with weights, card and samples. Of
        several machines the first does so; the others wait for it and give None.
    Raises: RuntimeError when the loss is no longer finite, the last good epoch is kept; ValueError
        for more devices than there are, or that do not divide the batch; RegistryError, a ValueError, for
        a `model.json` without a recipe or data.
    """
    facts = info(name_or_path)
    check_recipe(facts)
    check_data(facts, "train", "test")
    read = reader(facts, data_dir, data_file)
    devices = find_devices(devices)
    _change(facts["recipe"], devices, epochs, learning_rate, dtype_policy)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(facts["recipe"]["seed"])
    with devices.scope():
        model = build(facts, facts["recipe"]["dtype_policy"])
    training, validation = training_and_validation(model, facts, devices, read)
    _compile(model, facts["recipe"], len(training[0]), devices, verbose)
    checkpoints = _fit(model, facts, folder, training, validation, devices, verbose)
    if devices.machine > 0:
        while checkpoints.folder.exists():  # a machine that leaves early would end the others
            time.sleep(1)
        return None
    if devices.count > 1:
        model = build(facts, facts["recipe"]["dtype_policy"])  # on one device
    model.load_weights(checkpoints.best_weights)
    facts["training"] = _told(checkpoints.rows, len(training[0]), devices)
    if (flops := training_flops(facts, len(training[0]))) is not None:
        facts["training"]["flops"] = flops
    stored = store(model, folder, facts)
    test = read("test", labels_for(stored, facts["data"]))
    facts["metrics"] = measure_on_test_split(stored, facts["data"], test)
    if (statistics := sample_statistics(stored, facts, test)) is not None:
        facts["statistics"] = statistics
    if "attributes" in facts["data"]:
        facts["directions"] = directions_of_attributes(stored, facts["data"], training, read)
    complete(stored, folder, facts)
    shutil.rmtree(checkpoints.folder)
    return facts


def _change(recipe, devices, epochs, learning_rate, dtype_policy):
    """Puts what is asked for in the place of the recipe's own."""
    if recipe["batch_size"] % devices.count:
        raise ValueError(
            f"A batch of the recipe has {recipe['batch_size']} examples, which {devices.count} devices "
            "cannot share evenly. Give a number of devices that divides it."
        )
    recipe["epochs"] = epochs or recipe["epochs"]
    if learning_rate is not None:
        recipe["optimizer"]["config"]["learning_rate"] = learning_rate
    if dtype_policy is None and backend.has_gpu():
        dtype_policy = "mixed_bfloat16"
    recipe["dtype_policy"] = dtype_policy or recipe["dtype_policy"]


def _compile(model, recipe, examples, devices, verbose):
    steps = -(-examples // recipe["batch_size"])
    xla = recipe["jit_compile"] or backend.prefers_xla(convolutions=True)
    if backend.name == "tensorflow" and devices.count > 1:
        xla = False  # it compiles no step whose variables lie on several devices
    with devices.scope():
        model.compile(optimizer=recipe_optimizer(recipe, recipe["epochs"] * steps), jit_compile=xla)
    if verbose and devices.machine == 0:
        print(
            f"{recipe['epochs']} times {examples:,} examples in {steps:,} batches, "
            f"on {hardware(devices)}, Keras's {backend.name} backend, {recipe['dtype_policy']}, "
            f"{'with' if xla else 'without'} XLA."
        )


def _fit(model, facts, folder, training, validation, devices, verbose):
    """Trains to the end, from where the folder's checkpoints are; returns these."""
    recipe, first = facts["recipe"], devices.machine == 0
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
        model.initialize(*(part[: recipe["initialization_examples"]] for part in training))
    batches = training_batches(training, facts, epoch=done)
    if validation is not None:
        validation = devices.share(Batches(*validation, batch_size=recipe["batch_size"], shuffle=False))
    with devices.fit_scope():
        model.fit(
            devices.share(batches),
            epochs=recipe["epochs"],
            initial_epoch=done,
            validation_data=validation,
            verbose=verbose if first else 0,
            shuffle=False,  # the batches have an order of their own, which does not depend on interruptions
            callbacks=[
                StopWhenDiverged(checkpoints.folder),
                EpochSeconds(),
                *([swap] if averaged else []),
                checkpoints,
            ],
        )
    return checkpoints


def _told(rows, examples, devices):
    """What the card says of a training, from the rows of its log."""
    seconds = sum(row["seconds"] for row in rows)
    return {
        "examples": examples,
        "best_epoch": 1 + min(range(len(rows)), key=lambda i: loss_of(rows[i])),
        "seconds": round(seconds),
        "examples_per_second": round(examples * len(rows) / seconds, 1),
        "hardware": hardware(devices),
        "backend": backend.name,
        "keras": keras.__version__,
    }
