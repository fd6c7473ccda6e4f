import json
import pathlib

import numpy as np
import pytest
from cases import VAES
from helpers import numpy
from recipes import CONFIGS_OF_VAES

import flowzoo
from flowzoo import registry
from flowzoo.datasets import binarize
from flowzoo.registry.architecture import check_config
from flowzoo.testing import perturb

CATALOGUE = [name for name in VAES if type(VAES[name]()).__name__ in CONFIGS_OF_VAES]


@pytest.mark.parametrize("name", CATALOGUE)
def test_models_are_saved_and_loaded(name, tmp_path):
    vae = VAES[name]()
    perturb(vae, scale=0.1)
    flowzoo.save_pretrained(vae, tmp_path / "mine", dtype="float32")
    loaded = flowzoo.load(tmp_path / "mine")
    assert loaded.fingerprint() == pytest.approx(vae.fingerprint(), rel=1e-5)
    assert "flow.reconstruct(images)" in (tmp_path / "mine" / "README.md").read_text()


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_model_of_the_catalogue_is_thought_absurd(name):
    vae = VAES[name]()
    config = {
        key: value for key, value in vae.get_config().items() if key not in ("name", "trainable", "dtype")
    }
    config = json.loads(json.dumps(config))
    check_config({"name": "mine", "class": type(vae).__name__, "config": config, "weights": {"bytes": 1}})
    _, weights = type(vae).estimated_size(**config)
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
    facts = {"name": "mine", "class": kind, "config": {**CONFIGS_OF_VAES[kind], **config}}
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
