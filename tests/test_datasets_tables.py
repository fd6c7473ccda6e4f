"""The standard tables, read from an archive of the published form that is made here, and scikit-learn's."""

import hashlib
import io
import re
import tarfile
import threading
import types

import h5py
import numpy as np
import pandas as pd
import pytest
from hub_server import ARCHIVE, Hub

from flowzoo import fetching
from flowzoo.datasets import tables

ROWS = 200
SIZES = (162, 18, 20)  # of 200 rows


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def power():
    """Rows numbered in the last column, whose other columns are 0 but for the two that are left out."""
    data = np.zeros((ROWS, 9))
    data[:, [1, 3]] = 7.0
    data = np.delete(data, [7, 8], axis=1)
    return np.hstack([data, np.arange(ROWS)[:, None]])


def hepmass(rows, extra):
    rng = np.random.default_rng(rows)
    frame = pd.DataFrame({"label": rng.integers(0, 2, rows).astype(float)})
    frame["f0"] = rng.normal(size=rows)
    frame["often"] = np.maximum(rng.normal(size=rows), 0)  # half of it the smallest value
    frame["f1"] = rng.normal(5, 3, rows)
    return frame.assign(mass=1000) if extra else frame


def bsds300():
    file = io.BytesIO()
    with h5py.File(file, "w") as data:
        for number, part in enumerate(("train", "validation", "test")):
            data[part] = np.full((3 - number, 63), number, "float32")
    return file.getvalue()


FILES = {
    "mnist/mnist.pkl.gz": b"a pickle that nobody opens",
    "power/data.npy": npy(power()),
    "gas/ethylene_CO.pickle": b"another",
    "hepmass/1000_train.csv": hepmass(ROWS, extra=False).to_csv(index=False).encode(),
    "hepmass/1000_test.csv": hepmass(100, extra=True).to_csv(index=False).encode(),
    "miniboone/data.npy": npy(np.random.default_rng(0).normal(3, 2, (ROWS, 4))),
    "BSDS300/BSDS300.hdf5": bsds300(),
}


