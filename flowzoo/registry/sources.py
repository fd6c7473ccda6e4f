"""The places that pretrained models come from."""

import functools
import importlib.metadata
import json
import os
import pathlib
import re
import urllib.parse

from flowzoo.registry.errors import RegistryError

FOLDER = "pretrained"
PACKAGED = pathlib.Path(__file__).with_name(FOLDER)  # in a wheel: see .ci/build_index.py


@functools.cache
def index():
    """What the wheel ships in `index.json`; empty in a checkout.

    Returns: dict with "models", from names to the facts of their `model.json`, and "address", where
        weights of this very version are, or None.
    """
    path = PACKAGED / "index.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def packaged():
    """The folder of models whose weights the wheel itself holds, or None in a checkout."""
    return PACKAGED if PACKAGED.is_dir() else None


def hub():
    """`$FLOWZOO_HUB`: an address (str), a local folder (Path), or None where it is not set."""
    value = os.environ.get("FLOWZOO_HUB")
    if not value:
        return None
    if re.match("https?://", value):
        return value.rstrip("/")
    if "://" in value:
        raise RegistryError(f"FLOWZOO_HUB must be an http(s) address or a local folder; got {value!r}.")
    return pathlib.Path(value).expanduser()


def checkout():
    """The `pretrained` folder of the checkout that this package runs in, or None."""
    root = pathlib.Path(__file__).resolve().parents[2]
    folder = root / FOLDER
    return folder if (root / "pyproject.toml").is_file() and folder.is_dir() else None


def installed_from():
    """Where pip installed this package from, as it records it (PEP 610), or None.

    Returns: the `pretrained` folder (Path) of a local checkout, or the address (str) of that
        folder's raw files in the very commit of an install from GitHub.
    """
    try:
        record = importlib.metadata.distribution("flowzoo").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    return _place(json.loads(record)) if record else None


def _place(record):
    url = urllib.parse.urlparse(record["url"])
    subdirectory = record.get("subdirectory", "").strip("/")
    if url.scheme == "file" and "archive_info" not in record:
        from urllib.request import url2pathname  # slow to import

        folder = pathlib.Path(url2pathname(url.path)) / subdirectory / FOLDER
        return folder if folder.is_dir() else None
    commit = record.get("vcs_info", {}).get("commit_id")
    repository = re.fullmatch(r"/([^/]+)/([^/]+?)(\.git)?/?", url.path)
    if url.hostname == "github.com" and commit and repository:
        parts = [repository[1], repository[2], commit, *filter(None, [subdirectory]), FOLDER]
        return "https://raw.githubusercontent.com/" + "/".join(parts)
    return None


def public_address():
    """The public address of this version's weights, or None where the project has none.

    The wheel knows it of [project.urls] Repository and its own version.
    """
    return index().get("address")
