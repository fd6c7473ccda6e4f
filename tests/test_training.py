"""Training by recipes, and measuring again."""

import csv
import json
import re

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers import numpy
from recipes import RECIPE, glow_recipe, run

import flowzoo
from flowzoo import registry, training
from flowzoo.registry.architecture import build
from flowzoo.registry.folder import read_model_file
from flowzoo.training.callbacks import EpochSeconds
from flowzoo.training.checkpoints import Checkpoints


def test_training_publishes_a_complete_folder(model_folder):
    assert {path.name for path in model_folder.iterdir()} == {
        ".eval_results",
        "README.md",
        "model.json",
        "model.weights.h5",
        "samples.png",
        "training.csv",
        "training.png",
    }
    facts = read_model_file(model_folder)
    assert facts["weights"]["bytes"] == (model_folder / "model.weights.h5").stat().st_size
    assert facts["metrics"]["examples"] == 100
    assert facts["parameters"] == flowzoo.load(model_folder).count_params() - 784 - 1
    assert len((model_folder / "training.csv").read_text().splitlines()) == 3
    card = (model_folder / "README.md").read_text()
    assert f"{facts['metrics']['bits_per_dim']:.3f}" in card
    assert "1980.5 nats" in card
    assert facts["weights"]["sha256"] in card


def test_a_card_holds_samples_to_real_images(model_folder, mock_mnist):
    facts = read_model_file(model_folder)
    found = facts["statistics"]
    images, _ = flowzoo.datasets.load_arrays("mnist", "test")
    assert (found["count"], found["temperature"]) == (100, 1.0)
    samples = flowzoo.load(model_folder).sample(100, seed=0, batch_size=64)
    for of, x in (("images", images), ("samples", numpy(samples))):
        assert found[of] == pytest.approx(flowzoo.metrics.image_statistics(x), rel=1e-3)
    row = f"| share of values 0 | {found['samples']['black']:.3g} | {found['images']['black']:.3g} |"
    assert row in (model_folder / "README.md").read_text().splitlines()


def test_evaluating_again_gives_the_figures_of_the_card(model_folder, mock_mnist):
    card = read_model_file(model_folder)["metrics"]
    measured = training.evaluate_pretrained("tiny-mnist")
    assert measured["split"] == card["split"]
    np.testing.assert_allclose(measured["bits_per_dim"], card["bits_per_dim"], rtol=1e-5)
    np.testing.assert_allclose(
        measured["log_likelihood_unit"],
        measured["log_likelihood_pixels"] + 784 * np.log(256),
        rtol=1e-5,
    )


def test_interrupted_training_goes_on_as_if_it_had_not_been(trained, tmp_path, mock_mnist, monkeypatch):
    folder = tmp_path / "tiny-mnist"
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps(RECIPE))
    original = Checkpoints.on_epoch_end

    def interrupt_after_one_epoch(self, epoch, logs=None):
        if epoch == 1:
            (self.folder / "partial").mkdir()
            raise KeyboardInterrupt
        original(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "on_epoch_end", interrupt_after_one_epoch)
        with pytest.raises(KeyboardInterrupt):
            training.train(folder, folder, verbose=0)
    assert not (folder / "model.weights.h5").exists()
    with pytest.raises(ValueError, match="holds 1 epochs of a training by another recipe"):
        training.train(folder, folder, verbose=0, epochs=3)
    training.train(folder, folder, verbose=0)
    rows, expected = (
        [[float(row[key]) for key in ("epoch", "loss", "val_loss")] for row in csv.DictReader(path.open())]
        for path in (folder / "training.csv", trained / "training.csv")
    )
    np.testing.assert_allclose(rows, expected, rtol=1e-6)  # the noise of dequantisation went on too
    for weight, of_other in zip(
        flowzoo.load(folder).get_weights(), flowzoo.load(trained).get_weights(), strict=True
    ):
        np.testing.assert_allclose(weight, of_other, atol=1e-4)


