"""Weights files: writing them in 16 bits, checking and loading them."""

import pathlib

import h5py
import numpy as np

from flowzoo import models
from flowzoo.registry.folder import find, read_model_file, sha256, write_atomically

WEIGHTS_FILE = "model.weights.h5"


def build(facts):
    """The bare architecture that a `model.json` describes, with new weights."""
    if facts["class"] not in models.__all__:
        raise ValueError(
            f"Model {facts['name']!r} is of class {facts['class']!r}, which this flowzoo does not have; "
            f"it has {', '.join(models.__all__)}."
        )
    return getattr(models, facts["class"])(**facts["config"], name=facts["name"].replace("-", "_"))


def load(name_or_path, *, weights=True):
    """A flow of the zoo by name, pretrained.

    Arguments:
        name_or_path: one of `flowzoo.list_models()`, or a folder with `model.json` and weights.
        weights: False for the bare architecture with new weights.

    Returns: a `flowzoo.Flow` of the class that the model card names.
    Raises: ValueError for an unknown name, a broken card, or weights that are missing, damaged
        or of another architecture.

    Example:
        >>> flow = flowzoo.load("nice-mnist")
        >>> flow.sample(2, seed=0).shape == (2, 28, 28, 1)
        True
    """
    folder = find(name_or_path)
    facts = read_model_file(folder)
    flow = build(facts)
    if not weights:
        return flow
    if "weights" not in facts:
        raise ValueError(
            f"{facts['name']} has no trained weights yet. Train it with `flowzoo train {facts['name']}`, "
            "or load its architecture with weights=False."
        )
    path = _checked_file(folder, facts["weights"])
    try:
        flow.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"The weights in {path} do not fit {facts['class']}: {error}") from error
    return flow


def _checked_file(folder, weights):
    path = pathlib.Path(folder) / WEIGHTS_FILE
    if not path.is_file():
        raise ValueError(f"The weights file {path} is missing.")
    found = sha256(path)
    if found != weights["sha256"]:
        raise ValueError(
            f"The weights file {path} is damaged: its sha256 is {found}, but {weights['sha256']} was "
            "expected. Restore the file from where you had it."
        )
    return path


def save_weights(flow, folder, dtype="float16"):
    """Writes `flow`'s weights, floats as `dtype`, and returns the facts that `model.json` keeps."""
    path = pathlib.Path(folder) / WEIGHTS_FILE

    def write(temporary):
        whole = temporary.with_name(temporary.name.replace(".weights.h5", ".whole.weights.h5"))
        try:
            flow.save_weights(whole)
            with h5py.File(whole) as source, h5py.File(temporary, "w") as target:
                _copy(source, target, dtype)
        finally:
            whole.unlink(missing_ok=True)

    write_atomically(path, write)
    return {"file": WEIGHTS_FILE, "bytes": path.stat().st_size, "sha256": sha256(path), "dtype": dtype}


def _copy(source, target, dtype):
    target.attrs.update(source.attrs)
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            _copy(item, target.create_group(name), dtype)
            continue
        value = item[()]
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            value = value.astype(dtype)
            if not np.isfinite(value).all():
                raise ValueError(f"The weight {item.name} is not finite in {dtype}.")
        target.create_dataset(name, data=value).attrs.update(item.attrs)
