"""A model's data as one file of arrays, for machines without TensorFlow, TFDS or a network."""

import json
import pathlib

import numpy as np

from flowzoo.registry.folder import write_atomically

DESCRIBED = ("name", "size", "train", "test", "points")  # by these facts two models have the same data


def write_data_file(path, facts, read, labels):
    """Writes a compressed .npz file with a model's training and test examples; returns shapes by name.

    Its arrays are `train` and `test`, with `train_labels` and `test_labels` for a conditional model, or,
    where labels are those of an attribute, such as `train_Smiling`; `train_<attribute>` for each attribute
    that the model keeps a direction of; and `data`, a JSON text that tells which data these are.

    Arguments:
        path: ends with .npz; its folder exists.
        facts: of the `model.json`.
        read: as `flowzoo.training.data.reader` makes it.
        labels: what the model is conditioned on: None, True, or an attribute's name.
    """
    path = pathlib.Path(path)
    if path.suffix != ".npz" or not path.parent.is_dir():
        raise ValueError(f"The data go into a .npz file in a folder that exists; got {path}.")
    arrays = {"data": np.array(json.dumps(_described(facts)))}
    for role, attributes in (("train", facts["data"].get("attributes", ())), ("test", ())):
        for each in dict.fromkeys((labels, *attributes)):
            arrays[role], found = read(role, each)
            if each is not None:
                arrays[_key(role, each)] = found

    def write(temporary):
        with open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)

    write_atomically(path, write)
    return {name: array.shape for name, array in arrays.items() if name != "data"}


def reader_of_file(path, facts):
    """A function `read(role, labels=None)` as `flowzoo.training.data.reader` makes it, of a file.

    A file of one's own needs no array `data`.

    Raises: ValueError for a file of other data, and, when it reads, for one that lacks an array.
    """
    try:
        arrays = np.load(path, allow_pickle=False)
        if not isinstance(arrays, np.lib.npyio.NpzFile):
            raise ValueError("it holds one array")
        described = json.loads(str(arrays["data"])) if "data" in arrays.files else _described(facts)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no .npz file of arrays: {error}") from error
    if described != _described(facts):
        raise ValueError(
            f"{path} holds the data {described}, but {facts['name']} is of {_described(facts)}. Write its "
            f"own, where TFDS is: flowzoo data {facts['name']} --out FILE.npz"
        )

    def array(name):
        if name not in arrays.files:
            raise ValueError(
                f"{path} has no array {name!r}, which {facts['name']} needs; it has "
                f"{', '.join(map(repr, arrays.files))}. Where TFDS is, `flowzoo data {facts['name']} --out "
                "FILE.npz` writes all of them."
            )
        return arrays[name]

    def read(role, labels=None):
        examples = array(role)
        if labels is None:
            return examples, None
        found = array(_key(role, labels))
        if len(found) != len(examples):
            raise ValueError(
                f"{path} has {len(examples):,} examples {role!r}, but {len(found):,} {_key(role, labels)!r}."
            )
        return examples, found

    return read


def _described(facts):
    return {key: facts["data"][key] for key in DESCRIBED if key in facts["data"]}


def _key(role, labels):
    return f"{role}_labels" if labels is True else f"{role}_{labels}"
