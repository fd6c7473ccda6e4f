"""How long a density, a sample and a training step take: pytest tests/benchmarks."""

import keras
import numpy as np
import pytest

import flowzoo

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
