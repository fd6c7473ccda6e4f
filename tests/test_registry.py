import json
import pathlib
import re
import shutil

import numpy as np
import pytest
from helpers import WITHOUT_TENSORFLOW, numpy, run_python
from recipes import RECIPE, glow_recipe, run

import flowzoo
from flowzoo import cli, plots, training
from flowzoo.registry import sources
from flowzoo.registry.folder import read_model_file
from flowzoo.registry.index import local_folders


def test_a_model_loads_by_name_and_by_path(model_folder):
    assert "tiny-mnist" in flowzoo.list_models()
    assert flowzoo.info("tiny-mnist")["class"] == "NICE"
    by_name, by_path = flowzoo.load("tiny-mnist"), flowzoo.load(model_folder)
    assert isinstance(by_name, flowzoo.NICE)
    x = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 1))
    expected = numpy(by_name.log_prob(x, seed=0))
    np.testing.assert_array_equal(numpy(by_path.log_prob(x, seed=0)), expected)
    bare = flowzoo.load("tiny-mnist", weights=False)
    assert not np.allclose(numpy(bare.log_prob(x, seed=0)), expected)


def test_weights_are_stored_in_16_bits_without_optimizer_state(model_folder):
    import h5py

    kinds = set()
    names = []
    with h5py.File(model_folder / "model.weights.h5") as file:
        file.visititems(lambda name, item: names.append(name) or kinds.add(getattr(item, "dtype", None)))
    assert not any("optimizer" in name for name in names)
    assert np.dtype("float16") in kinds
    assert np.dtype("float32") not in kinds


# What goes wrong.


def test_unknown_names_offer_the_nearest(model_folder):
    with pytest.raises(
        ValueError, match=r"No pretrained model is called 'tiny-mnis'.*Did you mean 'tiny-mnist'"
    ):
        flowzoo.load("tiny-mnis")
    with pytest.raises(ValueError, match=r"There are: .*tiny-mnist"):
        flowzoo.info("zzzzzz")


@pytest.mark.parametrize("name", ["", ".", "..", "../tiny-mnist/../..", "/etc"])
def test_names_do_not_leave_the_hub(model_folder, name):
    with pytest.raises(ValueError, match="No pretrained model is called"):
        flowzoo.load(name)


def test_damaged_weights_are_refused(model_folder):
    path = model_folder / "model.weights.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is damaged: its sha256 is \w{64}, but \w{64} was expected"):
        flowzoo.load("tiny-mnist")
    path.unlink()
    with pytest.raises(ValueError, match="is missing"):
        flowzoo.load("tiny-mnist")


def spoil(folder, **changes):
    facts = {**read_model_file(folder), **changes}
    (folder / "model.json").write_text(json.dumps(facts))


def test_weights_of_another_architecture_are_refused(model_folder):
    spoil(model_folder, config={**RECIPE["config"], "hidden_units": [9]})
    with pytest.raises(ValueError, match=r"do not fit the model: .*tensor .* has shape"):
        flowzoo.load("tiny-mnist")


def test_a_class_that_is_not_in_the_catalogue_is_refused(model_folder):
    spoil(model_folder, **{"class": "Model"})
    with pytest.raises(ValueError, match="of class 'Model', which this flowzoo does not have"):
        flowzoo.load("tiny-mnist")


def test_a_broken_card_is_refused(model_folder):
    (model_folder / "model.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read as JSON"):
        flowzoo.info("tiny-mnist")
    (model_folder / "model.json").write_text("{}")
    with pytest.raises(ValueError, match="lacks 'name', 'class', 'config'"):
        flowzoo.info("tiny-mnist")


def test_a_recipe_without_weights_says_how_to_train(model_folder):
    (model_folder / "model.json").write_text(json.dumps(RECIPE))
    with pytest.raises(ValueError, match="no trained weights yet"):
        flowzoo.load("tiny-mnist")


def test_a_failed_write_leaves_the_old_file(model_folder):
    from flowzoo.registry.weights import save_weights

    flow = flowzoo.load("tiny-mnist")
    before = (model_folder / "model.weights.h5").read_bytes()
    flow.trainable_weights[0].assign(np.full(flow.trainable_weights[0].shape, 1e6))
    with pytest.raises(ValueError, match="not finite in float16"):
        save_weights(flow, model_folder)
    assert (model_folder / "model.weights.h5").read_bytes() == before
    assert {path.name for path in model_folder.iterdir() if "weights" in path.name} == {"model.weights.h5"}


# The command line.


