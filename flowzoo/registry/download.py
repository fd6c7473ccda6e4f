"""Weights files at hand: found in local folders or the cache, or downloaded into it."""

import contextlib
import pathlib
import warnings

from flowzoo import fetching
from flowzoo.registry import sources
from flowzoo.registry.errors import RegistryError, Unavailable
from flowzoo.registry.folder import (
    LARGEST_MODEL_FILE,
    MODEL_FILE,
    WEIGHTS_FILES,
    check_file,
    check_format,
    parse_model_file,
    write_atomically,
)


def find_weights(facts, folder=None):
    """The verified weights file of a model.

    Arguments:
        facts: of its `model.json`.
        folder: the only place to look, or None to ask, in turn, `$FLOWZOO_HUB`, the checkout, the
            package itself, the cache, where the package was installed from, and the project's public
            address.

    Returns: a path whose content has the sha256 that `facts` name.
    Raises: RegistryError when the model is not trained yet, when its weights are of another format,
        when no place has the file, and for content with another sha256.
    """
    name, weights = facts["name"], facts.get("weights")
    if weights is None:
        raise RegistryError(
            f"{name} has no trained weights yet. Train it with `flowzoo train {name}`, or load its "
            "architecture with weights=False."
        )
    check_format(facts)
    if folder is not None:
        return in_folder(folder, weights)
    cache, public = fetching.cache(), sources.public_address()
    tried = []
    local = sources.hub(), sources.checkout(), sources.packaged()
    for place in (*local, cache, sources.installed_from(), public):
        try:
            if place == cache:
                path = cached(facts)
            elif isinstance(place, str):
                path = download(f"{place}/{name}/{weights['file']}", facts)
            else:
                path = place and in_folder(place / name, weights)
        except Unavailable as error:
            tried.append(str(error))
        else:
            if path is not None:
                return path
    if public is None:
        tried.append(
            "This flowzoo knows no public address for weights: set FLOWZOO_HUB to an address or folder that "
            "holds them, or install flowzoo from its checkout (pip install -e)."
        )
    raise RegistryError(f"No weights of {name} are at hand. " + " ".join(tried))


def in_folder(folder, weights):
    """The verified weights file in a local folder.

    Raises: Unavailable if it is missing, RegistryError if it is damaged.
    """
    path = pathlib.Path(folder) / weights["file"]
    if not path.is_file():
        raise Unavailable(f"The weights file {path} is missing.")
    check_file(path, weights)
    return path


def cache_path(facts):
    """Where the cache keeps a weights file: it is named by its content."""
    weights = facts["weights"]
    return fetching.cache() / facts["name"] / f"{weights['sha256'][:16]}.{weights['file']}"


def cached(facts):
    """The verified file in the cache, or None; a damaged one is deleted, with a warning."""
    path = cache_path(facts)
    try:
        check_file(path, facts["weights"])
    except OSError:
        return None
    except RegistryError as error:
        path.unlink(missing_ok=True)
        warnings.warn(f"{error} It was deleted from the cache.", stacklevel=2)
        return None
    return path


def download(url, facts):
    """Downloads a weights file into the cache once, also when several processes ask for it.

    Raises: Unavailable if the server does not have or give it; RegistryError if its sha256 is
        another, or the cache cannot be written.
    """
    weights = facts["weights"]
    try:
        return fetching.fetch(
            url,
            cache_path(facts),
            known_hash=f"sha256:{weights['sha256']}",
            size=weights["bytes"],
            name=facts["name"],
            find=lambda: cached(facts),
        )
    except fetching.Unreachable as error:
        raise Unavailable(str(error)) from error
    except fetching.FetchError as error:
        raise RegistryError(str(error)) from error


def fetch_model_file(address, name):
    """The facts of a model that only a remote hub knows, or None if it does not know it either.

    The file is kept in the cache, for when the hub is out of reach.
    """
    import requests
    from urllib3 import Retry

    url = f"{address}/{name}/{MODEL_FILE}"
    kept = fetching.cache() / name / MODEL_FILE
    session = requests.Session()
    retries = Retry(fetching.RETRIES, backoff_factor=0.3, status_forcelist=[500, 502, 503, 504])
    session.mount(address, requests.adapters.HTTPAdapter(max_retries=retries))
    try:
        with session.get(url, stream=True, timeout=fetching.TIMEOUT) as response:
            if response.status_code == 404:
                return None
            response.raise_for_status()
            content = b""
            for chunk in response.iter_content(2**16):
                content += chunk
                if len(content) > LARGEST_MODEL_FILE:
                    break
    except requests.RequestException as error:
        if kept.is_file():
            return parse_model_file(kept.read_bytes(), kept)
        raise RegistryError(f"{url} cannot be downloaded: {error}") from error
    facts = parse_model_file(content, url)
    with contextlib.suppress(OSError):  # a cache that cannot be written is told of with the weights
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, lambda path: path.write_bytes(content))
    return facts


def clear_cache():
    """Deletes what was downloaded, and nothing else in that folder; returns the bytes freed."""
    freed = 0
    for kind in ("model.json", ".lock", "tmp*", "*.tar.gz*", *(f"*.{file}*" for file in WEIGHTS_FILES)):
        for path in fetching.cache().glob(f"*/{kind}"):
            freed += path.stat().st_size
            path.unlink()
            with contextlib.suppress(OSError):  # the folder still has other files
                path.parent.rmdir()
    return freed
