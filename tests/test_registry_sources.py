"""Where pretrained models come from, and what importing flowzoo brings along."""

import importlib.metadata
import json
import pathlib
import re
import shutil
import types

import numpy as np
import pytest
from helpers import numpy, run_python
from hub_server import FILE
from recipes import run

import flowzoo
from flowzoo.registry import RegistryError, sources
from flowzoo.registry.download import cache_path, find_weights
from flowzoo.registry.folder import read_model_file, write_model_file
from flowzoo.registry.hugging_face import upload

# The order of the places.


@pytest.fixture
def places(published, tmp_path, monkeypatch):
    """Five places that may hold the small model; `fill(i)` puts it into one of them."""
    facts = read_model_file(published / "tiny")
    monkeypatch.setenv("FLOWZOO_HUB", str(tmp_path / "hub"))
    monkeypatch.setenv("FLOWZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sources, "checkout", lambda: tmp_path / "checkout")
    monkeypatch.setattr(sources, "PACKAGED", tmp_path / "package")
    monkeypatch.setattr(sources, "installed_from", lambda: tmp_path / "clone")
    paths = [
        tmp_path / "hub" / "tiny" / FILE,
        tmp_path / "checkout" / "tiny" / FILE,
        tmp_path / "package" / "tiny" / FILE,
        cache_path(facts),
        tmp_path / "clone" / "tiny" / FILE,
    ]

    def fill(i):
        paths[i].parent.mkdir(parents=True)
        shutil.copy(published / "tiny" / FILE, paths[i])
        return paths[i]

    return types.SimpleNamespace(facts=facts, fill=fill)


def test_places_are_asked_in_order(places, published):
    for i in reversed(range(5)):
        expected = places.fill(i)
        assert find_weights(places.facts) == expected
    assert find_weights(places.facts, published / "tiny") == published / "tiny" / FILE


def test_no_place_has_the_weights(places, tmp_path):
    with pytest.raises(RegistryError) as failure:
        find_weights(places.facts)
    message = str(failure.value)
    assert message.startswith("No weights of tiny are at hand.")
    for place in ("hub", "checkout", "clone"):
        assert f"{tmp_path / place / 'tiny' / FILE} is missing" in message
    assert "knows no public address for weights: set FLOWZOO_HUB" in message


def test_the_public_address_is_asked_last(places, hub, monkeypatch):
    monkeypatch.delenv("FLOWZOO_HUB")
    monkeypatch.setattr(sources, "index", lambda: {"address": hub.address})
    assert find_weights(places.facts) == cache_path(places.facts)
    assert len(hub.ranges) == 1


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"url": "file://{clone}", "dir_info": {}}, "{clone}/pretrained"),
        ({"url": "file://{clone}", "dir_info": {"editable": True}}, "{clone}/pretrained"),
        ({"url": "file://{clone}/dist/flowzoo.whl", "archive_info": {}}, None),
        ({"url": "file:///nowhere", "dir_info": {}}, None),
        (
            {"url": "https://github.com/owner/repo.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}},
            "https://raw.githubusercontent.com/owner/repo/c0ffee/pretrained",
        ),
        (
            {"url": "ssh://git@github.com/owner/repo", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}},
            "https://raw.githubusercontent.com/owner/repo/c0ffee/pretrained",
        ),
        (
            {
                "url": "https://github.com/owner/repo",
                "subdirectory": "python",
                "vcs_info": {"vcs": "git", "commit_id": "c0ffee"},
            },
            "https://raw.githubusercontent.com/owner/repo/c0ffee/python/pretrained",
        ),
        ({"url": "https://example.org/a/b.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}, None),
    ],
)
def test_what_pip_records_says_where_from(tmp_path, monkeypatch, record, expected):
    clone = tmp_path / "a clone"
    (clone / "pretrained").mkdir(parents=True)
    record["url"] = record["url"].format(clone=str(clone).replace(" ", "%20"))
    distribution = types.SimpleNamespace(read_text=lambda name: json.dumps(record))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: distribution)
    found = sources.installed_from()
    assert found is None if expected is None else str(found) == expected.format(clone=clone)


