import json
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from cases import VAES
from helpers import numpy, run_python
from test_registry import RECIPE
from typer.testing import CliRunner

import flowzoo
from flowzoo import cli, registry
from flowzoo.datasets import binarize, load_arrays
from flowzoo.registry.architecture import check_config, estimated_size
from flowzoo.registry.fingerprint import fingerprint
from flowzoo.registry.folder import read_model_file
from flowzoo.registry.vae import evaluate_vae
from flowzoo.testing import perturb

CONFIGS = {
    "IAFVAE": {
        "event_shape": [28, 28, 1],
        "latent_size": 4,
        "context_size": 4,
        "hidden_units": [8],
        "hidden_channels": 8,
        "dense_units": 8,
    },
    "FVAE": {
        "event_shape": [28, 28, 1],
        "latent_channels": 4,
        "levels": 1,
        "hidden_channels": 8,
        "steps": 1,
        "flow_channels": 8,
    },
}
CATALOGUE = [name for name in VAES if type(VAES[name]()).__name__ in CONFIGS]


def recipe(kind):
    """The recipe of a small model of the class `kind`."""
    data = {"name": "mnist", "train": "train", "test": "test", "importance_samples": 10}
    if kind == "IAFVAE":
        data["binarize"] = True
    return {
        "name": f"tiny-{kind.lower()}",
        "class": kind,
        "config": CONFIGS[kind],
        "data": data,
        "recipe": RECIPE["recipe"],
        "licence": "Apache-2.0",
    }


@pytest.fixture(scope="module", params=CONFIGS)
def trained(request, tmp_path_factory):
    """The folder of a model that was trained by its recipe on made-up data."""
    with tfds.testing.mock_data(num_examples=100):
        facts = recipe(request.param)
        folder = tmp_path_factory.mktemp("models") / facts["name"]
        folder.mkdir()
        (folder / "model.json").write_text(json.dumps(facts))
        registry.train(folder, folder, verbose=0)
        yield folder


def test_training_publishes_a_complete_folder(trained):
    assert {path.name for path in trained.iterdir()} == {
        "README.md",
        "model.json",
        "model.weights.h5",
        "samples.png",
        "training.csv",
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
    from flowzoo.registry.recipe import evaluate_pretrained

    seen = []
    measured = evaluate_pretrained(trained, progress=seen.append)
    card = read_model_file(trained)["metrics"]
    assert seen == [100]
    assert measured.keys() == card.keys()
    assert measured.pop("split") == card.pop("split")
    np.testing.assert_allclose(list(measured.values()), list(card.values()), rtol=1e-5)


def test_the_figures_are_means_over_the_images(trained):
    vae = flowzoo.load(trained)
    images, _ = load_arrays("mnist", "test", labels=None)
    images = images if vae.is_image_flow else binarize(images)
    found = evaluate_vae(vae, images, num_importance_samples=5, batch_size=30)
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


@pytest.mark.parametrize("name", CATALOGUE)
def test_models_are_saved_and_loaded(name, tmp_path):
    vae = VAES[name]()
    perturb(vae, scale=0.1)
    vae.save_pretrained(tmp_path / "mine", dtype="float32")
    loaded = flowzoo.load(tmp_path / "mine")
    assert fingerprint(loaded) == pytest.approx(fingerprint(vae), rel=1e-5)
    assert "flow.reconstruct(images)" in (tmp_path / "mine" / "README.md").read_text()


FINGERPRINT = """
import json, sys
import flowzoo
from flowzoo.registry.fingerprint import fingerprint
print(json.dumps(fingerprint(flowzoo.load(sys.argv[1]))))
"""


@pytest.mark.parametrize("other", ["tensorflow", "jax"])
def test_fingerprints_are_alike_on_both_backends(trained, other):
    pytest.importorskip(other)
    found = json.loads(run_python(FINGERPRINT, trained, KERAS_BACKEND=other).splitlines()[-1])
    np.testing.assert_allclose(found, read_model_file(trained)["fingerprint"], rtol=1e-4)


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_model_of_the_catalogue_is_thought_absurd(name):
    vae = VAES[name]()
    config = {
        key: value for key, value in vae.get_config().items() if key not in ("name", "trainable", "dtype")
    }
    config = json.loads(json.dumps(config))
    check_config({"name": "mine", "class": type(vae).__name__, "config": config, "weights": {"bytes": 1}})
    _, weights = estimated_size(config)
    assert vae.count_params() / 8 < weights < 8 * vae.count_params()


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("IAFVAE", {"latent_size": 0}),
        ("IAFVAE", {"posterior": ["iaf"]}),
        ("IAFVAE", {"warmup_steps": -1}),
        ("IAFVAE", {"hidden_units": [2**16, 2**16]}),
        ("IAFVAE", {"autoregressive_layers": 2**16}),
        ("FVAE", {"flow": "flow"}),
        ("FVAE", {"likelihood_scale": "32"}),
        ("FVAE", {"levels": 1000}),
        ("FVAE", {"latent_channels": 2**16, "flow_channels": 2**16}),
    ],
)
def test_strange_configs_are_refused(kind, config):
    facts = {"name": "mine", "class": kind, "config": {**CONFIGS[kind], **config}}
    with pytest.raises(registry.RegistryError, match=r"of a wrong type or size|absurdly large"):
        check_config(facts)


# The models that flowzoo ships.

CHECKOUT = pathlib.Path(__file__).parents[1] / "pretrained"


@pytest.mark.skipif(not (CHECKOUT / "iaf-vae-mnist").is_dir(), reason="the checkout's models are not here")
def test_shipped_iaf_vae():
    vae = flowzoo.load("iaf-vae-mnist")
    digits = np.load(pathlib.Path(__file__).parent / "mnist_digits.npz")["images"]  # of the test split
    nats = numpy(vae.log_prob(binarize(digits), num_importance_samples=50, seed=0))
    # Their mean lies within the spread of single images around the card's.
    assert abs(nats.mean() - flowzoo.info("iaf-vae-mnist")["metrics"]["log_likelihood"]) < 15
    samples = numpy(vae.sample(20, seed=0))
    assert samples.shape == (20, 28, 28, 1)
    assert 0.05 < samples.mean() < 0.25  # as much ink as digits have


@pytest.mark.skipif(not (CHECKOUT / "fvae-celeba").is_dir(), reason="the checkout's models are not here")
def test_shipped_fvae():
    vae = flowzoo.load("fvae-celeba")
    samples = numpy(vae.sample(20, seed=0))
    assert samples.dtype == np.uint8
    assert samples.shape == (20, 64, 64, 3)
    again = numpy(vae.reconstruct(samples))
    assert flowzoo.metrics.psnr(samples, again).mean() > 20
