"""A model's folder: its `model.json`, read with care, and files written in one step."""

import hashlib
import json
import os
import pathlib
import re

from flowzoo.registry.errors import RegistryError

MODEL_FILE = "model.json"
WEIGHTS_FILES = ("model.weights.h5", "model.safetensors")
FORMAT = 2  # of a folder: 1 named tensors by private attributes
LARGEST_MODEL_FILE = 2**20  # bytes
LARGEST_WEIGHTS_FILE = 2**34
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def read_model_file(folder):
    """The facts in `folder/model.json`.

    Raises: RegistryError if it cannot be read, or lacks or garbles what every model must have.
    """
    path = pathlib.Path(folder) / MODEL_FILE
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_MODEL_FILE + 1)
    except OSError as error:
        raise RegistryError(f"{path} cannot be read: {error}") from error
    return parse_model_file(content, path)


def parse_model_file(content, origin):
    """The facts in the bytes of a `model.json` that came from `origin`."""
    if len(content) > LARGEST_MODEL_FILE:
        raise RegistryError(
            f"{origin} is larger than {LARGEST_MODEL_FILE:,} bytes, so it is no {MODEL_FILE}."
        )
    try:
        facts = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RegistryError(f"{origin} cannot be read as JSON: {error}") from error
    if not isinstance(facts, dict):
        raise RegistryError(f"{origin} must hold a JSON object; got {type(facts).__name__}.")
    missing = [key for key in ("name", "class", "config") if key not in facts]
    if missing:
        raise RegistryError(f"{origin} lacks {', '.join(map(repr, missing))}.")
    if not is_name(facts["name"]):
        raise RegistryError(f"{origin} names the model {facts['name']!r}; a name has letters, digits, . _ -")
    for key, kind in (("class", str), ("config", dict)):
        if not isinstance(facts[key], kind):
            raise RegistryError(f"{key!r} in {origin} must be a {kind.__name__}; got {facts[key]!r}.")
    check_kinds(facts, origin)
    for key in ("format", "version"):
        value = facts.get(key, 1)
        if type(value) is not int or value < 1:
            raise RegistryError(f"{key!r} in {origin} must be a positive integer; got {value!r}.")
    if "weights" in facts:
        _check_weights(facts["weights"], origin)
    if "fingerprint" in facts:
        _check_fingerprint(facts["fingerprint"], origin)
    return facts


def check_kinds(facts, origin):
    """Refuses facts whose parts are no objects."""
    for key in ("data", "metrics", "recipe", "paper", "samples", "statistics"):
        if not isinstance(facts.get(key, {}), dict):
            raise RegistryError(f"{key!r} in {origin} must be an object; got {facts[key]!r}.")


def _refuse_constant(name):
    raise ValueError(f"{name} is no number of JSON")


def is_name(value):
    """Whether a value may name a model, and so a folder and part of an address."""
    return isinstance(value, str) and NAME.fullmatch(value) is not None and ".." not in value


def _check_weights(weights, origin):
    checks = {
        "file": lambda value: value in WEIGHTS_FILES,
        "bytes": lambda value: type(value) is int and 0 < value <= LARGEST_WEIGHTS_FILE,
        "sha256": lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value),
        "dtype": lambda value: value in ("float16", "float32"),
    }
    if not isinstance(weights, dict):
        raise RegistryError(f"'weights' in {origin} must be an object; got {weights!r}.")
    for key, fits in checks.items():
        if key not in weights or not fits(weights[key]):
            raise RegistryError(
                f"{key!r} of the weights in {origin} is {weights.get(key)!r}; expected are 'file', one of "
                f"{', '.join(WEIGHTS_FILES)}, 'bytes', 'sha256' in hexadecimal, and 'dtype', float16 or "
                "float32."
            )


def _check_fingerprint(values, origin):
    numbers = isinstance(values, list) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) for value in values
    )
    if not numbers or len(values) != 8 or not all(abs(value) < 1e30 for value in values):
        raise RegistryError(f"'fingerprint' in {origin} must be 8 finite numbers; got {values!r}.")


def check_format(facts):
    """Refuses weights of another format than this flowzoo writes.

    Raises: RegistryError that says how to convert the folder, or to upgrade flowzoo.
    """
    found = facts.get("format", 1)
    if found < FORMAT:
        raise RegistryError(
            f"The weights of {facts['name']} are of format {found}, which an older flowzoo wrote; this one "
            f"reads format {FORMAT}. Convert the folder with `python .ci/convert_weights.py FOLDER` in "
            f"flowzoo's checkout, or train it again with `flowzoo train`."
        )
    if found > FORMAT:
        raise RegistryError(
            f"The weights of {facts['name']} are of format {found}, which a newer flowzoo wrote; this one "
            f"reads format {FORMAT}. Upgrade flowzoo."
        )


def write_atomically(path, write):
    """Calls `write(temporary path)`, then moves the finished file to `path` in one step."""
    path = pathlib.Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text):
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_model_file(folder, facts):
    facts = {key: facts[key] for key in ("format", "name", "version") if key in facts} | facts
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    write_text(pathlib.Path(folder) / MODEL_FILE, text)


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_file(path, weights):
    """Compares a weights file with what `model.json` says of it.

    Raises: RegistryError that names both hashes.
    """
    found = sha256(path)
    if found != weights["sha256"]:
        raise RegistryError(
            f"The weights file {path} is damaged: its sha256 is {found}, but "
            f"{weights['sha256']} was expected."
        )
    if path.stat().st_size != weights["bytes"]:
        raise RegistryError(
            f"The weights file {path} has {path.stat().st_size:,} bytes, but "
            f"{weights['bytes']:,} were expected."
        )
