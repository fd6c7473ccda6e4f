"""What is not to be trusted is refused: configs, weights files, sizes; and what is right is not."""

import contextlib
import inspect
import json

import h5py
import numpy as np
import pytest
from cases import IMAGE_MODELS, MODELS
from helpers import data_for, numpy
from hub_server import FILE

import flowzoo
from flowzoo.registry import RegistryError, save_pretrained, verify
from flowzoo.registry.architecture import build, check_config
from flowzoo.registry.folder import read_model_file, sha256
from flowzoo.registry.kinds import fits
from flowzoo.registry.weights import read_weights
from flowzoo.testing import perturb


@pytest.fixture
def folder(published, tmp_path):
    """A copy of the small model, which a test may spoil."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    for path in (published / "tiny").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def spoil(folder, **changes):
    (folder / "model.json").write_text(json.dumps({**read_model_file(folder), **changes}))


def spoil_config(folder, **changes):
    spoil(folder, config={**read_model_file(folder)["config"], **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unknown": 1}, "gives NICE an argument 'unknown', which it does not take; it takes event_shape"),
        ({"name": "x"}, "an argument 'name', which it does not take"),
        ({"couplings": "4"}, "couplings='4', which is of a wrong type or size"),
        ({"couplings": True}, "couplings=True, which is of a wrong type or size"),
        ({"couplings": 10**6}, "couplings=1000000, which is of a wrong type or size"),
        ({"couplings": 60000}, "would be absurdly large: about 120,000 layers"),
        (
            {"hidden_units": [60000, 60000]},
            r"would be absurdly large: about 4 layers and 7,2\d\d,\d\d\d,\d\d\d",
        ),
        ({"event_shape": [4, -1]}, r"event_shape=\[4, -1\], which is of a wrong type or size"),
        ({"event_shape": None}, "event_shape=None, which is of a wrong type or size"),
        (
            {"activation": {"class_name": "Lambda"}},
            "activation={'class_name': 'Lambda'}, which is of a wrong",
        ),
        ({"activation": "nothing"}, "NICE cannot be built from the config of tiny: .*nothing"),
        ({"couplings": 1}, "do not fit the model"),
    ],
)
def test_configs_are_held_against_the_constructor(folder, changes, message):
    spoil_config(folder, **changes)
    with pytest.raises(RegistryError, match=message):
        flowzoo.load(folder)


def test_a_config_is_refused_before_weights_are_asked_for(hub, published, tmp_path):
    facts = read_model_file(published / "tiny")
    (tmp_path / "tiny").mkdir()
    spoiled = {**facts, "config": {**facts["config"], "couplings": "4"}}
    (tmp_path / "tiny" / "model.json").write_text(json.dumps(spoiled))
    hub.folder = tmp_path
    with pytest.raises(RegistryError, match="couplings='4'"):
        flowzoo.load("tiny")
    assert hub.ranges == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class": "Model"}, "of class 'Model', which this flowzoo does not have; it has FVAE, IAF"),
        ({"class": ["NICE"]}, "'class' in .* must be a str"),
        ({"name": "../tiny"}, r"names the model '\.\./tiny'"),
        ({"config": []}, "'config' in .* must be a dict"),
        ({"metrics": 3}, "'metrics' in .* must be an object"),
        ({"fingerprint": [1.0] * 7}, "must be 8 finite numbers"),
        ({"fingerprint": [1e40] * 8}, "must be 8 finite numbers"),
        ({"weights": "model.weights.h5"}, "'weights' in .* must be an object"),
        ({"weights": {"file": FILE}}, "'bytes' of the weights"),
    ],
)
def test_model_files_are_held_against_their_form(folder, changes, message):
    (folder / "model.json").write_text(json.dumps({**read_model_file(folder), **changes}))
    with pytest.raises(RegistryError, match=message):
        flowzoo.load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"name": NaN}', "NaN is no number of JSON"),
        (b"[" * 10**5, "cannot be read as JSON"),
        (b" " * (2**20 + 1), "is larger than 1,048,576 bytes"),
        (b"\xff", "cannot be read as JSON"),
        (b"[]", "must hold a JSON object; got list"),
    ],
)
def test_model_files_that_are_no_json(folder, text, message):
    (folder / "model.json").write_bytes(text)
    with pytest.raises(RegistryError, match=message):
        flowzoo.load(folder)


@pytest.mark.parametrize("name", [*MODELS, *IMAGE_MODELS])
def test_no_model_of_the_catalogue_is_thought_absurd(name):
    flow = (MODELS | IMAGE_MODELS)[name]()
    if type(flow).__name__ not in flowzoo.models.__all__:
        pytest.skip("not of the catalogue")
    config = {
        key: value for key, value in flow.get_config().items() if key not in ("name", "trainable", "dtype")
    }
    config = json.loads(json.dumps(config))
    check_config({"name": name, "class": type(flow).__name__, "config": config, "weights": {"bytes": 1}})
    _, weights = type(flow).estimated_size(**config)
    assert flow.count_params() / 8 < weights < 8 * flow.count_params()


@pytest.mark.parametrize(
    "config",
    [
        {"event_shape": [256, 256, 3], "levels": 6, "steps": 32, "bits": 5},  # Glow.celeba_hq
        {"event_shape": [32, 32, 3], "levels": 3, "steps": 48},
        {"event_shape": [32, 32, 3], "levels": 3, "steps": [16, 32, 96]},
    ],
)
def test_the_papers_sizes_are_not_absurd(config):
    weights = {"bytes": 2 * 224_000_000}
    check_config({"name": "glow", "class": "Glow", "config": config, "weights": weights})


@pytest.mark.parametrize(
    "steps",
    [[], [[2, 2]], [1] * 17, [0, 1], ["2"], [10**4], [True], pytest.param([800, 800], id="1,600 layers")],
)
def test_lists_of_steps_are_held_against_their_form(steps):
    config = {"event_shape": [8, 8, 3], "levels": 2, "steps": steps}
    with pytest.raises(RegistryError, match=r"which is of a wrong type or size|absurdly large"):
        check_config({"name": "glow", "class": "Glow", "config": config})


# Weights files.


def rewrite(folder, change):
    """Lets `change(file)` spoil the weights, and states the hash of what came of it."""
    path = folder / FILE
    with h5py.File(path, "r+") as file:
        change(file)
    weights = {**read_model_file(folder)["weights"], "bytes": path.stat().st_size, "sha256": sha256(path)}
    spoil(folder, weights=weights)


def tensors(file):
    found = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return sorted(found)


def replace(dtype=None, value=None, shape=None):
    def change(file):
        name = next(name for name in tensors(file) if file[name].ndim == 2)
        old = file[name][()]
        del file[name]
        data = np.full(shape or old.shape, old.dtype.type(0) if value is None else value, dtype or old.dtype)
        file.create_dataset(name, data=data)

    return change


def link(kind):
    def change(file):
        name = tensors(file)[0]
        del file[name]
        file[name] = h5py.ExternalLink("/etc/passwd", "/") if kind == "external" else h5py.SoftLink("/")

    return change


def external_bytes(file):
    name = next(name for name in tensors(file) if file[name].ndim)  # a scalar cannot lie outside
    shape = file[name].shape
    del file[name]
    file.create_dataset(name, shape, "float16", external=[("/etc/passwd", 0, 2 * int(np.prod(shape)))])


def bomb(file):
    name = tensors(file)[0]
    del file[name]
    file.create_dataset(name, (2**18, 2**18), "float32")


def pickled(file):
    name = tensors(file)[0]
    del file[name]
    file.create_dataset(name, data=[b"cos\nsystem\n"], dtype=h5py.string_dtype())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace(shape=(3, 3)), r"tensor \S+ in .* has shape \(3, 3\), but the model's has \("),
        (replace(dtype="int32", value=1), "is of dtype int32, but the model's is float32"),
        (replace(value=np.nan), "has NaN or infinite values"),
        (
            lambda file: file.create_dataset("extra", data=[1.0]),
            "the file has the tensor extra, which the model",
        ),
        (lambda file: file.pop(tensors(file)[0]), "the file lacks the tensor"),
        (link("external"), "is a link, which weights must not have"),
        (link("soft"), "is a link, which weights must not have"),
        (external_bytes, "must hold plain numbers"),
        (bomb, "claims 274,877,906,944 bytes, more than the file has"),
        (pickled, "must hold plain numbers"),
    ],
)
def test_weights_files_that_do_not_fit_or_hold_more_than_numbers(folder, change, message):
    rewrite(folder, change)
    with pytest.raises(RegistryError, match=message):
        flowzoo.load(folder)


def test_a_weights_file_that_is_none(folder):
    (folder / FILE).write_bytes(b"not HDF5")
    weights = {**read_model_file(folder)["weights"], "bytes": 8, "sha256": sha256(folder / FILE)}
    spoil(folder, weights=weights)
    with pytest.raises(RegistryError, match="cannot be read: Unable to"):
        flowzoo.load(folder)


# Saving, fingerprints.


@pytest.mark.parametrize("format", ["h5", "safetensors"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_saved_flows_come_back(tmp_path, format, dtype):
    flow = flowzoo.RealNVP(event_shape=2, couplings=2, hidden_units=(8,))
    perturb(flow)
    facts = save_pretrained(flow, tmp_path / "plane", dtype=dtype, format=format, limits="Untrained.")
    loaded = flowzoo.load(tmp_path / "plane")
    x = data_for((2,))
    tolerance = 1e-2 if dtype == "float16" else 1e-6
    np.testing.assert_allclose(numpy(loaded.log_prob(x)), numpy(flow.log_prob(x)), rtol=tolerance)
    assert facts["weights"]["file"] in {path.name for path in (tmp_path / "plane").iterdir()}
    assert (tmp_path / "plane" / "samples.png").stat().st_size > 1000
    assert "## Limits\n\nUntrained." in (tmp_path / "plane" / "README.md").read_text()
    assert verify(tmp_path / "plane") < 1e-6


def test_saving_again_keeps_what_the_folder_says(tmp_path):
    flow = flowzoo.NICE(event_shape=2, hidden_units=(8,))
    save_pretrained(flow, tmp_path / "a", description="Kept.", licence="MIT")
    spoil(tmp_path / "a", metrics={"bits_per_dim": 1.0})
    facts = save_pretrained(flow, tmp_path / "a", licence="Apache-2.0")
    assert (facts["description"], facts["licence"]) == ("Kept.", "Apache-2.0")
    assert "metrics" not in facts  # it was of other weights


def test_other_weights_in_a_folder_have_a_higher_version(tmp_path):
    flow = flowzoo.NICE(event_shape=2, hidden_units=(8,))
    facts = save_pretrained(flow, tmp_path / "a")
    assert (facts["format"], facts["version"]) == (2, 1)
    assert save_pretrained(flow, tmp_path / "a", licence="MIT")["version"] == 1  # the same weights
    perturb(flow)
    assert save_pretrained(flow, tmp_path / "a")["version"] == 2
    assert read_model_file(tmp_path / "a")["version"] == 2
    assert "`model.weights.h5`, version 2:" in (tmp_path / "a" / "README.md").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"format": 1},
            r"of format 1, which an older flowzoo wrote; .*`python \.ci/convert_weights\.py FOLDER",
        ),
        ({"format": 3}, "of format 3, which a newer flowzoo wrote; .* Upgrade flowzoo"),
        ({"format": True}, "'format' in .* must be a positive integer; got True"),
        ({"version": 0}, "'version' in .* must be a positive integer; got 0"),
        ({"version": "2"}, "'version' in .* must be a positive integer; got '2'"),
    ],
)
def test_formats_and_versions_are_held_against_their_form(folder, changes, message):
    spoil(folder, **changes)
    with pytest.raises(RegistryError, match=message):
        flowzoo.load(folder)


def test_a_folder_without_a_format_is_of_the_first(folder):
    facts = read_model_file(folder)
    del facts["format"]
    (folder / "model.json").write_text(json.dumps(facts))
    assert flowzoo.info(folder)["class"] == "NICE"
    with pytest.raises(RegistryError, match="of format 1, which an older flowzoo wrote"):
        flowzoo.load(folder)


def test_a_file_that_does_not_fit_changes_no_weight(folder):
    flow = flowzoo.load(folder)
    before = flow.get_weights()
    rewrite(folder, lambda file: file["2/head/kernel"].write_direct(np.full((64, 2), np.nan, "float16")))
    with pytest.raises(RegistryError, match=r"2/head/kernel in .* has NaN or infinite values"):
        read_weights(flow, folder / FILE)
    for weight, expected in zip(flow.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_what_cannot_be_published(tmp_path):
    flow = flowzoo.Flow([flowzoo.layers.Permutation("reverse")], event_shape=2)
    with pytest.raises(ValueError, match=r"flows of flowzoo's own catalogue, .* got flowzoo\.flow\.Flow"):
        save_pretrained(flow, tmp_path / "flow")
    nice = flowzoo.NICE(event_shape=2, hidden_units=(8,))
    with pytest.raises(ValueError, match="A model's name has letters"):
        save_pretrained(nice, tmp_path / "a", name="../b")
    with pytest.raises(ValueError, match="format must be one of 'h5', 'safetensors'; got 'pickle'"):
        save_pretrained(nice, tmp_path / "a", format="pickle")
    with pytest.raises(ValueError, match="dtype must be 'float16' or 'float32'; got 'int8'"):
        save_pretrained(nice, tmp_path / "a", dtype="int8")


def test_a_class_that_only_shares_a_catalogue_name_is_not_published(tmp_path):
    class RealNVP(flowzoo.RealNVP):
        """A user's own, which may do anything else."""

    flow = RealNVP(event_shape=2, couplings=2, hidden_units=(8,))
    with pytest.raises(ValueError, match=r"catalogue, .*; got test_registry_checks\..*RealNVP\. flow\.save"):
        save_pretrained(flow, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_a_changed_weight_changes_the_fingerprint(folder):
    before = read_model_file(folder)["fingerprint"]

    def change(file):
        name = next(name for name in tensors(file) if file[name].ndim == 2)
        file[name][...] = file[name][()] + np.float16(0.1)

    rewrite(folder, change)
    with pytest.raises(RegistryError, match="gives other densities than when it was published"):
        verify(folder)
    spoil(folder, fingerprint=flowzoo.load(folder).fingerprint())
    assert verify(folder) == 0
    assert read_model_file(folder)["fingerprint"] != before


def test_bare_flows_are_built_from_facts():
    flow = build({"name": "a-b.c", "class": "NICE", "config": {"event_shape": [2], "hidden_units": [4]}})
    assert flow.name == "a_b_c"
    with pytest.raises(RegistryError, match="lacks 'event_shape'"):
        build({"name": "a", "class": "NICE", "config": {}})


def test_models_of_three_dimensions_have_no_picture(tmp_path):
    flow = flowzoo.NICE(event_shape=3, hidden_units=(8,))
    facts = flowzoo.save_pretrained(flow, tmp_path / "vectors")
    assert "samples" not in facts
    assert flowzoo.load(tmp_path / "vectors").event_shape == (3,)


def test_figures_of_ones_own_go_on_the_card(tmp_path):
    flow = flowzoo.NICE(event_shape=3, hidden_units=(8,))
    metrics = {**flow.measure(np.zeros((5, 3))), "calibration error": np.float32(0.25)}
    told = {"metrics": metrics, "paper": {"title": "NICE"}, "samples": {"temperature": 0.7}}
    facts = flowzoo.save_pretrained(flow, tmp_path / "mine", **told)
    assert facts["metrics"]["examples"] == 5
    assert read_model_file(tmp_path / "mine")["metrics"]["calibration error"] == 0.25
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "As whoever saved the model gives them:" in card
    assert "| log-likelihood | -" in card
    assert "| calibration error | 0.25 | – |" in card
    assert "from *NICE*." in card


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"metrics": {"bits_per_dim": np.nan}}, "metrics={'bits_per_dim': nan} cannot be written"),
        ({"metrics": 3.0}, "'metrics' in the facts must be an object"),
        ({"data": "mnist"}, "'data' in the facts must be an object"),
        ({"note": object()}, "note=.* cannot be written"),
    ],
)
def test_facts_that_a_folder_cannot_hold_are_refused_before_anything_is_written(facts, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        flowzoo.save_pretrained(flowzoo.NICE(event_shape=2, hidden_units=(8,)), tmp_path / "mine", **facts)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("name", flowzoo.models.__all__)
def test_a_config_can_give_every_argument(name):
    values = (1, 0.5, "word", [2], True)
    for key, parameter in inspect.signature(getattr(flowzoo.models, name)).parameters.items():
        if parameter.kind != parameter.VAR_KEYWORD and key not in ("flow", "context_network"):
            assert any(fits(parameter.annotation, value) for value in values), key
            assert parameter.default is not None or fits(parameter.annotation, None), key


def test_what_no_annotation_tells_of_is_refused():
    assert not any(fits(kind, 1) for kind in (inspect.Parameter.empty, object, list, flowzoo.Flow))


@pytest.mark.parametrize("name", flowzoo.models.__all__)
@pytest.mark.parametrize(
    "changes",
    [{"event_shape": []}, {"event_shape": 2}, {"hidden_units": []}, {"context_shape": []}, {"levels": 17}],
)
def test_strange_shapes_raise_no_other_error(name, changes):
    config = {"event_shape": [8, 8, 3], **changes}
    if not config.keys() <= inspect.signature(getattr(flowzoo.models, name)).parameters.keys():
        pytest.skip("does not take it")
    with contextlib.suppress(RegistryError):  # some fit a constructor, which refuses them itself
        check_config({"name": "mine", "class": name, "config": config})
