"""Folders of format 1 become folders of format 2, or stay as they are."""

import importlib.util
import json
import pathlib
import shutil

import h5py
import numpy as np
import pytest
from helpers import numpy, pixels

import flowzoo
from flowzoo.naming import named_weights
from flowzoo.registry import RegistryError
from flowzoo.registry.folder import read_model_file, sha256
from flowzoo.registry.weights import read_tensors, write_tensors
from flowzoo.testing import perturb

SCRIPT = pathlib.Path(__file__).parents[1] / ".ci" / "convert_weights.py"
if not SCRIPT.is_file():
    pytest.skip("the checkout is not here", allow_module_level=True)
spec = importlib.util.spec_from_file_location("convert_weights", SCRIPT)
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)

FILE = "model.weights.h5"
# Some names of format 1, as files of the first release have them.
OLD = {
    "0/prior/convolution/kernel": "flow_layers/factor_out/prior/convolution/vars/0",
    "0/prior/log_scale": "flow_layers/factor_out/prior/vars/0",
    "0/0/shift": "flow_layers/factor_out/flow_layers/act_norm/vars/1",
    "0/3/initialized": "flow_layers/factor_out/flow_layers/act_norm_1/vars/2",
    "0/1/head/convolution/bias": "flow_layers/factor_out/flow_layers/affine_coupling/head/convolution/vars/1",
    "1/network/hidden_1/kernel": "flow_layers/affine_coupling/network/convolutions/conv2d_1/vars/0",
    "2/permutation": "flow_layers/invertible_linear/vars/1",
    "2/lower_upper": "flow_layers/invertible_linear/vars/0",
    "7/noise_layers/1/network/hidden_0/bias": (
        "flow_layers/variational_dequantize/noise_layers/checkerboard_coupling_1/network/convolutions/"
        "conv2d/vars/1"
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small Glow's folder of format 1, with the model."""
    folder = tmp_path_factory.mktemp("models") / "tiny-glow"
    flow = flowzoo.Glow(
        event_shape=(4, 4, 1),
        levels=2,
        steps=1,
        hidden_channels=4,
        classes=3,
        dequantization="variational",
        alpha=0.05,
    )
    perturb(flow, scale=0.1)
    facts = flowzoo.save_pretrained(flow, folder, dtype="float32")
    old = script.names_of_format_1(flowzoo.load(folder))
    tensors = read_tensors(folder / FILE)
    write_tensors(folder / FILE, {old[name]: value for name, value in tensors.items()}, "h5")
    facts["weights"] |= {"bytes": (folder / FILE).stat().st_size, "sha256": sha256(folder / FILE)}
    facts["fingerprint"] = script.fingerprint_of_format_1(flow, facts)
    del facts["format"], facts["version"]
    (folder / "model.json").write_text(json.dumps(facts))
    return folder, flow


@pytest.fixture
def folder(whole, tmp_path):
    return pathlib.Path(shutil.copytree(whole[0], tmp_path / "tiny-glow"))


def test_names_of_format_1_are_those_of_the_first_release(whole):
    flow = flowzoo.Glow(
        event_shape=(4, 8, 1), levels=2, steps=1, hidden_channels=4, dequantization="variational", alpha=0.05
    )
    assert OLD.items() <= script.names_of_format_1(flow).items()


def test_conversion_keeps_the_numbers(folder, whole):
    with pytest.raises(RegistryError, match="of format 1"):
        flowzoo.load(folder)
    before = read_tensors(folder / FILE)
    count, difference = script.convert(folder)
    after = read_tensors(folder / FILE)
    assert count == len(after) == len(before)
    assert difference < 1e-5
    converted = flowzoo.load(folder)
    assert after.keys() == named_weights(converted).keys()
    for name, weight in named_weights(whole[1]).items():
        np.testing.assert_array_equal(after[name], numpy(weight))
        assert after[name].dtype == numpy(weight).dtype
    facts = read_model_file(folder)
    assert (facts["format"], facts["version"]) == (2, 1)
    assert flowzoo.registry.verify(folder) < 1e-5
    x, labels = pixels((4, 4, 1), n=3), [0, 1, 2]
    np.testing.assert_array_equal(
        numpy(converted.log_prob(x, labels, seed=0)), numpy(whole[1].log_prob(x, labels, seed=0))
    )
    with pytest.raises(RegistryError, match="holds no weights of format 1"):
        script.convert(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.create_dataset("extra", data=[1.0]), r"missing are \[\], left over \['extra'\]"),
        (
            lambda file: file.pop("flow_layers/act_norm/vars/0"),
            "missing are .*act_norm/vars/0.* 1 and 0 in all",
        ),
        (
            lambda file: file["flow_layers/act_norm/vars/0"].write_direct(np.ones(4, "float32")),
            "has another fingerprint once converted",
        ),
    ],
)
def test_what_does_not_fit_is_left_as_it_is(folder, change, message):
    with h5py.File(folder / FILE, "r+") as file:
        change(file)
    facts = read_model_file(folder)
    facts["weights"] |= {"bytes": (folder / FILE).stat().st_size, "sha256": sha256(folder / FILE)}
    (folder / "model.json").write_text(json.dumps(facts))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RegistryError, match=message):
        script.convert(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("now", "then"),
    [
        (
            "chain/flow_layers/factor_out/chain/flow_layers/act_norm/vars/0",
            "flow_layers/factor_out/flow_layers/act_norm/vars/0",
        ),
        (
            "chain/flow_layers/variational_dequantize/chain/flow_layers/checkerboard_coupling/head/vars/0",
            "flow_layers/variational_dequantize/noise_layers/checkerboard_coupling/head/vars/0",
        ),
        ("layers/iaf/chain/flow_layers/invert/layer/made/vars/0", "flow_layers/invert/layer/made/vars/0"),
        ("posterior_flow/chain/flow_layers/invert/layer/made/vars/0", "flow_layers/invert/layer/made/vars/0"),
    ],
)
def test_names_that_keras_gives_to_chains_are_as_they_were(now, then):
    assert script.as_in_format_1(now) == then
