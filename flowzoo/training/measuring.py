"""Measuring a model on the split that its card names."""

from collections.abc import Callable
from typing import Any

from flowzoo.datasets import TOY_DENSITIES, binarize
from flowzoo.registry.index import info
from flowzoo.registry.weights import load
from flowzoo.training.data import labels_for, reader
from flowzoo.training.facts import check_data
from flowzoo.types import PathLike


def evaluate_pretrained(
    name_or_path: PathLike,
    *,
    data_dir: str | None = None,
    data_file: PathLike | None = None,
    progress: Callable[[int], Any] | None = None,
) -> dict[str, Any]:
    """Measures a pretrained model again on the split that its card names.

    Arguments:
        name_or_path: one of `flowzoo.list_models()`, a model's folder, or "hf://user/model".
        data_dir: TFDS's data folder.
        data_file: path of a file that `flowzoo data` wrote, to read instead of TFDS.
        progress: called with the number of examples done.

    Returns: dict with "split" and the figures of the card's "metrics".
    Raises: RegistryError as `flowzoo.load` does, and for a card that names no data.
    """
    facts = info(name_or_path)
    check_data(facts, "test")
    read = reader(facts, data_dir, data_file)
    model, data = load(name_or_path), facts["data"]
    return measure_on_test_split(model, data, read("test", labels_for(model, data)), progress)


def measure_on_test_split(model, data, test, progress=None):
    """What `model.measure` finds on `test`, examples and contexts of the test split of `data`."""
    x, context = test
    if data.get("binarize"):
        x = binarize(x)
    options = {key: data[key] for key in ("importance_samples",) if key in data}
    found = model.measure(x, context, seed=0, progress=progress, **options)
    if data["name"] in TOY_DENSITIES:
        found["entropy"] = TOY_DENSITIES[data["name"]]().entropy()
    return {"split": data["test"], **found}
