"""Complete model folders, which `flowzoo.load` takes and any static file server can serve."""

import json
import math
import pathlib
import shutil
from typing import Any

import keras
import numpy as np
from keras import ops

from flowzoo import models, plots
from flowzoo.registry.architecture import build, check_config
from flowzoo.registry.attributes import decoded
from flowzoo.registry.card import card, how_measured
from flowzoo.registry.folder import (
    FORMAT,
    MODEL_FILE,
    check_kinds,
    is_name,
    read_model_file,
    write_atomically,
    write_model_file,
    write_text,
)
from flowzoo.registry.metadata import RESULTS_FOLDER, evaluation_results
from flowzoo.registry.weights import load, read_weights, save_weights
from flowzoo.types import PathLike

STRENGTH = 4.0  # of the attribute directions, at the ends of a row of attributes.png
# What new weights make untrue.
OF_WEIGHTS = (
    "weights",
    "version",
    "parameters",
    "training",
    "metrics",
    "statistics",
    "speed",
    "fingerprint",
    "directions",
)


def save_pretrained(
    flow: keras.Model, folder: PathLike, *, dtype: str = "float16", format: str = "h5", **facts: Any
) -> dict[str, Any]:
    """Writes a flow of the catalogue as a folder of the zoo: config, weights, card, samples.

    Arguments:
        flow: a `flowzoo.NICE`, `RealNVP`, `Glow`, `MAF`, `IAF`, `IAFVAE` or `FVAE`.
        folder: is made if missing; its name is the model's, unless `name` is given.
        dtype: of the stored weights, "float16" or "float32".
        format: "h5" or "safetensors".
        facts: further entries of `model.json`, such as name, description, licence and limits.
            What a `model.json` in the folder says already is kept, but for what was measured on
            other weights. Its `version`, 1 at first, is raised by one where the weights are others.

    Returns: the facts written.
    Raises: ValueError for a flow that is not of the catalogue (`flow.save` stores any), and for facts
        that a `model.json` cannot hold; nothing is written then.

    Example:
        >>> import tempfile
        >>> flow = flowzoo.NICE(event_shape=2, hidden_units=(8,))
        >>> with tempfile.TemporaryDirectory() as work:
        ...     facts = flowzoo.save_pretrained(flow, work + "/moons", description="Two moons.")
        ...     loaded = flowzoo.load(work + "/moons")
        >>> facts["class"], loaded.event_shape
        ('NICE', (2,))
    """
    if type(flow) not in models.classes().values():
        raise ValueError(
            f"save_pretrained writes flows of flowzoo's own catalogue, {', '.join(models.__all__)}; got "
            f"{type(flow).__module__}.{type(flow).__qualname__}. flow.save('flow.keras') stores any flow."
        )
    folder, facts = pathlib.Path(folder), plain(facts)
    known = read_model_file(folder) if (folder / MODEL_FILE).is_file() else {}
    known = {key: value for key, value in known.items() if key not in OF_WEIGHTS}
    config = {
        key: value
        for key, value in flow.get_config().items()
        if key not in ("name", "trainable", "dtype", "frozen")
    }
    name = facts.get("name") or known.get("name") or folder.resolve().name
    facts = {
        "name": name,
        "description": "",
        **known,
        **facts,
        "class": type(flow).__name__,
        "config": {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()},
    }
    check_kinds(facts, "the facts")
    if not is_name(name):
        raise ValueError(f"A model's name has letters, digits, '.', '_' and '-'; got {name!r}. Give name=...")
    check_config(facts)
    folder.mkdir(parents=True, exist_ok=True)
    complete(store(flow, folder, facts, dtype, format), folder, facts)
    return facts


def plain(facts):
    """Facts as JSON has them, with the numbers of NumPy as Python's.

    Raises: ValueError for what JSON lacks, such as NaN.

    Example:
        >>> plain({"metrics": {"bits_per_dim": np.float32(3.5)}})
        {'metrics': {'bits_per_dim': 3.5}}
    """
    found = {}
    for key, value in facts.items():
        try:
            found[key] = json.loads(json.dumps(value, default=lambda part: part.tolist(), allow_nan=False))
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{key}={value!r} cannot be written to a {MODEL_FILE}: {error}") from error
    return found


