"""Tables: the five that papers on density estimation compare on, and those that scikit-learn ships.

The five are read as Papamakarios et al. (2017, "Masked Autoregressive Flow for Density Estimation",
arXiv:1705.07057) prepared them, from the archive that they published (doi:10.5281/zenodo.1161203).
"""

import contextlib
import io
import pathlib
import tarfile
import typing
import warnings
from typing import Any

import numpy as np

from flowzoo import fetching
from flowzoo.types import PathLike

ADDRESS = "https://zenodo.org/records/1161203/files/data.tar.gz"
KNOWN_HASH = "md5:9b9c9b0375315ad270eba4ce80c093ab"
LARGEST_FILE = 2**32  # bytes, of a file in the archive

SCIKIT_LEARN = ("breast_cancer", "diabetes", "iris", "linnerud", "wine")


class Splits(typing.NamedTuple):
    """Rows to train on, to choose by, and to measure on, float32 (n, columns) each."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def load(name: str) -> Any:
    """One of the tables that come with scikit-learn, as a data frame.

    Arguments:
        name: "breast_cancer", "diabetes", "iris", "linnerud" or "wine".

    Returns: a pandas data frame with the features and what is to be predicted, classes as a category
        by their names; units are scikit-learn's, but those of "diabetes", which come raw: age in years,
        sex as a category, the body mass index, and blood values as they were measured.
    Raises: ValueError for another name.

    Example:
        >>> frame = flowzoo.datasets.tables.load("wine")
        >>> frame.shape, frame["target"].dtype.name
        ((178, 14), 'category')
    """
    if name not in SCIKIT_LEARN:
        hint = f" {name!r} has splits: load_splits({name!r})." if name in _READERS else ""
        raise ValueError(f"name must be one of {', '.join(map(repr, SCIKIT_LEARN))}; got {name!r}.{hint}")
    import pandas as pd
    from sklearn import datasets

    raw = {"scaled": False} if name == "diabetes" else {}
    found = getattr(datasets, f"load_{name}")(as_frame=True, **raw)
    frame = found.frame.copy()
    if name == "diabetes":
        frame["sex"] = pd.Categorical.from_codes(frame["sex"].astype(int) - 1, ["1", "2"])
    elif name != "linnerud":
        frame["target"] = pd.Categorical.from_codes(frame["target"], found.target_names)
    return frame


def load_splits(name: str, path: PathLike | None = None) -> Splits:
    """One of the five standard tables, prepared and split as they were published.

    Arguments:
        name: "power" (6 columns), "gas" (8), "hepmass" (21), "miniboone" (43) or "bsds300" (63).
        path: the archive data.tar.gz if it is at hand, or the folder that it was unpacked to. Without
            it the archive is downloaded into flowzoo's cache, once, and held against its checksum.

    The archive has "gas" as a pickle alone, which may run any program when it is read, so flowzoo does not
    read it. Who trusts the archive unpacks it, runs, in the folder data/,

        pandas.read_pickle("gas/ethylene_CO.pickle").to_csv("gas/ethylene_CO.csv", index=False)

    and gives that folder as `path`.

    Returns: `Splits`, float32 arrays. All but "bsds300" are standardised, column by column, as the paper did:
        by the rows of training and validation ("power", "miniboone"), by those before validation rows are
        set apart ("hepmass"), or by all rows ("gas"); log-densities that papers report are in these units.
        A table of another size than the paper's is warned of.
    Raises: ValueError for another name or an archive without that table; `flowzoo.fetching.FetchError`, a
        ValueError, where it cannot be downloaded.
    """
    if name not in _READERS:
        hint = f" {name!r} comes whole: load({name!r})." if name in SCIKIT_LEARN else ""
        raise ValueError(f"name must be one of {', '.join(map(repr, _READERS))}; got {name!r}.{hint}")
    read, files, published = _READERS[name]
    if name == "gas" and (path is None or not pathlib.Path(path, *files).is_file()):
        raise ValueError(
            "The archive has GAS as a pickle, gas/ethylene_CO.pickle, which flowzoo does not read: a pickle "
            "can run any program. Unpack the archive, turn that file into gas/ethylene_CO.csv, and give the "
            "folder data/ as path; `help(flowzoo.datasets.tables.load_splits)` has the line that does it."
        )
    path = _download() if path is None else pathlib.Path(path)
    splits = Splits(*(np.asarray(part, "float32") for part in read(*_open(path, files))))
    found = (*map(len, splits), splits.train.shape[1])
    if found != published:
        has, should = ("{:,} + {:,} + {:,} rows of {} columns".format(*size) for size in (found, published))
        warnings.warn(f"{path} gives {name} with {has}; the published table has {should}.", stacklevel=2)
    return splits


def _download():
    path = fetching.cache() / "tables" / "data.tar.gz"
    return fetching.fetch(ADDRESS, path, known_hash=KNOWN_HASH, name="data.tar.gz")


def _open(path, names):
    """The files of those names below data/ in an archive, or in the folder that it was unpacked to."""
    if path.is_dir():
        files = {name: path / name for name in names if (path / name).is_file()}
    else:
        files = _read_archive(path, {f"data/{name}": name for name in names})
    missing = [name for name in names if name not in files]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: is it data.tar.gz, or the folder data/ of it?")
    return [files[name] for name in names]


def _read_archive(path, wanted):
    """Files of an archive in memory, {name: file}, read up to the last of `wanted`, {member: name}."""
    from rich import progress
    from rich.console import Console

    columns = (progress.TextColumn("reading " + path.name), progress.BarColumn(), progress.DownloadColumn())
    found = {}
    with contextlib.ExitStack() as stack:
        try:
            console = Console(stderr=True)
            shown = stack.enter_context(progress.Progress(*columns, console=console, transient=True))
            file = stack.enter_context(shown.open(path, "rb"))
            archive = stack.enter_context(tarfile.open(fileobj=file, mode="r|gz"))
            for member in archive:
                name = wanted.get(member.name.removeprefix("./"))
                if name is not None and member.isfile():
                    if member.size > LARGEST_FILE:
                        raise ValueError(f"{member.name} in {path} has {member.size:,} bytes, too many.")
                    found[name] = io.BytesIO(archive.extractfile(member).read())
                if len(found) == len(wanted):
                    break
        except (tarfile.TarError, EOFError) as error:
            raise ValueError(f"{path} cannot be read as a tar.gz archive: {error}") from error
    return found


def _parts(rows):
    """Rows without the last tenth, the last tenth of these, and the last tenth of all."""
    rest, test = _hold_out(rows)
    return *_hold_out(rest), test


def _hold_out(rows):
    count = int(0.1 * len(rows))
    return rows[: len(rows) - count], rows[len(rows) - count :]


def _standardised(train, validation, test):
    known = np.concatenate([train, validation])
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    return [(part - mean) / deviation for part in (train, validation, test)]


def _power(file):
    """Power of a household by the minute, its date and two columns gone, with noise below its resolution."""
    rng = np.random.RandomState(42)
    data = np.load(file, allow_pickle=False)
    rng.shuffle(data)
    data = np.delete(data, [1, 3], axis=1)
    count = len(data)
    # In this order they were drawn when the published table was made.
    voltage, power, meters = 0.01 * rng.rand(count, 1), 0.001 * rng.rand(count, 1), rng.rand(count, 3)
    return _standardised(*_parts(data + np.hstack([power, voltage, meters, np.zeros((count, 1))])))


def _gas(file):
    """Sixteen sensors in a mixture of ethylene and carbon monoxide, less those that repeat another."""
    import pandas as pd

    data = pd.read_csv(file).drop(columns=["Meth", "Eth", "Time"])
    correlation = data.corr()
    while (repeated := (correlation > 0.98).sum() > 1).any():
        first = repeated.idxmax()
        correlation = correlation.drop(index=first, columns=first)
    data = data[correlation.columns]
    return _parts(((data - data.mean()) / data.std()).to_numpy())


def _hepmass(train_file, test_file):
    """Particle collisions with a signal of mass 1000."""
    import pandas as pd

    train, test = (pd.read_csv(file, index_col=False) for file in (train_file, test_file))
    train, test = (frame[frame.iloc[:, 0] == 1].iloc[:, 1:] for frame in (train, test))
    test = test.iloc[:, :-1]  # a column that training data lack
    mean, deviation = train.mean(), train.std()
    train, test = ((frame - mean) / deviation for frame in (train, test))
    # The published code looks at the smallest value only.
    discrete = (train == train.min()).sum() > 5
    train, test = (frame.loc[:, ~discrete].to_numpy() for frame in (train, test))
    return *_hold_out(train), test


def _miniboone(file):
    """Particle events of electron neutrinos and of background, outliers and repetitive columns removed."""
    return _standardised(*_parts(np.load(file, allow_pickle=False)))


def _bsds300(file):
    """Patches of 8 x 8 pixels of photographs, less their mean and the last pixel, as they are stored."""
    import h5py

    with h5py.File(file, "r") as data:
        return [data[part][:] for part in ("train", "validation", "test")]


# How a table is read, from which files, and its published size: rows of the three splits, and columns.
_READERS = {
    "power": (_power, ["power/data.npy"], (1_659_917, 184_435, 204_928, 6)),
    "gas": (_gas, ["gas/ethylene_CO.csv"], (852_174, 94_685, 105_206, 8)),
    "hepmass": (
        _hepmass,
        ["hepmass/1000_train.csv", "hepmass/1000_test.csv"],
        (315_123, 35_013, 174_987, 21),
    ),
    "miniboone": (_miniboone, ["miniboone/data.npy"], (29_556, 3_284, 3_648, 43)),
    "bsds300": (_bsds300, ["BSDS300/BSDS300.hdf5"], (1_000_000, 50_000, 250_000, 63)),
}
