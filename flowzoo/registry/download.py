"""Weights files at hand: found in local folders or the cache, or downloaded into it."""

import contextlib
import errno
import os
import pathlib
import warnings

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

TIMEOUT = (10, 30)  # seconds to connect, and between two parts of an answer
RETRIES = 3


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
    cache, public = sources.cache(), sources.public_address()
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
    return sources.cache() / facts["name"] / f"{weights['sha256'][:16]}.{weights['file']}"


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

    The file comes under a temporary name, goes on where an interrupted download stopped if the
    server knows ranges, is hashed, and is moved into place in one step.

    Raises: Unavailable if the server does not have or give it; RegistryError if its sha256 is
        another, or the cache cannot be written.
    """
    import pooch
    import requests

    path, weights = cache_path(facts), facts["weights"]
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path.parent / ".lock", facts["name"]):
            if (found := cached(facts)) is not None:
                return found
            for leftover in path.parent.glob("tmp*"):  # pooch's, of a killed process
                leftover.unlink()
            fetcher = pooch.create(
                path=path.parent,
                base_url="",
                registry={path.name: f"sha256:{weights['sha256']}"},
                urls={path.name: url},
                retry_if_failed=RETRIES,
            )
            pooch.get_logger().setLevel("WARNING")
            fetcher.fetch(path.name, downloader=Resuming(part, weights["bytes"], facts["name"]))
            return path
    except Refused as error:
        raise Unavailable(str(error)) from error
    except requests.RequestException as error:
        raise Unavailable(f"{url} cannot be downloaded: {error}") from error
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        why = (
            f"needs {weights['bytes']:,} bytes, and the disk is full"
            if error.errno == errno.ENOSPC
            else error
        )
        raise RegistryError(
            f"The cache {sources.cache()} cannot be written: {why}. Set FLOWZOO_HOME to a folder with room "
            "that you may write to."
        ) from error
    except ValueError as error:
        raise RegistryError(f"{url} is not the file that was expected, and was deleted: {error}") from error


class Refused(Exception):
    """An answer that asking again would not change: pooch does not retry after it."""


class Resuming:
    """A downloader for pooch that goes on from the part that an earlier download left."""

    def __init__(self, part, size, name):
        self.part = part
        self.size = size
        self.name = name

    def __call__(self, url, output_file, pooch):
        import requests

        have = self.part.stat().st_size if self.part.exists() else 0
        if have > self.size:
            have = 0
        if have < self.size:
            headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
                if response.status_code == 416:
                    self.part.unlink()
                    raise requests.ConnectionError("the server refused to go on; starting anew")
                if 400 <= response.status_code < 500 and response.status_code not in (408, 429):
                    raise Refused(f"{url} answers {response.status_code} {response.reason}.")
                response.raise_for_status()
                resumed = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
                self._write(response, have if response.status_code == 206 and resumed else 0)
        os.replace(self.part, output_file)

    def _write(self, response, have):
        import requests
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (TextColumn(self.name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with (
            open(self.part, "ab" if have else "wb", buffering=0) as file,
            Progress(*columns, console=Console(stderr=True)) as progress,
        ):
            task = progress.add_task(self.name, total=self.size, completed=have)
            for chunk in response.iter_content(2**13):
                have += len(chunk)
                if have > self.size:
                    break
                file.write(chunk)
                progress.update(task, completed=have)
            os.fsync(file.fileno())
        if have > self.size:
            self.part.unlink()
            raise Refused(f"{response.url} is larger than the {self.size:,} bytes that were expected.")
        if have < self.size:
            raise requests.ConnectionError(f"the server stopped after {have:,} of {self.size:,} bytes")


@contextlib.contextmanager
def _lock(path, name):
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=2)
    except Timeout:
        from rich.console import Console

        Console(stderr=True).print(f"Waiting for another process that downloads {name}.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def fetch_model_file(address, name):
    """The facts of a model that only a remote hub knows, or None if it does not know it either.

    The file is kept in the cache, for when the hub is out of reach.
    """
    import requests
    from urllib3 import Retry

    url = f"{address}/{name}/{MODEL_FILE}"
    kept = sources.cache() / name / MODEL_FILE
    session = requests.Session()
    retries = Retry(RETRIES, backoff_factor=0.3, status_forcelist=[500, 502, 503, 504])
    session.mount(address, requests.adapters.HTTPAdapter(max_retries=retries))
    try:
        with session.get(url, stream=True, timeout=TIMEOUT) as response:
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
    for kind in ("model.json", ".lock", "tmp*", *(f"*.{file}*" for file in WEIGHTS_FILES)):
        for path in sources.cache().glob(f"*/{kind}"):
            freed += path.stat().st_size
            path.unlink()
            with contextlib.suppress(OSError):  # the folder still has other files
                path.parent.rmdir()
    return freed