def write(path, members):
    """A tar.gz of `members`, {name: content}; a content of None makes a link to /etc/hostname."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content or b""))
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / ARCHIVE
    return write(path, {f"data/{name}": content for name, content in FILES.items()})


def read(name, path):
    with pytest.warns(UserWarning, match=rf"gives {name} with .* the published table has"):
        splits = tables.load_splits(name, path)
    assert {part.dtype.name for part in splits} == {"float32"}
    return splits


def standardised(x, known):
    return (x - x[:known].mean(axis=0)) / x[:known].std(axis=0)


def test_power_is_shuffled_and_blurred_as_when_it_was_published(archive):
    splits = read("power", archive)
    assert [part.shape for part in splits] == [(size, 6) for size in SIZES]
    rng = np.random.RandomState(42)
    order = np.arange(ROWS, dtype="float64")
    rng.shuffle(order)
    voltage, power, meters = (rng.rand(ROWS, columns) for columns in (1, 1, 3))
    expected = standardised(np.hstack([power, voltage, meters, order[:, None]]), known=180)
    np.testing.assert_allclose(np.concatenate(splits), expected, atol=1e-5)


def test_miniboone_keeps_its_order_and_is_standardised_by_what_is_no_test_row(archive):
    splits = read("miniboone", archive)
    assert [len(part) for part in splits] == list(SIZES)
    data = np.load(io.BytesIO(FILES["miniboone/data.npy"]))
    np.testing.assert_allclose(np.concatenate(splits), standardised(data, known=180), atol=1e-5)


def test_hepmass_is_its_signal_without_columns_that_repeat(archive):
    train, test = (hepmass(rows, extra=False).query("label == 1")[["f0", "f1"]] for rows in (ROWS, 100))
    splits = read("hepmass", archive)
    held_out = len(train) // 10
    assert [len(part) for part in splits] == [len(train) - held_out, held_out, len(test)]
    expected = [(frame - train.mean()) / train.std(ddof=1) for frame in (train, test)]
    np.testing.assert_allclose(np.concatenate(splits[:2]), expected[0], atol=1e-5)
    np.testing.assert_allclose(splits.test, expected[1], atol=1e-5)


def test_bsds300_comes_as_it_is_stored(archive):
    for number, part in enumerate(read("bsds300", archive)):
        np.testing.assert_array_equal(part, np.full((3 - number, 63), number))


def test_gas_is_read_from_a_table_and_never_from_the_pickle(archive, tmp_path):
    for path in (None, archive, tmp_path):
        with pytest.raises(ValueError, match=r"does not read: a pickle can run.*gas/ethylene_CO.csv"):
            tables.load_splits("gas", path)
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, ROWS))
    twin, triplet = a + 0.01 * rng.normal(size=(2, ROWS))
    columns = {"Time": a, "Meth": a, "Eth": a, "R1": a, "R2": b, "R3": twin, "R4": c, "R5": triplet}
    (tmp_path / "gas").mkdir()
    pd.DataFrame(columns).to_csv(tmp_path / "gas" / "ethylene_CO.csv", index=False)
    splits = read("gas", tmp_path)
    assert [len(part) for part in splits] == list(SIZES)
    kept = np.stack([b, c, triplet], axis=1)  # of columns that repeat each other the last one
    expected = (kept - kept.mean(axis=0)) / kept.std(axis=0, ddof=1)
    np.testing.assert_allclose(np.concatenate(splits), expected, atol=1e-5)


def test_a_folder_serves_as_the_archive_does(archive, tmp_path):
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    for name in ("power", "hepmass", "miniboone", "bsds300"):
        for found, expected in zip(read(name, tmp_path), read(name, archive), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_archives_without_the_file_itself_are_refused(archive, tmp_path):
    pickled = np.array([{"a": 1}], dtype=object)
    cases = {
        "lacks miniboone/data.npy": {"data/power/data.npy": FILES["power/data.npy"]},
        "lacks miniboone/data.npy: is": {"data/miniboone/data.npy": None, "../data/miniboone/data.npy": b""},
        "allow_pickle=False": {"data/miniboone/data.npy": npy(pickled)},
    }
    for number, (message, members) in enumerate(cases.items()):
        path = write(tmp_path / f"{number}.tar.gz", members)
        with pytest.raises(ValueError, match=message):
            tables.load_splits("miniboone", path)
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(archive.read_bytes()[:2000])
    for path in (cut, __file__):
        with pytest.raises(ValueError, match="cannot be read as a tar"):
            tables.load_splits("bsds300", path)


@pytest.fixture
def server(archive, tmp_path, monkeypatch):
    """A server of the archive in Zenodo's place, and an empty cache."""
    monkeypatch.setenv("FLOWZOO_HOME", str(tmp_path))
    monkeypatch.setattr("pooch.core.time", types.SimpleNamespace(sleep=lambda seconds: None))
    with Hub(archive.parent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(tables, "ADDRESS", f"{server.address}/{ARCHIVE}")
        monkeypatch.setattr(tables, "KNOWN_HASH", "md5:" + hashlib.md5(archive.read_bytes()).hexdigest())
        yield server
        server.shutdown()


def test_the_archive_is_downloaded_once_and_gone_on_with(server, archive, tmp_path):
    server.faults = ["cut"]
    found, again = (read("miniboone", None) for _ in range(2))
    assert len(server.ranges) == 2
    assert re.fullmatch(r"bytes=[1-9]\d*-", server.ranges[1])
    np.testing.assert_array_equal(found.train, again.train)
    assert (tmp_path / "tables" / ARCHIVE).read_bytes() == archive.read_bytes()


def test_another_checksum_is_refused(server, tmp_path):
    server.faults = ["wrong byte"] * 9
    with pytest.raises(fetching.FetchError, match="is not the file that was expected"):
        tables.load_splits("miniboone")
    assert {path.name for path in (tmp_path / "tables").iterdir()} <= {".lock"}


def test_the_cache_is_emptied_of_it(server, tmp_path):
    from flowzoo.registry.download import clear_cache

    read("miniboone", None)
    assert clear_cache() > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "shape"), [("breast_cancer", (569, 31)), ("wine", (178, 14)), ("iris", (150, 5))]
)
def test_tables_of_scikit_learn_are_frames_with_named_classes(name, shape):
    frame = tables.load(name)
    assert frame.shape == shape
    assert frame["target"].dtype == "category"
    assert not frame.isna().any(axis=None)


def test_diabetes_has_ages_in_years_and_sex_as_a_category():
    frame = tables.load("diabetes")
    assert frame["age"].between(19, 79).all()
    assert set(frame["sex"]) == {"1", "2"}


def test_names_of_the_other_kind_are_pointed_at_its_function():
    with pytest.raises(ValueError, match=r"got 'power'.*load_splits\('power'\)"):
        tables.load("power")
    with pytest.raises(ValueError, match=r"got 'wine'.*load\('wine'\)"):
        tables.load_splits("wine")
    with pytest.raises(ValueError, match="one of 'power', 'gas'"):
        tables.load_splits("adult")
