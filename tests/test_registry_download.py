"""Downloads from a real local server that fails in every way it can."""

import errno
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import numpy
from hub_server import FILE

import flowzoo
from flowzoo.registry import RegistryError
from flowzoo.registry.folder import read_model_file


def cached_file():
    [path] = (pathlib.Path(os.environ["FLOWZOO_HOME"]) / "tiny").glob(f"*.{FILE}")
    return path


def test_a_model_is_downloaded_once_and_then_loads_offline(hub, published, monkeypatch):
    flow = flowzoo.load("tiny")
    again = flowzoo.load("tiny")
    assert hub.ranges == [None]
    monkeypatch.setenv("FLOWZOO_HUB", "http://127.0.0.1:9")
    offline = flowzoo.load("tiny")
    expected = numpy(flowzoo.load(published / "tiny").log_prob(np.ones((2, 4))))
    for found in (flow, again, offline):
        np.testing.assert_array_equal(numpy(found.log_prob(np.ones((2, 4)))), expected)
    names = {path.name for path in cached_file().parent.iterdir()}
    assert names <= {cached_file().name, "model.json", ".lock"}


def test_404_says_what_is_missing(hub):
    hub.faults = [404] * 9
    with pytest.raises(RegistryError, match="answers 404"):
        flowzoo.load("tiny")
    assert len(hub.ranges) == 1
    with pytest.raises(RegistryError, match="No pretrained model is called 'unknown'"):
        flowzoo.load("unknown")


def test_500_is_tried_again(hub):
    hub.faults = [500]
    flowzoo.load("tiny")
    assert len(hub.ranges) == 2


def test_a_cut_connection_is_resumed(hub, published):
    hub.faults = ["cut"]
    flowzoo.load("tiny")
    assert len(hub.ranges) == 2
    assert re.fullmatch(r"bytes=[1-9]\d*-", hub.ranges[1])
    assert cached_file().read_bytes() == (published / "tiny" / FILE).read_bytes()


def test_a_server_without_ranges_starts_anew(hub, published):
    hub.faults = ["cut", "no ranges"]
    flowzoo.load("tiny")
    assert cached_file().read_bytes() == (published / "tiny" / FILE).read_bytes()


def test_a_wrong_byte_is_refused_with_both_hashes(hub, published):
    hub.faults = ["wrong byte"] * 9
    expected = read_model_file(published / "tiny")["weights"]["sha256"]
    with pytest.raises(RegistryError, match=rf"expected \w*:?{expected} but got \w*:?\w{{64}}"):
        flowzoo.load("tiny")
    kept = pathlib.Path(os.environ["FLOWZOO_HOME"], "tiny")
    assert {path.name for path in kept.iterdir()} <= {"model.json", ".lock"}


def test_a_truncated_cache_file_is_deleted_and_downloaded_again(hub, monkeypatch):
    flowzoo.load("tiny")
    path = cached_file()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.warns(UserWarning, match=r"its sha256 is \w{64}, but \w{64} was expected.*deleted"):
        flowzoo.load("tiny")
    assert len(hub.ranges) == 2
    path.write_bytes(b"")
    monkeypatch.setenv("FLOWZOO_HUB", "http://127.0.0.1:9")
    with (
        pytest.warns(UserWarning, match="deleted"),
        pytest.raises(RegistryError, match="cannot be downloaded"),
    ):
        flowzoo.load("tiny")
    assert not path.exists()


def test_an_unwritable_cache_is_told_of(hub, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLOWZOO_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(RegistryError, match=r"cannot be written.*Set FLOWZOO_HOME"):
        flowzoo.load("tiny")


def test_a_full_disk_is_told_of_and_leaves_nothing(hub, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RegistryError, match=r"needs [\d,]+ bytes, and the disk is full"):
        flowzoo.load("tiny")
    home = pathlib.Path(os.environ["FLOWZOO_HOME"])
    assert {path.name for path in (home / "tiny").iterdir()} <= {"model.json", ".lock"}


# What `flowzoo.load` does before it needs Keras.
DOWNLOAD = """
import sys
sys.argv = ["flowzoo"]  # as the command, which does not wait for Keras
import flowzoo
from flowzoo.registry.download import find_weights
print(find_weights(flowzoo.info("tiny")), end="")
"""


def start_download():
    return subprocess.Popen([sys.executable, "-c", DOWNLOAD], stdout=subprocess.PIPE, text=True)


def test_eight_processes_download_once(hub, published):
    runs = [start_download() for _ in range(8)]
    for run in runs:
        assert run.communicate(timeout=300)[0] == str(cached_file())
    assert cached_file().read_bytes() == (published / "tiny" / FILE).read_bytes()
    assert len(hub.ranges) == 1


def test_a_killed_download_is_gone_on_with(hub, published):
    hub.faults = ["slow"]
    run = start_download()
    home = pathlib.Path(os.environ["FLOWZOO_HOME"])
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size for path in home.glob("*/*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    flowzoo.load("tiny")
    assert hub.ranges[1] is not None
    assert {path.name for path in (home / "tiny").iterdir()} <= {cached_file().name, "model.json", ".lock"}


@pytest.mark.parametrize("file", ["../../escaped", "/tmp/escaped", "model.pkl"])
def test_weights_files_of_other_names_are_refused(published, tmp_path, file):
    facts = read_model_file(published / "tiny")
    facts["weights"]["file"] = file
    (tmp_path / "model.json").write_text(json.dumps(facts))
    with pytest.raises(RegistryError, match="'file' of the weights"):
        flowzoo.load(tmp_path)


def test_mutated_models_load_or_are_refused():
    from fuzz_registry import fuzz

    found = fuzz(100, seed=1)
    assert found["loaded"] + found["refused"] == 100
    assert found["loaded"] > 10
    assert found["refused"] > 10