@pytest.mark.parametrize(("asked", "used"), [(None, "mixed_bfloat16"), ("float32", "float32")])
def test_a_gpu_means_mixed_precision(asked, used, tmp_path, mock_mnist, monkeypatch, capsys):
    monkeypatch.setattr(flowzoo.backend, "has_gpu", lambda: True)
    monkeypatch.setattr(flowzoo.backend, "prefers_xla", lambda convolutions: False)  # it compiles for long
    folder = tmp_path / "tiny-mnist"
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps(RECIPE))
    facts = training.train(folder, folder, epochs=1, dtype_policy=asked, verbose=2)
    assert f"backend, {used}, with" in capsys.readouterr().out
    assert facts["recipe"]["dtype_policy"] == used
    assert keras.config.dtype_policy().name == "float32"


def test_class_conditional_flows_train_on_labels(tmp_path, mock_mnist):
    folder = glow_recipe(tmp_path / "tiny-glow", epochs=1)
    facts = training.train(folder, folder, verbose=0)
    assert facts["samples"] == {"count": 60, "temperature": 1.0}
    card = (folder / "README.md").read_text()
    assert "60 samples at temperature 1, seed 0, a class a column." in card
    assert "flow.sample(16, context=7, seed=0)" in card
    assert "mirrored at random" in card
    assert flowzoo.load(folder).sample(2, context=7).shape == (2, 28, 28, 1)


def test_averaged_weights_are_validated_and_published(tmp_path, mock_mnist):
    config = {"learning_rate": 0.01, "use_ema": True, "ema_momentum": 0.5}
    folder = glow_recipe(tmp_path / "tiny-glow", optimizer={"class_name": "Adam", "config": config})
    training.train(folder, folder, verbose=0)
    with open(folder / "training.csv", newline="") as file:
        best = min(float(row["val_loss"]) for row in csv.DictReader(file))
    images, labels = flowzoo.datasets.load_arrays("mnist", "train")
    found = -numpy(flowzoo.load(folder).log_prob(images[-20:], labels[-20:], seed=0)).mean()
    assert abs(found - best) < 0.003 * abs(best)  # another draw of the noise, and 16 bits
    assert "averaged over steps (EMA)" in (folder / "README.md").read_text()


def test_attributes_become_directions_and_pictures(tmp_path):
    folder = tmp_path / "tiny-celeba"
    folder.mkdir()
    facts = {
        **RECIPE,
        "name": "tiny-celeba",
        "class": "Glow",
        "config": {"event_shape": [8, 8, 3], "levels": 2, "steps": [1, 2], "hidden_channels": 4},
        "data": {
            "name": "celeb_a",
            "size": 8,
            "train": "train",
            "test": "test",
            "attributes": ["Smiling", "Male"],
            "note": "made up",
        },
        "recipe": {**RECIPE["recipe"], "epochs": 1, "initialization_examples": 50},
        "samples": {"temperature": 0.7},
    }
    (folder / "model.json").write_text(json.dumps(facts))
    with tfds.testing.mock_data(num_examples=60):
        facts = training.train(folder, folder, verbose=0)
        images, smiling = flowzoo.datasets.load_arrays("celeb_a", "train", size=8, labels="Smiling")
    flow = flowzoo.load(folder)
    found = registry.attribute_directions(folder)
    assert list(found) == ["Smiling", "Male"]
    expected = flow.attribute_direction(images[smiling == 1], images[:40], seed=0)
    np.testing.assert_allclose(found["Smiling"], expected, rtol=2e-3, atol=2e-3)
    assert flow.manipulate(images[:2], found["Male"]).shape == (2, 5, 8, 8, 3)
    assert {"interpolations.png", "attributes.png"} <= {path.name for path in folder.iterdir()}
    card = (folder / "README.md").read_text()
    assert "rows 1 to 4 'Smiling'; rows 5 to 8 'Male'" in " ".join(card.split())
    assert "Data: celeb_a, made up; licence not stated." in card
    assert json.loads(run("info", folder).output)["directions"] == ["Male", "Smiling"]
    for text in ("no base64!", "AHw=", 3):  # AHw= is infinity
        (folder / "model.json").write_text(json.dumps({**facts, "directions": {"Smiling": text}}))
        with pytest.raises(registry.RegistryError, match="must map names to finite float16 numbers"):
            registry.attribute_directions(folder)