def test_hubs_that_are_none(monkeypatch, tmp_path):
    monkeypatch.setenv("FLOWZOO_HUB", "ftp://example.org")
    with pytest.raises(RegistryError, match=r"must be an http\(s\) address or a local folder; got 'ftp:"):
        flowzoo.load("tiny")
    monkeypatch.setenv("FLOWZOO_HUB", str(tmp_path / "nowhere"))
    with pytest.raises(RegistryError, match="No pretrained model is called 'tiny'"):
        flowzoo.load("tiny")


def test_a_model_must_be_called_as_its_folder(published, tmp_path, monkeypatch):
    shutil.copytree(published / "tiny", tmp_path / "other")
    monkeypatch.setenv("FLOWZOO_HUB", str(tmp_path))
    with pytest.raises(RegistryError, match="The model in the folder 'other' calls itself 'tiny'"):
        flowzoo.load("other")


# The Hugging Face Hub, by a server that answers as it does.


@pytest.fixture
def hugging_face(hub, tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hugging_face"))
    return hub


def test_models_of_the_hugging_face_hub(hugging_face, published, tmp_path):
    flow = flowzoo.load("hf://user/tiny")
    expected = numpy(flowzoo.load(published / "tiny").log_prob(np.ones((2, 4))))
    np.testing.assert_array_equal(numpy(flow.log_prob(np.ones((2, 4)))), expected)
    assert flowzoo.info("hf://user/tiny@main")["class"] == "NICE"
    assert len(hugging_face.ranges) == 1


def test_damaged_models_of_the_hugging_face_hub(hugging_face, tmp_path):
    hugging_face.faults = ["wrong byte"]
    with pytest.raises(RegistryError, match=r"its sha256 is \w{64}, but \w{64} was expected"):
        flowzoo.load("hf://user/tiny")
    assert not list((tmp_path / "hugging_face").rglob(FILE))
    flowzoo.load("hf://user/tiny")
    with pytest.raises(RegistryError, match="hf://user/none cannot be downloaded"):
        flowzoo.load("hf://user/none")
    with pytest.raises(RegistryError, match="Expected hf://user/model"):
        flowzoo.load("hf://user")


def test_a_folder_is_uploaded_and_loads_from_there(hugging_face, published, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_made_up")
    hugging_face.folder = tmp_path / "uploaded"
    folder = tmp_path / "tiny"
    shutil.copytree(published / "tiny", folder)
    (folder / ".eval_results").mkdir()
    (folder / ".eval_results" / "mnist.yaml").write_text("[]")
    (folder / ".training").mkdir()
    result = run("upload", folder, "hf://user/mine")
    assert f"{hugging_face.address}/user/mine/commit/" in result.output
    assert hugging_face.commits == ["tiny, version 1"]
    found = {path.name for path in hugging_face.folder.rglob("*") if path.is_file()}
    assert found == {"README.md", "model.json", FILE, "mnist.yaml"}
    expected = numpy(flowzoo.load(folder).log_prob(np.ones((2, 4))))
    np.testing.assert_array_equal(numpy(flowzoo.load("hf://user/mine").log_prob(np.ones((2, 4)))), expected)


def test_uploads_that_fail_say_what_to_do(hugging_face, published, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_made_up")
    hugging_face.refused = 403
    with pytest.raises(RegistryError, match=r"(?s)cannot be uploaded to hf://user/mine: .*\nLog in by"):
        upload(published / "tiny", "hf://user/mine")
    with pytest.raises(RegistryError, match="Expected hf://user/model"):
        upload(published / "tiny", "user/mine")
    shutil.copytree(published / "tiny", tmp_path / "tiny")
    (tmp_path / "tiny" / FILE).write_bytes(b"damaged")
    with pytest.raises(RegistryError, match="is damaged"):
        upload(tmp_path / "tiny", "hf://user/mine")
    (tmp_path / "tiny" / FILE).unlink()
    with pytest.raises(RegistryError, match="has no weights to upload"):
        upload(tmp_path / "tiny", "hf://user/mine")
    assert not hugging_face.commits


def test_a_name_alone_is_one_of_the_zoo_whatever_folders_lie_around(published, tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWZOO_HUB", str(published))
    monkeypatch.chdir(tmp_path)
    for name in ("tiny", "mine"):
        shutil.copytree(published / "tiny", tmp_path / name)
        write_model_file(tmp_path / name, {**read_model_file(published / "tiny"), "description": "Own."})
    assert flowzoo.info("tiny")["description"] == "Small."
    for path in ("./tiny", "tiny/", tmp_path / "tiny", pathlib.Path("tiny"), "./mine"):
        assert flowzoo.info(path)["description"] == "Own."
    with pytest.raises(RegistryError, match=r"For the folder of that name write '\./mine'"):
        flowzoo.info("mine")
    with pytest.raises(RegistryError, match=r"^none is no folder with a model\.json"):
        flowzoo.info(pathlib.Path("none"))


# Importing.

HEAVY = {"keras", "tensorflow", "jax", "numpy", "matplotlib", "h5py", "pooch", "requests"}


def test_the_command_lists_the_zoo_without_importing_what_is_heavy():
    code = """
import sys
sys.argv = ["flowzoo", "list"]
finders = list(sys.meta_path)
from flowzoo.cli import app
from typer.testing import CliRunner
for command in (["list"], ["info", "nice-mnist"], ["download", "nice-mnist"], ["--help"], ["cache"]):
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0 and "…" not in result.output, result.output
import flowzoo, flowzoo.models, flowzoo.training
from flowzoo.registry.card import headline
from flowzoo.registry.results import row
names = flowzoo.list_models()
assert names == sorted(names)
for facts in map(flowzoo.info, names):
    headline(facts), "weights" in facts and row(facts)
assert {"Glow", "load", "layers", *flowzoo.models.__all__} <= set(dir(flowzoo))
assert sys.meta_path == finders  # no hook that would import flowzoo's classes with Keras
print(*sys.modules)
"""
    assert not HEAVY & set(run_python(code).split())


def test_classes_are_known_to_keras_once_any_part_of_flowzoo_is_imported(tmp_path):
    flowzoo.NICE(event_shape=2, couplings=1, hidden_units=(8,)).save(tmp_path / "flow.keras")
    code = f"""
from flowzoo.layers import coupling  # which imports flowzoo first, and before anything imports Keras
import keras
keras.models.load_model({str(tmp_path / "flow.keras")!r})
print(*keras.saving.get_custom_objects())
"""
    known = set(run_python(code).split())
    package = pathlib.Path(flowzoo.__file__).parent
    decorated = re.compile(r'@keras.saving.register_keras_serializable\(package="flowzoo"\)\nclass (\w+)')
    # TableFlow.load imports those of flowzoo.tabular.
    files = [path for path in package.rglob("*.py") if path.parent.name != "tabular"]
    names = {name for path in files for name in decorated.findall(path.read_text())}
    assert len(names) > 50
    assert not {f"flowzoo>{name}" for name in names} - known


def test_the_catalogue_is_what_the_package_offers():
    for name, model_class in flowzoo.models.classes().items():
        assert getattr(flowzoo, name) is model_class
        assert model_class.__name__ == name


def test_names_that_the_package_has_not():
    with pytest.raises(AttributeError, match="module 'flowzoo' has no attribute 'Nice'"):
        flowzoo.Nice  # noqa: B018
    assert all(getattr(flowzoo, name) is not None for name in flowzoo.__all__)


# The models that flowzoo ships.

CHECKOUT = pathlib.Path(__file__).parents[1] / "pretrained"


@pytest.mark.skipif(not CHECKOUT.is_dir(), reason="the checkout's pretrained models are not here")
@pytest.mark.parametrize("name", sorted(path.parent.name for path in CHECKOUT.glob("*/model.json")))
def test_shipped_cards_say_what_their_facts_say(name):
    from flowzoo.registry.card import card, how_measured
    from flowzoo.registry.metadata import evaluation_results
    from flowzoo.registry.results import COLUMNS, row

    facts = read_model_file(CHECKOUT / name)
    if "weights" not in facts:
        pytest.skip("not trained yet")
    assert (CHECKOUT / name / "README.md").read_text(encoding="utf-8") == card(facts)
    assert (CHECKOUT / name / "training.png").stat().st_size < 40_000
    results = evaluation_results(facts, how_measured(facts))
    files = {
        path.name: path.read_text(encoding="utf-8") for path in (CHECKOUT / name).glob(".eval_results/*")
    }
    assert files == ({} if results is None else {f"{facts['data']['name']}.yaml": results})
    lines = (CHECKOUT.parent / "README.md").read_text(encoding="utf-8").splitlines()
    assert {f"| {' | '.join(COLUMNS)} |", row(facts)} <= set(lines)
    assert flowzoo.registry.verify(CHECKOUT / name) < 1e-3
