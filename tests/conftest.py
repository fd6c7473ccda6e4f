import os

# The tests run in one process a core, so each computes with one thread.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
# They compile much and compute little.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import json
import shutil
import threading
import types

import hypothesis
import keras
import matplotlib
import pytest
from hub_server import Hub
from recipes import RECIPE

import flowzoo
from flowzoo.testing import perturb

matplotlib.use("Agg")

# Few examples, always the same ones, unless pytest is given --hypothesis-profile=thorough.
everywhere = {"deadline": None, "suppress_health_check": list(hypothesis.HealthCheck)}
hypothesis.settings.register_profile("quick", max_examples=6, derandomize=True, database=None, **everywhere)
hypothesis.settings.register_profile("thorough", max_examples=200, print_blob=True, **everywhere)
hypothesis.settings.load_profile("quick")

collect_ignore = ["several_devices.py"]  # a program of test_distribution.py


@pytest.fixture(autouse=True)
def fixed_seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def little_compiling(request, monkeypatch):
    """On TensorFlow, which traces for longer than quick tests compute, they run operation by operation.

    Those marked `compiled`, and the slow ones, run as graphs; those marked `xla`, as they do for users. On
    JAX all are compiled.
    """
    if flowzoo.backend.name != "tensorflow" or request.node.get_closest_marker("xla"):
        return
    monkeypatch.setattr(flowzoo.backend, "prefers_xla", lambda convolutions: False)
    if not any(map(request.node.get_closest_marker, ("compiled", "slow"))):
        monkeypatch.setattr(flowzoo.compiled.Program, "run", run_as_it_is)


def run_as_it_is(program, examples, shared=()):
    """What `Program.run` gives, by the method itself."""
    return program(
        *(None if part is None else keras.ops.convert_to_tensor(part) for part in examples), *shared
    )


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A folder of pretrained models with one small model, "tiny"."""
    folder = tmp_path_factory.mktemp("published")
    flow = flowzoo.NICE(event_shape=4, couplings=2, hidden_units=(64, 64))
    perturb(flow)
    flowzoo.save_pretrained(flow, folder / "tiny", description="Small.", licence="Apache-2.0")
    return folder


@pytest.fixture
def hub(published, tmp_path, monkeypatch):
    """A server of `published` that FLOWZOO_HUB names, and an empty cache."""
    with Hub(published) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("FLOWZOO_HUB", server.address)
        monkeypatch.setenv("FLOWZOO_HOME", str(tmp_path / "home"))
        monkeypatch.setattr("pooch.core.time", types.SimpleNamespace(sleep=lambda seconds: None))
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def mock_mnist():
    """MNIST as TFDS gives it, of 100 made-up images."""
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=100):
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory, mock_mnist):
    """The folder of a model that was trained on made-up data."""
    folder = tmp_path_factory.mktemp("trained") / "tiny-mnist"
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps(RECIPE))
    flowzoo.training.train(folder, folder, verbose=0)
    return folder


@pytest.fixture
def model_folder(trained, tmp_path, monkeypatch):
    """A copy of the trained model, which a test may spoil, in the hub that is in use."""
    folder = tmp_path / "hub" / "tiny-mnist"
    shutil.copytree(trained, folder)
    monkeypatch.setenv("FLOWZOO_HUB", str(folder.parent))
    return folder
