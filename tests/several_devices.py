"""Trains small flows on one device and on several, and writes what came of it; test_distribution.py runs it.

python several_devices.py OUT.npz DEVICES [MACHINE PORT]: as one of two machines, if MACHINE is given.
"""

import json
import os
import pathlib
import sys

out, devices, *several = sys.argv[1:]
devices = int(devices)
on_jax = os.environ["KERAS_BACKEND"] == "jax"
if several:
    machine, port = map(int, several)
    addresses = [f"localhost:{port}", f"localhost:{port + 1}"]
    if on_jax:
        os.environ["KERAS_DISTRIBUTION_JOB_ADDRESSES"] = ",".join(addresses)
        os.environ["KERAS_DISTRIBUTION_NUM_PROCESSES"] = "2"
        os.environ["KERAS_DISTRIBUTION_PROCESS_ID"] = str(machine)
    else:
        task = {"type": "worker", "index": machine}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
elif on_jax:
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "") + f" --xla_force_host_platform_device_count={devices}"
    )
else:
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * devices
    )

import keras
import numpy as np
import pytest
from keras import ops

import flowzoo
from flowzoo.datasets import Batches
from flowzoo.layers import CheckerboardCoupling
from flowzoo.networks import ResNet
from flowzoo.training.checkpoints import Checkpoints
from flowzoo.training.devices import find_devices

rng = np.random.default_rng(0)
# On TensorFlow, the last of MAF's batches is of 9 examples, which two devices share as 5 and 4.
last = 12 if on_jax else 9
MODELS = {
    "MAF": (
        lambda: flowzoo.MAF(event_shape=4, autoregressive_layers=2, hidden_units=(16,)),
        2 + rng.normal(size=(19 * 32 + last, 4)).astype("float32"),
        0.02,
    ),
    "RealNVP": (
        lambda: flowzoo.RealNVP(event_shape=4, couplings=2, hidden_units=(16,), normalization="batch"),
        2 + rng.normal(size=(640, 4)).astype("float32"),
        0.02,
    ),
    "ResNet": (
        lambda: flowzoo.Flow([CheckerboardCoupling(ResNet(4, blocks=1))], event_shape=(2, 2, 1)),
        2 + rng.normal(size=(640, 2, 2, 1)).astype("float32"),
        0.02,
    ),
    "Glow": (
        lambda: flowzoo.Glow(event_shape=(4, 4, 1), levels=2, steps=1, hidden_channels=8),
        rng.integers(50, 150, (640, 4, 4, 1)).astype("uint8"),
        0.002,
    ),
}


def trained(name, devices):
    """The weights before and after 20 steps of plain SGD, and the losses of training and validation."""
    make, x, learning_rate = MODELS[name]
    keras.utils.set_random_seed(0)
    batches = Batches(x, batch_size=32)
    with devices.scope():
        flow = make()
        start = flow.get_weights()
        flow.compile(optimizer=keras.optimizers.SGD(learning_rate, momentum=0.9), jit_compile=on_jax)
    with devices.fit_scope():
        validation = None
        if name == "RealNVP":  # by its running averages
            validation = devices.share(Batches(x[:72], batch_size=36, shuffle=False))
        history = flow.fit(
            devices.share(batches), shuffle=False, validation_data=validation, verbose=0
        ).history
    if name == "RealNVP" and devices.count > 1:
        assert np.isfinite(np.asarray(flow.log_prob(x[:5]))).all()
        assert flow.sample(5).shape == (5, 4)
    return start, flow.get_weights(), [history[key][0] for key in sorted(history)]


together = find_devices(devices)
one = find_devices(None)
found = {}
# One noise for all, where replicas otherwise draw their own: the middle of [0, 1).
parts, flowzoo.Flow.noise_parts = flowzoo.Flow.noise_parts, 256 if on_jax else 1
for name in MODELS:
    for kind, used in [("together", together)] if several else [("one", one), ("together", together)]:
        start, weights, losses = trained(name, used)
        found |= {f"{name} {kind} {i}": weight for i, weight in enumerate(weights)}
        found[f"{name} {kind} losses"] = losses
        if kind == "one":
            found |= {f"{name} start {i}": weight for i, weight in enumerate(start)}
flowzoo.Flow.noise_parts = parts

if not several:
    with together.scope():
        flow = flowzoo.Glow(event_shape=(4, 4, 1), levels=1, steps=1, hidden_channels=8)
        flow.compile(optimizer=keras.optimizers.Adam(0.01))
    batches = together.share(Batches(MODELS["Glow"][1], batch_size=64))
    with together.fit_scope():
        found["losses"] = flow.fit(batches, epochs=8, shuffle=False, verbose=0).history["loss"]
    x = ops.zeros((2, 4, 4, 1))
    if on_jax:
        found["noise"] = flow._noise(x, flow._key(None))
    else:
        strategy = flow.distribute_strategy
        draws = [strategy.run(lambda: flow._noise(x, flow._key(None))) for _ in range(2)]
        noise = [strategy.experimental_local_results(draw) for draw in draws]
        found["noise"] = np.concatenate([np.asarray(part) for parts in noise for part in parts])

np.savez(out, **found)

# A recipe's training, interrupted after its first epoch.
recipe = {
    "name": "tiny-moons",
    "description": "A RealNVP of a few weights, for tests.",
    "class": "RealNVP",
    "config": {"event_shape": [2], "couplings": 2, "hidden_units": [8], "normalization": "batch"},
    "data": {
        "name": "two_moons",
        "train": "train",
        "test": "test",
        "points": {"train": 250, "test": 50},
        "licence": "Apache-2.0",
    },
    "recipe": {
        "seed": 0,
        "validation_examples": 50,
        "epochs": 2,
        "batch_size": 40,
        "warmup_steps": 2,
        "optimizer": {"class_name": "Adam", "config": {"learning_rate": 0.01, "use_ema": True}},
        "dtype_policy": "float32",
        "jit_compile": False,
    },
}
folder = pathlib.Path(out).parent / "trained"
if together.machine == 0:
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps(recipe))
together.gather(0)  # nobody goes on before all are here
whole_epoch = Checkpoints.on_epoch_end


def interrupted_epoch(self, epoch, logs=None):
    whole_epoch(self, epoch, logs)
    raise InterruptedError


Checkpoints.on_epoch_end = interrupted_epoch
try:
    flowzoo.training.train(folder, folder, devices=devices)
except InterruptedError:
    Checkpoints.on_epoch_end = whole_epoch
together.gather(0)
facts = flowzoo.training.train(folder, folder, devices=devices)
assert (facts is None) == (together.machine > 0)
assert not (folder / ".training").exists()

if not several:
    recipe["recipe"]["batch_size"] = 41
    (folder / "model.json").rename(folder / "trained.json")
    (folder / "model.json").write_text(json.dumps(recipe))
    with pytest.raises(ValueError, match="41 examples, which 2 devices cannot share evenly"):
        flowzoo.training.train(folder, folder, devices=devices)
    (folder / "trained.json").rename(folder / "model.json")