def store(flow, folder, facts, dtype="float16", format="h5"):
    """Writes the weights alone; returns a twin of `flow` with weights as rounded as users get them.

    `facts` then tell of the file, with a version above that of the weights it takes the place of: those
    that `facts` told of, and those in the folder.
    """
    folder = pathlib.Path(folder)
    before = [facts, read_model_file(folder)] if (folder / MODEL_FILE).is_file() else [facts]
    before = [(known.get("version", 1), known["weights"]) for known in before if "weights" in known]
    twin = build(facts)  # not compiled, so that the file holds no optimizer state
    twin.set_weights(flow.get_weights())
    facts["format"] = FORMAT
    facts["weights"] = save_weights(twin, folder, dtype, format)
    facts["version"] = max(
        (version + (weights["sha256"] != facts["weights"]["sha256"]) for version, weights in before),
        default=facts.get("version", 1),
    )
    read_weights(twin, folder / facts["weights"]["file"])
    return twin


def publish(folder):
    """Makes a model's folder complete again after a change of its `model.json`; returns the facts.

    Fingerprint, samples and card are made anew from the weights in the folder.
    """
    folder = pathlib.Path(folder)
    flow = load(folder)
    facts = read_model_file(folder)
    complete(flow, folder, facts)
    return facts


def complete(flow, folder, facts):
    """Adds parameter count, fingerprint and samples, and writes `model.json` and card."""
    folder = pathlib.Path(folder)
    facts["parameters"] = sum(math.prod(weight.shape) for weight in flow.trainable_weights)
    facts["fingerprint"] = flow.fingerprint()
    draw_samples(flow, folder, facts)
    if "directions" in facts:
        draw_latent_space(flow, folder, facts)
    write_model_file(folder, facts)
    write_card(folder, facts)


def write_card(folder, facts):
    """Writes what is made of a `model.json` and a `training.csv` alone: card, curve, results for hubs."""
    folder = pathlib.Path(folder)
    log, curve, results = folder / "training.csv", folder / "training.png", folder / RESULTS_FOLDER
    curve.unlink(missing_ok=True)
    shutil.rmtree(results, ignore_errors=True)
    if "best_epoch" in facts.get("training", {}) and log.is_file():
        metric = "bits_per_dim" if "bits_per_dim" in facts.get("metrics", {}) else "loss"
        write_atomically(curve, lambda path: plots.training_curve(log, metric=metric, path=path))
    text = evaluation_results(facts, how_measured(facts)) if facts.get("metrics") else None
    if text is not None:
        results.mkdir()
        write_text(results / f"{facts['data']['name']}.yaml", text)
    write_text(folder / "README.md", card(facts))


def draw_samples(flow, folder, facts):
    """Writes samples.png, of images or of points on the plane, and tells `facts` how they were drawn."""
    classes = flow.classes
    if flow.context_shape is not None and classes is None:
        return  # what a context means is not known here
    temperature = facts.get("samples", {}).get("temperature", 1.0)
    if len(flow.event_shape) == 3 and flow.event_shape[-1] in (1, 3):
        count, columns = (6 * classes, classes) if classes else (64, 16)
    elif flow.event_shape == (2,):
        count, columns = 1000, None
    else:
        return
    labels = [i % classes for i in range(count)] if classes else None
    drawn = flow.sample(count, labels, temperature=temperature, seed=0)
    write_atomically(folder / "samples.png", lambda path: plots.samples(flow, drawn, path, columns=columns))
    facts["samples"] = {"count": count, "temperature": temperature}


def draw_latent_space(flow, folder, facts):
    """Writes interpolations.png and attributes.png, of samples, for a model with attribute directions."""
    if flow.context_shape is not None and flow.classes is None:
        return
    temperature = facts.get("samples", {}).get("temperature", 1.0)

    def drawn(count, seed):
        labels = [i % flow.classes for i in range(count)] if flow.classes else None
        images = flow.sample(count, labels, temperature=temperature, seed=seed)
        return images, labels or [None] * count

    (a, labels), (b, _) = drawn(6, seed=1), drawn(6, seed=2)
    strips = [
        flow.interpolate(*ends, steps=10, context=label, seed=0)
        for *ends, label in zip(a, b, labels, strict=True)
    ]
    _write_grid(folder / "interpolations.png", strips, columns=10)
    strengths = np.linspace(-STRENGTH, STRENGTH, 7)
    rows = [
        flow.manipulate(face[None], direction, strengths, context=label, seed=0)[0]
        for direction in decoded(facts).values()
        for face, label in zip(*drawn(4, seed=3), strict=True)
    ]
    _write_grid(folder / "attributes.png", rows, columns=len(strengths))


def _write_grid(path, rows, columns):
    images = ops.concatenate(rows)
    write_atomically(path, lambda path: plots.image_grid(images, path=path, columns=columns))
