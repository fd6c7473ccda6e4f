"""Names of pretrained models to what their `model.json` says; reads no weights and needs no network."""

import copy
import difflib
import os
import pathlib
from typing import Any

from flowzoo.registry import sources
from flowzoo.registry.errors import RegistryError
from flowzoo.registry.folder import MODEL_FILE, is_name, read_model_file
from flowzoo.types import PathLike


def shipped():
    """The models of the index that the wheel ships: dict from names to facts; empty in a checkout."""
    return sources.index().get("models", {})


def local_folders():
    """Folders of models, one folder a model, that say for themselves what they hold."""
    folders = [sources.hub(), sources.checkout()]
    return [folder for folder in folders if isinstance(folder, pathlib.Path) and folder.is_dir()]


def list_models() -> list[str]:
    """Names of the pretrained models, sorted: of `$FLOWZOO_HUB` if a folder, and flowzoo's own.

    Example:
        >>> "nice-mnist" in flowzoo.list_models()
        True
    """
    found = {path.parent.name for folder in local_folders() for path in folder.glob(f"*/{MODEL_FILE}")}
    return sorted(found | shipped().keys())


def info(name_or_path: PathLike) -> dict[str, Any]:
    """What the model card knows, as a dict: class, config, data, recipe, metrics, weights file.

    Arguments:
        name_or_path: one of `flowzoo.list_models()`, with a version as "nice-mnist@1" to accept no other; a
            folder with a `model.json`, written as a path, such as "./mine"; or "hf://user/model".

    Raises: RegistryError, a ValueError, for an unknown name, with the nearest names, and for another
        version.

    Example:
        >>> flowzoo.info("nice-mnist")["class"]
        'NICE'
    """
    return look_up(name_or_path)[0]


def look_up(name_or_path):
    """The facts of a model, and its own folder where a path was given, or None.

    A name alone is one of the zoo, whatever folders lie around; a folder is a `pathlib.Path`, or is
    written with what no name has, such as the slash of "./mine".
    """
    name = str(name_or_path)
    if name.startswith("hf://"):
        from flowzoo.registry.hugging_face import fetch_folder

        folder = fetch_folder(name)
        return read_model_file(folder), folder
    alone, _, version = name.partition("@")
    if isinstance(name_or_path, os.PathLike) or not is_name(alone):
        path = pathlib.Path(name_or_path).expanduser()
        if name and (path / MODEL_FILE).is_file():
            return read_model_file(path), path
        if isinstance(name_or_path, os.PathLike):
            raise RegistryError(f"{name} is no folder with a {MODEL_FILE}.")
        raise RegistryError(_unknown(name))
    facts = _of_the_zoo(alone)
    if version and version != str(facts.get("version", 1)):
        raise RegistryError(
            f"{alone} is at hand in version {facts.get('version', 1)}, but {version!r} was asked for. Take "
            "that at hand, or install the flowzoo that came with the other."
        )
    return facts, None


def _of_the_zoo(name):
    """The facts of a model by name."""
    for folder in local_folders():
        if (folder / name / MODEL_FILE).is_file():
            return _named(read_model_file(folder / name), name)
    if name in shipped():
        return copy.deepcopy(shipped()[name])
    if isinstance(sources.hub(), str):
        from flowzoo.registry.download import fetch_model_file

        facts = fetch_model_file(sources.hub(), name)
        if facts is not None:
            return _named(facts, name)
    raise RegistryError(_unknown(name))


def _named(facts, name):
    if facts["name"] != name:
        raise RegistryError(
            f"The model in the folder {name!r} calls itself {facts['name']!r}; they must agree."
        )
    return facts


def _unknown(name):
    names = list_models()
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    message = f"No pretrained model is called {name!r}, and it is no folder with a {MODEL_FILE}."
    if is_name(name) and pathlib.Path(name, MODEL_FILE).is_file():
        return f"No pretrained model is called {name!r}. For the folder of that name write './{name}'."
    if near:
        return message + f" Did you mean {' or '.join(map(repr, near))}?"
    if names:
        return message + f" There are: {', '.join(names)}."
    return message + " No pretrained models were found at all: set FLOWZOO_HUB to where they are."
