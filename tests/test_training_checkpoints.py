import csv
import json
import signal
import subprocess
import sys
import time

import matplotlib.pyplot as plt
import numpy as np
import pytest
from typer.testing import CliRunner

import flowzoo
from flowzoo import cli, training
from flowzoo.datasets import TwoMoons

RECIPE = {
    "name": "tiny-moons",
    "description": "A RealNVP of a few weights, for tests.",
    "class": "RealNVP",
    "config": {"event_shape": [2], "couplings": 4, "hidden_units": [32], "log_scale_bound": 2.0},
    "data": {
        "name": "two_moons",
        "train": "train",
        "test": "test",
        "points": {"train": 5500, "test": 2000},
        "licence": "Apache-2.0",
    },
    "recipe": {
        "seed": 0,
        "validation_examples": 500,
        "epochs": 8,
        "batch_size": 50,
        "warmup_steps": 50,
        "optimizer": {"class_name": "Adam", "config": {"learning_rate": 0.003}},
        "dtype_policy": "float32",
        "jit_compile": False,
    },
}
COMMAND = [sys.executable, "-c", "from flowzoo.cli import main; main()", "train"]


def make_recipe(folder):
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps(RECIPE))
    return [*COMMAND, str(folder), "--out", str(folder)]


def rows(folder):
    if not (folder / "training.csv").exists():
        return []
    with open(folder / "training.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_killed_training_goes_on_and_ends_as_well(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = make_recipe(killed)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while len(rows(killed)) < 2:
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = rows(killed)
    assert 2 <= len(before) < 8
    assert not (killed / "model.weights.h5").exists()

    subprocess.run(command, check=True, capture_output=True)
    assert rows(killed)[: len(before)] == before
    assert len(rows(killed)) == 8
    assert not (killed / ".training").exists()

    make_recipe(whole)
    training.train(whole, whole, verbose=0)
    losses = [[float(row["val_loss"]) for row in rows(folder)] for folder in (killed, whole)]
    np.testing.assert_allclose(*losses, rtol=1e-3)
    metrics = [flowzoo.info(folder)["metrics"] for folder in (killed, whole)]
    assert metrics[0]["examples"] == 2000
    assert abs(metrics[0]["log_likelihood"] - metrics[1]["log_likelihood"]) < 0.01
    assert metrics[0]["entropy"] == TwoMoons().entropy() < 0.1 - metrics[0]["log_likelihood"]
    assert "the data's true entropy | 1.8" in (killed / "README.md").read_text()

    picture = tmp_path / "points.png"
    result = CliRunner().invoke(cli.app, ["sample", str(whole), "-n", "50", "--out", str(picture)])
    assert result.exit_code == 0, result.output
    assert plt.imread(picture).shape == (400, 400, 4)