def test_command_list_and_info(model_folder):
    listed = run("list")
    assert listed.exit_code == 0
    assert re.search(r"tiny-mnist +1 +NICE +mnist", listed.output)
    assert json.loads(run("info", "tiny-mnist").output)["version"] == 1
    assert json.loads(run("info", "tiny-mnist").output)["class"] == "NICE"


def test_command_sample_writes_a_picture(model_folder, tmp_path):
    import matplotlib.pyplot as plt

    out = tmp_path / "grid.png"
    result = run("sample", "tiny-mnist", "-n", 4, "--temperature", 0.7, "--seed", 0, "--out", out)
    assert result.exit_code == 0, result.output
    assert plt.imread(out).shape[:2] == (4 * 62, 4 * 62)
    again = tmp_path / "again.png"
    run("sample", "tiny-mnist", "-n", 4, "--temperature", 0.7, "--seed", 0, "--out", again)
    assert again.read_bytes() == out.read_bytes()


def test_command_sample_draws_classes(tmp_path, mock_mnist):
    import matplotlib.pyplot as plt

    folder = glow_recipe(tmp_path / "tiny-glow", epochs=1)
    training.train(folder, folder, verbose=0)
    pictures = []
    for label in ([], ["--label", 3], ["--label", 4]):
        out = tmp_path / "grid.png"
        result = run("sample", folder, "-n", 3, "--seed", 0, "--out", out, *label)
        assert result.exit_code == 0, result.output
        pictures.append(plt.imread(out))
    assert not np.array_equal(pictures[1], pictures[2])


def test_commands_download_verify_and_clear(hub, tmp_path):
    result = run("download", "tiny")
    assert result.exit_code == 0, result.output
    [path] = tmp_path.glob("home/tiny/*.model.weights.h5")
    assert str(path) in result.output
    assert len(hub.ranges) == 1
    (tmp_path / "home" / "tiny" / "mine.txt").write_text("not flowzoo's")

    verified = run("verify", "tiny")
    assert verified.exit_code == 0, verified.output
    assert re.search(r"tiny: sha256 right, fingerprint within \d", verified.output)
    assert len(hub.ranges) == 1

    assert str(tmp_path / "home") in run("cache").output
    assert path.exists()
    cleared = run("cache", "--clear")
    assert re.search(r"Freed 0\.\d MB", cleared.output)
    assert {each.name for each in (tmp_path / "home" / "tiny").iterdir()} == {"mine.txt"}


def test_command_verify_names_every_model_that_fails(published, tmp_path, monkeypatch):
    for name in ("good", "bad"):
        shutil.copytree(published / "tiny", tmp_path / name)
        spoil(tmp_path / name, name=name)
    spoil(tmp_path / "bad", fingerprint=[0.0] * 8)
    monkeypatch.setenv("FLOWZOO_HUB", str(tmp_path))
    monkeypatch.setattr(sources, "checkout", lambda: None)
    result = run("verify", "--all")
    assert "good: sha256 right" in result.output
    assert "bad: failed: bad gives other densities" in result.output
    assert "Not verified: bad." in str(result.exception)
    assert "Give the name of a model, or --all" in str(run("verify").exception)


def test_command_publish_completes_a_folder(tmp_path):
    flow = flowzoo.NICE(event_shape=2, couplings=2, hidden_units=(8,))
    flow.compile(optimizer="adam")
    flow.fit(np.random.default_rng(0).normal(size=(64, 2)), verbose=0)
    flow.save(tmp_path / "flow.keras")
    folder = tmp_path / "plane"
    result = run("publish", folder, "--from", tmp_path / "flow.keras", "--dtype", "float32")
    assert result.exit_code == 0, result.output
    x = np.ones((3, 2))
    np.testing.assert_allclose(numpy(flowzoo.load(folder).log_prob(x)), numpy(flow.log_prob(x)), rtol=1e-5)

    spoil(folder, description="Said later.")
    (folder / "samples.png").unlink()
    assert run("publish", folder, "--dtype", "float16").exit_code == 0
    assert "Said later." in (folder / "README.md").read_text()
    assert read_model_file(folder)["weights"]["dtype"] == "float16"
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "model.json",
        "model.weights.h5",
        "samples.png",
    }
    assert flowzoo.registry.verify(folder) == 0


