"""Where pretrained models are, and what their `model.json` says."""

import difflib
import hashlib
import importlib.metadata
import json
import os
import pathlib
import urllib.parse
import urllib.request

MODEL_FILE = "model.json"


def pretrained_folders():
    """Folders that hold pretrained models, one folder a model, the first to be asked first.

    `$FLOWZOO_HUB` if set; then the checkout that this package is in, or was installed from.
    """
    folders = []
    if os.environ.get("FLOWZOO_HUB"):
        folders.append(pathlib.Path(os.environ["FLOWZOO_HUB"]))
    folders.append(pathlib.Path(__file__).resolve().parents[2] / "pretrained")
    source = _installed_from()
    if source is not None:
        folders.append(source / "pretrained")
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def _installed_from():
    """The local folder that pip installed this package from (PEP 610), or None."""
    try:
        record = importlib.metadata.distribution("flowzoo").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    url = urllib.parse.urlparse(json.loads(record)["url"] if record else "")
    return pathlib.Path(urllib.request.url2pathname(url.path)) if url.scheme == "file" else None


def list_models():
    """Names of the pretrained models that are at hand, sorted.

    Example:
        >>> "nice-mnist" in flowzoo.list_models()
        True
    """
    found = {path.parent.name for folder in pretrained_folders() for path in folder.glob(f"*/{MODEL_FILE}")}
    return sorted(found)


def find(name_or_path):
    """The folder of a model, by its name or by a path to a folder with a `model.json`.

    Raises: ValueError for an unknown name, with the nearest names.
    """
    path = pathlib.Path(name_or_path).expanduser()
    if (path / MODEL_FILE).is_file():
        return path
    name = str(name_or_path)
    if name not in ("", ".", "..") and path.name == name:
        for folder in pretrained_folders():
            if (folder / name / MODEL_FILE).is_file():
                return folder / name
    names = list_models()
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    message = f"No pretrained model is called {name!r}, and it is no folder with a {MODEL_FILE}."
    if near:
        message += f" Did you mean {' or '.join(map(repr, near))}?"
    elif names:
        message += f" There are: {', '.join(names)}."
    else:
        message += (
            " No pretrained models were found at all: install flowzoo from a checkout, or set "
            "FLOWZOO_HUB to a folder that holds them."
        )
    raise ValueError(message)


def info(name_or_path):
    """What the model card knows, as a dict: class, config, data, recipe, metrics, weights file.

    Example:
        >>> flowzoo.info("nice-mnist")["class"]
        'NICE'
    """
    return read_model_file(find(name_or_path))


def read_model_file(folder):
    path = pathlib.Path(folder) / MODEL_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
    missing = [key for key in ("name", "class", "config") if key not in facts]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(map(repr, missing))}.")
    return facts


def write_atomically(path, write):
    """Calls `write(temporary path)`, then moves the finished file to `path` in one step."""
    path = pathlib.Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_model_file(folder, facts):
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    write_atomically(pathlib.Path(folder) / MODEL_FILE, lambda path: path.write_text(text, encoding="utf-8"))


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