def test_diverging_training_stops_and_goes_on_from_the_last_good_epoch(tmp_path, mock_mnist, monkeypatch):
    folder = glow_recipe(tmp_path / "tiny-glow", epochs=3)
    original = EpochSeconds.on_epoch_begin
    good = []

    def poison(self, epoch, logs=None):
        original(self, epoch, logs)
        if epoch == 1:
            good.extend(self.model.get_weights())
            self.model.trainable_weights[0].assign(self.model.trainable_weights[0] * float("nan"))

    with monkeypatch.context() as patch:
        patch.setattr(EpochSeconds, "on_epoch_begin", poison)
        with pytest.raises(
            RuntimeError, match=r"the loss became nan in epoch 2, batch 1\. The state after epoch 1"
        ):
            training.train(folder, folder, verbose=0)
    assert not (folder / "model.weights.h5").exists()
    kept = build(read_model_file(folder))
    kept.load_weights(folder / ".training" / "epoch-00001" / "best.weights.h5")
    for weight, expected in zip(kept.get_weights(), good, strict=True):
        np.testing.assert_array_equal(weight, expected)
    training.train(folder, folder, verbose=0)
    rows = (folder / "training.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "0", "1", "2"]


def test_command_evaluate_prints_the_card_beside(model_folder, mock_mnist):
    result = run("evaluate", "tiny-mnist")
    assert result.exit_code == 0, result.output
    figures = re.search(r"bits_per_dim\s*.\s*([\d.]+)\s*.\s*([\d.]+)", result.output)
    assert figures.group(1) == figures.group(2)


def test_command_train_writes_a_model(model_folder, tmp_path, mock_mnist):
    out = tmp_path / "new"
    result = run("train", "tiny-mnist", "--out", out, "--epochs", 1)
    assert result.exit_code == 0, result.output
    assert read_model_file(out)["recipe"]["epochs"] == 1
    assert read_model_file(out)["version"] == 2  # above that of the model which was trained again
    assert "bits/dim" in result.output


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": None}, "model.json of tiny-mnist lacks recipe"),
        ({"data": None}, "model.json of tiny-mnist lacks data"),
        ({"data": {"name": "mnist", "train": "train"}}, "lacks data.test"),
        (
            {"data": {"name": "two_moons", "train": "train", "test": "test"}},
            "data.points .* must be numbers of",
        ),
        ({"recipe": {"epochs": 1}}, "lacks recipe.seed, recipe.validation_examples, recipe.batch_size"),
        ({"recipe": {**RECIPE["recipe"], "optimizer": "adam"}}, "recipe.optimizer .* must be an object such"),
        (
            {"recipe": {**RECIPE["recipe"], "validation_examples": -1}},
            "must be an integer of 0 or more; got -1",
        ),
        (
            {"recipe": {**RECIPE["recipe"], "epochs": "two"}},
            "recipe.epochs .* an integer of 1 or more; got 'two'",
        ),
        ({"recipe": {**RECIPE["recipe"], "validation_examples": 100}}, "leaves too few for training"),
    ],
)
def test_folders_that_lack_what_a_training_needs_are_explained(changes, message, tmp_path, mock_mnist):
    folder = tmp_path / "tiny-mnist"
    folder.mkdir()
    facts = {key: value for key, value in {**RECIPE, **changes}.items() if value is not None}
    (folder / "model.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=message):
        training.train(folder, tmp_path / "out", verbose=0)
    if "data" in changes:
        with pytest.raises(registry.RegistryError, match=message):
            training.evaluate_pretrained(folder)


def test_without_validation_examples_the_training_loss_decides(tmp_path, mock_mnist):
    folder = tmp_path / "tiny-mnist"
    folder.mkdir()
    facts = {**RECIPE, "recipe": {**RECIPE["recipe"], "validation_examples": 0}}
    (folder / "model.json").write_text(json.dumps(facts))
    facts = training.train(folder, folder, verbose=0)
    assert facts["training"]["examples"] == 100
    with open(folder / "training.csv", newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 2
    assert facts["training"]["best_epoch"] == 1 + int(np.argmin(losses))
    card = " ".join((folder / "README.md").read_text().split())
    assert "of the epoch of the best loss on these images, none of which were held out, were kept" in card
