"""Several devices: four virtual CPU devices in one process, and two processes on this machine."""

import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

import flowzoo
from flowzoo import backend
from flowzoo.registry.devices import find_devices

PROGRAM = pathlib.Path(__file__).parent / "several_devices.py"


def started(*arguments):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env={
            **os.environ,
            "KERAS_BACKEND": backend.name,
            "CUDA_VISIBLE_DEVICES": "",
            "TF_NUM_INTEROP_THREADS": "4",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes, timeout=600):
    """Waits for all; returns what each printed. None outlives a failure."""
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output[-3000:]
    return outputs


def free_port():
    """The first of two neighbouring free ports."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("localhost", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("localhost", port + 1))
            except OSError:
                continue
            return port


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What came of 20 steps on one device and on four, and a folder trained by its recipe on four."""
    out = tmp_path_factory.mktemp("devices") / "found.npz"
    finish(started(PROGRAM, out, 4))
    check_trained(out.parent / "trained", hardware="4 CPU devices of")
    return dict(np.load(out))


def check_trained(folder, hardware):
    facts = flowzoo.info(folder)
    assert facts["training"]["hardware"].startswith(hardware)
    assert facts["training"]["examples"] == 200
    assert len((folder / "training.csv").read_text().splitlines()) == 3
    assert np.isfinite(np.asarray(flowzoo.load(folder).log_prob(np.zeros((1, 2))))).all()


def check_same(name, found, others):
    """Weights and losses of several devices are those of one, and training moved the weights."""
    start, one = weights(found, name, "start"), weights(found, name, "one")
    assert max(np.abs(a - b).max() for a, b in zip(start, one, strict=True)) > 0.05
    for weight, expected in zip(weights(others, name, "together"), one, strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-4, rtol=0)
    np.testing.assert_allclose(others[f"{name} together losses"], found[f"{name} one losses"], rtol=1e-5)


def weights(found, name, kind):
    count = sum(key.startswith(f"{name} {kind} ") and key[-1].isdigit() for key in found)
    return [found[f"{name} {kind} {i}"] for i in range(count)]


@pytest.mark.parametrize("name", ["MAF", "RealNVP", "Glow"])
def test_four_devices_train_as_one(name, found):
    check_same(name, found, found)


def test_two_processes_train_as_one_device(found, tmp_path):
    port = free_port()
    outs = [tmp_path / f"{machine}.npz" for machine in (0, 1)]
    finish(*[started(PROGRAM, out, 1, machine, port) for machine, out in enumerate(outs)])
    for out in outs:
        for name in ("MAF", "RealNVP", "Glow"):
            check_same(name, found, dict(np.load(out)))
    check_trained(tmp_path / "trained", hardware="2 machines with 1 CPU device of")


def test_glow_trains_on_pixels_and_each_device_draws_its_own_noise(found):
    assert found["losses"][-1] < found["losses"][0] - 0.1
    noise = found["noise"].reshape(len(found["noise"]), -1)
    assert len(np.unique(noise, axis=0)) == len(noise)


def test_more_devices_than_there_are_are_explained():
    with pytest.raises(ValueError, match=r"devices=1000, but .* finds .* Give at most"):
        find_devices(1000)
    with pytest.raises(ValueError, match="devices must be a positive integer"):
        find_devices(0)
