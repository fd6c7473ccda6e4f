"""Several devices: two virtual CPU devices in one process, and two processes on this machine."""

import os
import pathlib
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

import flowzoo
from flowzoo import backend
from flowzoo.training.devices import find_devices

PROGRAM = pathlib.Path(__file__).parent / "several_devices.py"


def started(log, *arguments):
    """The program in a process of its own, whose output goes to the file `log`."""
    return subprocess.Popen(
        [sys.executable, PROGRAM, *map(str, arguments)],
        env={
            **os.environ,
            "KERAS_BACKEND": backend.name,
            "CUDA_VISIBLE_DEVICES": "",
            "TF_NUM_INTEROP_THREADS": "4",
        },
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
    )


def finish(processes, logs, timeout=600):
    """Waits for all, or until one fails; none outlives it."""
    give_up = time.monotonic() + timeout
    try:
        while any(process.poll() is None for process in processes) and time.monotonic() < give_up:
            if any(process.poll() for process in processes):
                break
            time.sleep(0.1)
        codes = [process.poll() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert codes == [0] * len(processes), "\n\n".join(log.read_text()[-3000:] for log in logs)


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


def check_trained(folder, hardware):
    facts = flowzoo.info(folder)
    assert facts["training"]["hardware"].startswith(hardware)
    assert facts["training"]["examples"] == 200
    assert len((folder / "training.csv").read_text().splitlines()) == 3
    assert np.isfinite(np.asarray(flowzoo.load(folder).log_prob(np.zeros((1, 2))))).all()


def check_same(found, others):
    """Weights and losses of several devices are those of one, and training moved the weights."""
    for name in ("MAF", "RealNVP", "ResNet", "Glow"):
        start, one, together = (
            weights(*where)
            for where in ((found, name, "start"), (found, name, "one"), (others, name, "together"))
        )
        moved = [np.abs(a - b).max() for a, b in zip(start, one, strict=True)]
        assert np.mean(np.array(moved) > 0.01) > 0.25, name
        for weight, expected in zip(together, one, strict=True):
            np.testing.assert_allclose(weight, expected, atol=1e-4, rtol=0, err_msg=name)
        losses = others[f"{name} together losses"]
        np.testing.assert_allclose(losses, found[f"{name} one losses"], rtol=1e-5, err_msg=name)


def weights(found, name, kind):
    count = sum(key.startswith(f"{name} {kind} ") and key[-1].isdigit() for key in found)
    return [found[f"{name} {kind} {i}"] for i in range(count)]


@pytest.mark.slow
def test_several_devices_train_as_one(tmp_path):
    out = tmp_path / "found.npz"
    log = tmp_path / "log.txt"
    finish([started(log, out, 2)], [log])
    found = dict(np.load(out))
    check_same(found, found)
    check_trained(tmp_path / "trained", hardware="2 CPU devices of")

    # On pixels each device draws its own noise.
    assert found["losses"][-1] < found["losses"][0] - 0.1
    noise = found["noise"].reshape(len(found["noise"]), -1)
    assert len(np.unique(noise, axis=0)) == len(noise)

    two = tmp_path / "two"
    two.mkdir()
    port = free_port()
    outs, logs = ([two / f"{machine}.{kind}" for machine in (0, 1)] for kind in ("npz", "txt"))
    finish([started(logs[i], outs[i], 1, i, port) for i in (0, 1)], logs)
    for out in outs:
        check_same(found, dict(np.load(out)))
    check_trained(two / "trained", hardware="2 machines with 1 CPU device of")


def test_more_devices_than_there_are_are_explained():
    with pytest.raises(ValueError, match=r"devices=1000, but .* finds .* Give at most"):
        find_devices(1000)
    with pytest.raises(ValueError, match="devices must be a positive integer"):
        find_devices(0)
