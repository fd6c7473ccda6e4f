"""Training variational autoencoders by recipes, and measuring them again."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers import numpy, run_python
from recipes import CONFIGS_OF_VAES, RECIPE
from typer.testing import CliRunner

import flowzoo
from flowzoo import cli, registry, training
from flowzoo.datasets import binarize, load_arrays
from flowzoo.registry.folder import read_model_file


def recipe(kind):
    """The recipe of a small model of the class `kind`."""
    data = {"name": "mnist", "train": "train", "test": "test", "importance_samples": 10}
    if kind == "IAFVAE":
        data["binarize"] = True
    return {
        "name": f"tiny-{kind.lower()}",
        "class": kind,
        "config": CONFIGS_OF_VAES[kind],
        "data": data,
        "recipe": RECIPE["recipe"],
        "licence": "Apache-2.0",
    }


@pytest.fixture(scope="module", params=CONFIGS_OF_VAES)
def trained(request, tmp_path_factory):
    """The folder of a model that was trained by its recipe on made-up data."""
    with tfds.testing.mock_data(num_examples=100):
        facts = recipe(request.param)
        folder = tmp_path_factory.mktemp("models") / facts["name"]
        folder.mkdir()
        (folder / "model.json").write_text(json.dumps(facts))
        training.train(folder, folder, verbose=0)
        yield folder


def test_training_publishes_a_complete_folder(trained):
    assert {path.name for path in trained.iterdir()} == {
        ".eval_results",
        "README.md",
        "model.json",
        "model.weights.h5",
        "samples.png",
        "training.csv",
        "training.png",
    }
    metrics = read_model_file(trained)["metrics"]
    assert metrics["examples"] == 100
    assert metrics["log_likelihood"] > metrics["elbo"]
    card = (trained / "README.md").read_text()
    assert "with 10 importance samples an image" in " ".join(card.split())
    assert f"{metrics['log_likelihood']:.2f} nats" in card
    assert f"{metrics['elbo']:.2f} nats" in card
    if trained.name == "tiny-fvae":
        assert f"{metrics['psnr']:.2f} dB" in card
    else:
        assert "binarised anew in each epoch" in " ".join(card.split())
        assert "bits_per_dim" not in metrics


def test_evaluating_again_gives_the_figures_of_the_card(trained):
    seen = []
    measured = training.evaluate_pretrained(trained, progress=seen.append)
    card = read_model_file(trained)["metrics"]
    assert seen == [100]
    assert measured.keys() == card.keys()
    assert measured.pop("split") == card.pop("split")
    np.testing.assert_allclose(list(measured.values()), list(card.values()), rtol=1e-5)


def test_the_figures_are_means_over_the_images(trained):
    vae = flowzoo.load(trained)
    images, _ = load_arrays("mnist", "test", labels=None)
    images = images if vae.is_image_flow else binarize(images)
    found = vae.measure(images, importance_samples=5, seed=0, batch_size=30)
    parts = [
        (numpy(vae.log_prob(part, num_importance_samples=5, seed=start)), numpy(vae.elbo(part, seed=start)))
        for start, part in ((start, images[start : start + 30]) for start in range(0, 100, 30))
    ]
    log_prob, elbo = (np.concatenate(values) for values in zip(*parts, strict=True))
    np.testing.assert_allclose(found["log_likelihood"], log_prob.mean(), rtol=1e-6)
    np.testing.assert_allclose(found["elbo"], elbo.mean(), rtol=1e-6)
    if vae.is_image_flow:
        np.testing.assert_allclose(found["bits_per_dim"], -log_prob.mean() / 784 / np.log(2), rtol=1e-6)
        error = (images - numpy(vae.reconstruct(images)).astype("float64")) ** 2
        psnr = 10 * np.log10(255**2 / error.mean(axis=(1, 2, 3)))
        np.testing.assert_allclose(found["psnr"], psnr.mean(), rtol=1e-6)


def test_verify_and_commands(trained, tmp_path):
    assert registry.verify(trained) < 1e-5
    out = tmp_path / "grid.png"
    result = CliRunner().invoke(
        cli.app, ["sample", str(trained), "-n", "4", "--seed", "0", "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    assert out.stat().st_size > 0


FINGERPRINT = """
import json, sys
import flowzoo
print(json.dumps(flowzoo.load(sys.argv[1]).fingerprint()))
"""


@pytest.mark.parametrize("other", ["tensorflow", "jax"])
def test_fingerprints_are_alike_on_both_backends(trained, other):
    pytest.importorskip(other)
    found = json.loads(run_python(FINGERPRINT, trained, KERAS_BACKEND=other).splitlines()[-1])
    np.testing.assert_allclose(found, read_model_file(trained)["fingerprint"], rtol=1e-4)
