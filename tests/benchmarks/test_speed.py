"""How long a density, a sample and a training step take: pytest tests/benchmarks."""

import keras
import numpy as np
import pytest
from helpers import pass_for_each_dimension

import flowzoo
from flowzoo.layers import MaskedAutoregressive

DIMENSIONS = 64
FLOWS = {
    "NICE": lambda: flowzoo.NICE(event_shape=DIMENSIONS, hidden_units=(256, 256)),
    "RealNVP": lambda: flowzoo.RealNVP(event_shape=DIMENSIONS, hidden_units=(256, 256)),
    "MAF": lambda: flowzoo.MAF(event_shape=DIMENSIONS, hidden_units=(256, 256)),
}


@pytest.fixture(params=FLOWS)
def flow(request):
    flow = FLOWS[request.param]()
    flow.compile(optimizer=keras.optimizers.Adam(1e-3))
    return flow


def test_log_prob(benchmark, flow):
    x = np.random.default_rng(0).normal(size=(4096, DIMENSIONS)).astype("float32")
    benchmark.pedantic(lambda: flow.predict(x, batch_size=512, verbose=0), rounds=5, warmup_rounds=1)


def test_sample(benchmark, flow):
    benchmark.pedantic(lambda: np.asarray(flow.sample(512, seed=0)), rounds=5, warmup_rounds=1)


def test_fit(benchmark, flow):
    x = np.random.default_rng(0).normal(size=(4096, DIMENSIONS)).astype("float32")
    benchmark.pedantic(lambda: flow.fit(x, batch_size=128, verbose=0), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize(("size", "hidden_units", "n"), [(64, (256, 256), 512), (784, (1024,), 16)])
@pytest.mark.parametrize("naive", [False, True], ids=["one pass's arithmetic", "pass for each dimension"])
def test_autoregressive_sample(benchmark, monkeypatch, size, hidden_units, n, naive):
    if naive:
        monkeypatch.setattr(MaskedAutoregressive, "forward_and_log_det", pass_for_each_dimension)
    flow = flowzoo.MAF(event_shape=size, hidden_units=hidden_units)
    rounds = 1 if naive else 5
    benchmark.pedantic(lambda: np.asarray(flow.sample(n, seed=0)), rounds=rounds, warmup_rounds=1)
