"""Training and measuring on a file of arrays, without TFDS."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers import run_python, without
from recipes import RECIPE, glow_recipe, run

import flowzoo
from flowzoo import training
from flowzoo.registry.folder import read_model_file
from flowzoo.training.data import reader

ALONE = without("tensorflow", "tf_keras", "tensorflow_datasets")


@pytest.fixture
def data_file(trained, tmp_path):
    path = tmp_path / "digits.npz"
    shapes = training.write_data(trained, path)
    assert shapes == {"train": (100, 28, 28, 1), "test": (100, 28, 28, 1)}
    return path


def changed(path, **arrays):
    """The file with other arrays; those given as None are left out."""
    arrays = {**np.load(path), **arrays}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_a_file_gives_what_tfds_gives(trained, data_file, monkeypatch):
    facts = read_model_file(trained)
    expected = [reader(facts)(role, True) for role in ("train", "test")]
    monkeypatch.setattr(tfds, "load", None)
    for role, (images, _) in zip(("train", "test"), expected, strict=True):
        np.testing.assert_array_equal(reader(facts, file=data_file)(role)[0], images)
    measured = training.evaluate_pretrained(trained, data_file=data_file)
    assert measured.keys() == facts["metrics"].keys()
    np.testing.assert_allclose(measured["bits_per_dim"], facts["metrics"]["bits_per_dim"], rtol=1e-5)


def test_commands_train_and_evaluate_without_tensorflow(data_file, model_folder, tmp_path):
    pytest.importorskip("jax")
    code = """
from typer.testing import CliRunner
from flowzoo import cli
model, data, out = sys.argv[1:]
for arguments in (["train", model, "--data", data, "--out", out], ["evaluate", out, "--data", data]):
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
assert not {"tensorflow", "tensorflow_datasets"} & set(sys.modules)
print(result.output)
"""
    out = tmp_path / "out"
    printed = run_python(ALONE + code, model_folder, data_file, out, KERAS_BACKEND="jax")
    facts = read_model_file(out)
    assert facts["training"]["backend"] == "jax"
    [row] = [line for line in printed.splitlines() if "bits_per_dim" in line]
    assert row.count(f"{facts['metrics']['bits_per_dim']:.4f}") == 2
    assert {"README.md", "model.weights.h5", "samples.png"} <= {path.name for path in out.iterdir()}


def test_a_file_has_labels_and_attributes(tmp_path, mock_mnist):
    folder = glow_recipe(tmp_path / "tiny-glow")
    result = run("data", folder, "--out", tmp_path / "glow.npz")
    assert "train_labels (100,)" in result.output
    images, labels = flowzoo.datasets.load_arrays("mnist", "test")
    arrays = np.load(tmp_path / "glow.npz")
    np.testing.assert_array_equal(arrays["test"], images)
    np.testing.assert_array_equal(arrays["test_labels"], labels)

    facts = {
        **RECIPE,
        "name": "tiny-celeba",
        "config": {**RECIPE["config"], "event_shape": [8, 8, 3]},
        "data": {"name": "celeb_a", "size": 8, "train": "train", "test": "test", "attributes": ["Smiling"]},
    }
    folder = tmp_path / "tiny-celeba"
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps(facts))
    training.write_data(folder, tmp_path / "faces.npz")
    images, smiling = flowzoo.datasets.load_arrays("celeb_a", "train", size=8, labels="Smiling")
    arrays = np.load(tmp_path / "faces.npz")
    assert set(arrays) == {"data", "train", "train_Smiling", "test"}
    np.testing.assert_array_equal(arrays["train"], images)
    np.testing.assert_array_equal(arrays["train_Smiling"], smiling)


def test_files_that_do_not_fit_are_refused(data_file, trained, tmp_path, mock_mnist):
    def evaluate(folder=trained, file=data_file):
        return training.evaluate_pretrained(folder, data_file=file)

    glow = glow_recipe(tmp_path / "tiny-glow", epochs=1)
    with pytest.raises(ValueError, match="has no array 'train_labels', which tiny-mnist needs"):
        training.train(glow, glow, data_file=data_file, verbose=0)
    changed(data_file, data=np.array(json.dumps({"name": "cifar10"})))
    with pytest.raises(ValueError, match=r"holds the data {'name': 'cifar10'}, but tiny-mnist is of"):
        evaluate()
    changed(data_file, data=None, test=np.zeros((3, 28, 28, 1), "uint8"))
    assert evaluate()["examples"] == 3  # a file of one's own
    changed(data_file, test=np.zeros((3, 8, 8, 1), "uint8"))
    with pytest.raises(ValueError, match="28, 28, 1"):
        evaluate()
    data_file.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"is no .npz file of arrays"):
        evaluate()
    with pytest.raises(ValueError, match=r"go into a .npz file in a folder that exists"):
        training.write_data(trained, tmp_path / "none" / "digits.npz")