def test_command_errors_are_one_message_without_a_traceback(model_folder, monkeypatch, capsys, tmp_path):
    for arguments in (
        ["sample", "tiny-mnisty"],
        ["sample", "tiny-mnist", "--out", "picture.gif"],
        ["sample", "tiny-mnist", "--out", str(tmp_path / "no" / "grid.png")],
    ):
        monkeypatch.setattr("sys.argv", ["flowzoo", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 1
        error = capsys.readouterr().err
        assert error.startswith("flowzoo: ")
        assert "Traceback" not in error


# The models that flowzoo ships.

CHECKOUT = pathlib.Path(__file__).parents[1] / "pretrained"


@pytest.mark.slow
@pytest.mark.skipif(not CHECKOUT.is_dir(), reason="the checkout's pretrained models are not here")
@pytest.mark.parametrize("name", sorted(path.parent.name for path in CHECKOUT.glob("*/model.weights.*")))
def test_shipped_models_load_and_sample(name):
    assert CHECKOUT in local_folders()
    flow = flowzoo.load(name)
    facts = flowzoo.info(name)
    if isinstance(flow, flowzoo.FlowVAE):
        return  # tests/test_registry_vae.py has them
    if facts["data"]["name"] in flowzoo.datasets.TOY_DENSITIES:
        density = flowzoo.datasets.TOY_DENSITIES[facts["data"]["name"]]()
        nats = numpy(flow.log_prob(density.sample(2000, seed=2))).mean()
        assert abs(nats - facts["metrics"]["log_likelihood"]) < 0.1
        samples = density.log_prob(numpy(flow.sample(500, seed=0)))
        assert np.quantile(samples, 0.05) > -7
        return
    labels, margin = None, 0.5
    if facts["data"]["name"] == "celeb_a":  # whose images may not be passed on
        x, margin = numpy(flow.sample(20, seed=1)), 1.0
    else:  # 20 images of the official test split
        file = {"mnist": "mnist_digits.npz", "cifar10": "cifar10_images.npz"}[facts["data"]["name"]]
        data = np.load(pathlib.Path(__file__).parent / file)
        x, labels = data["images"], data["labels"] if flow.context_shape is not None else None
    bits = numpy(flow.bits_per_dim(x, labels, seed=0))
    # Their mean lies within the spread of single images around the card's.
    assert abs(bits.mean() - facts["metrics"]["bits_per_dim"]) < margin
    images = numpy(flow.sample(2, None if labels is None else labels[:2], seed=0))
    assert images.dtype == np.uint8
    assert images.shape == (2, *flow.event_shape)
    assert 5 < images.mean() < 200
    if facts["class"] == "Glow":
        np.testing.assert_array_equal(numpy(flow.decode(flow.encode(x, labels), labels)), x)


def test_import_and_training_without_tensorflow():
    """On the JAX backend, with TensorFlow made impossible to import."""
    pytest.importorskip("jax")
    code = """
import numpy as np
import flowzoo
flow = flowzoo.MAF(event_shape=2, hidden_units=(8,))
flow.compile(optimizer="adam")
flow.fit(np.random.normal(size=(64, 2)), verbose=0)
flow.sample(3, seed=0)
assert flowzoo.list_models() is not None
assert not any(name.split(".")[0] == "tensorflow" for name in sys.modules)
print("done")
"""
    assert run_python(WITHOUT_TENSORFLOW + code, KERAS_BACKEND="jax").strip() == "done"


def test_the_torch_backend_is_refused():
    code = """
import types, keras
keras.backend.backend = lambda: "torch"
try:
    import flowzoo
except ImportError as error:
    print(error)
"""
    assert "but Keras is using 'torch'" in run_python(code)


# Pictures.


def test_image_grid_tiles_and_checks(tmp_path):
    images = np.arange(3 * 2 * 2).reshape(3, 2, 2, 1).astype("uint8")
    tiled = plots.tile_images(images, columns=2, padding=1)
    assert tiled.shape == (7, 7, 3)
    np.testing.assert_array_equal(tiled[1:3, 1:3, 0], images[0, ..., 0])
    np.testing.assert_array_equal(tiled[4:6, 1:3, 2], images[2, ..., 0])
    assert (tiled[4:6, 4:6] == 255).all()
    with pytest.raises(ValueError, match="images must have shape"):
        plots.tile_images(images[..., 0])
    assert plots.image_grid(images).axes


def test_density_and_training_curve_draw(tmp_path):
    flow = flowzoo.RealNVP(event_shape=2, couplings=2, context_shape=1, name="moons")
    axes = plots.density(flow, resolution=20, context=[0.0], samples=flow.sample(5, context=[0.0]))
    assert axes.get_title() == "moons"
    with pytest.raises(ValueError, match="flows on the plane"):
        plots.density(flowzoo.RealNVP(event_shape=3))
    curve = plots.training_curve({"loss": [3.0, 2.0], "val_loss": [3.0, 2.5]})
    assert [line.get_label() for line in curve.lines] == ["training", "validation"]
