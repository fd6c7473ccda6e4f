"""Files from the web: kept in the cache, gone on with after an interruption, held against their hash."""

import contextlib
import errno
import os
import pathlib
import re

TIMEOUT = (10, 30)  # seconds to connect, and between two parts of an answer
RETRIES = 3


class FetchError(ValueError):
    """A file that cannot be had, or is not the one that was expected."""


class Unreachable(FetchError):
    """A server that does not have or give a file."""


def cache():
    """The folder that downloads are kept in: `$FLOWZOO_HOME`, or the platform's for a user's caches."""
    import platformdirs

    home = os.environ.get("FLOWZOO_HOME")
    return pathlib.Path(home).expanduser() if home else pathlib.Path(platformdirs.user_cache_dir("flowzoo"))


def fetch(url, path, *, known_hash, name, size=None, find=lambda: None):
    """Downloads a file to `path` in the cache once, also when several processes ask for it.

    The file comes under a temporary name, goes on where an interrupted download stopped if the
    server knows ranges, is hashed, and is moved into place in one step. A file that is at `path`
    already is hashed, and stays if it is the right one.

    Arguments:
        url: of the file.
        path: where it shall be.
        known_hash: as pooch takes it, such as "sha256:...".
        name: of what is downloaded, for people.
        size: of the file in bytes, or None to take the server's word for it.
        find: called before the download, while no other process downloads; what it returns, if
            anything, is returned instead.

    Returns: `path`.
    Raises: Unreachable if the server does not have or give it; FetchError if its hash is another, or
        the cache cannot be written.
    """
    import pooch
    import requests

    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path.parent / ".lock", name):
            if (found := find()) is not None:
                return found
            for leftover in path.parent.glob("tmp*"):  # pooch's, of a killed process
                leftover.unlink()
            fetcher = pooch.create(
                path=path.parent,
                base_url="",
                registry={path.name: known_hash},
                urls={path.name: url},
                retry_if_failed=RETRIES,
            )
            pooch.get_logger().setLevel("WARNING")
            fetcher.fetch(path.name, downloader=Resuming(part, size, name))
            return path
    except Refused as error:
        raise Unreachable(str(error)) from error
    except requests.RequestException as error:
        raise Unreachable(f"{url} cannot be downloaded: {error}") from error
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        needs = f"needs {size:,} bytes, and " if size else ""
        why = f"{needs}the disk is full" if error.errno == errno.ENOSPC else error
        raise FetchError(
            f"The cache {cache()} cannot be written: {why}. Set FLOWZOO_HOME to a folder with room "
            "that you may write to."
        ) from error
    except ValueError as error:
        raise FetchError(f"{url} is not the file that was expected, and was deleted: {error}") from error


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
        if self.size is not None and have > self.size:
            have = 0
        if have != self.size:
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

        size = self.size if self.size is not None else _size(response)
        columns = (TextColumn(self.name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with (
            open(self.part, "ab" if have else "wb", buffering=0) as file,
            Progress(*columns, console=Console(stderr=True)) as progress,
        ):
            task = progress.add_task(self.name, total=size, completed=have)
            for chunk in response.iter_content(2**13):
                have += len(chunk)
                if size is not None and have > size:
                    break
                file.write(chunk)
                progress.update(task, completed=have)
            os.fsync(file.fileno())
        if size is not None and have > size:
            self.part.unlink()
            raise Refused(f"{response.url} is larger than the {size:,} bytes that were expected.")
        if size is not None and have < size:
            raise requests.ConnectionError(f"the server stopped after {have:,} of {size:,} bytes")


def _size(response):
    """The whole file's size as the server tells it, or None."""
    if response.status_code == 206:
        found = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
        return int(found[1]) if found else None
    return int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None


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
