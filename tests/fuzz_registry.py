"""Mutated model.json and weights files load, or raise flowzoo's own error: fuzz_registry.py COUNT [SEED]."""

import collections
import hashlib
import json
import os
import pathlib
import random
import sys
import tempfile
import threading
import time
import types
import warnings

import numpy as np
from hub_server import FILE, Hub

import flowzoo
from flowzoo.registry import RegistryError
from flowzoo.testing import perturb

VALUES = [
    *(None, True, -1, 0, 1, 7, 10**5, 10**30, 0.5, 1e300, "", "x", "relu", [], [8], [10**9] * 3, {}, [[1]]),
    *("../../x", "../../../escaped", "/tmp/escaped", "..", "a/b", "tiny\0", "C:\\x", "http://x", "~/x"),
]


def mutate_json(facts, rng):
    """Changes, drops or adds one or several entries, or spoils the text."""
    facts = json.loads(json.dumps(facts))
    for _ in range(rng.choice([1, 1, 1, 3])):
        target = rng.choice([facts, facts["config"], facts["config"], facts["weights"]])
        if not isinstance(target, dict):
            continue
        key = rng.choice([*target, "extra"])
        if rng.random() < 0.2:
            target.pop(key, None)
        else:
            target[key] = rng.choice(VALUES)
        if not isinstance(facts.get("config"), dict) or not isinstance(facts.get("weights"), dict):
            break
    text = bytearray(json.dumps(facts).encode())
    if rng.random() < 0.3:
        text[rng.randrange(len(text))] = rng.randrange(256)
    return bytes(text)


def mutate_weights(content, rng):
    """Spoils some bytes, half of the time in the head of the file, or cuts it."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 4, 64])):
        content[rng.randrange(len(content) if rng.random() < 0.5 else 2048)] = rng.randrange(256)
    return bytes(content[: rng.randrange(1, len(content))] if rng.random() < 0.1 else content)


def models():
    """Small flows of several classes, with weights that are not their start."""
    made = [
        flowzoo.NICE(event_shape=4, couplings=2, hidden_units=(8,)),
        flowzoo.MAF(event_shape=3, autoregressive_layers=1, hidden_units=(8,)),
        flowzoo.Glow(event_shape=(4, 4, 1), levels=1, steps=1, hidden_channels=4, classes=2),
    ]
    for flow in made:
        perturb(flow, scale=0.1)
    return made


def works(flow):
    """Whether a flow has a density and draws samples of its shape."""
    context = None if flow.context_shape is None else np.zeros((2, *flow.context_shape), "float32")
    z = np.zeros((2, flow.dimensions), "float32")
    x, log_det = flow.forward_and_log_det(z, context)
    return tuple(x.shape) == (2, *flow.event_shape) and np.isfinite(np.asarray(log_det)).all()


class Writes:
    """Paths that Python code opened for writing, made, moved or deleted, while `on`.

    What `shutil.rmtree` deletes below an open folder is told of by the folder alone.
    """

    events = {"os.rename": (0, 1), "os.remove": (0,), "os.mkdir": (0,), "os.rmdir": (0,), "os.symlink": (1,)}

    def __init__(self):
        self.on = False
        self.paths = set()
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if not self.on:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, bytes)) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.paths.add(os.fsdecode(path))
        below_open_folder = event in ("os.remove", "os.rmdir") and arguments[-1] != -1
        for i in () if below_open_folder else self.events.get(event, ()):
            self.paths.add(os.fsdecode(arguments[i]))

    def outside(self, *folders):
        """The paths that lie in none of `folders`."""
        inside = tuple(f"{folder}{os.sep}" for folder in folders)
        return {path for path in self.paths if not f"{os.path.abspath(path)}{os.sep}".startswith(inside)}


def fuzz(count, seed=0):
    """Tries `count` mutations; returns how many loaded and how many were refused, and the slowest."""
    rng = random.Random(seed)
    found = collections.Counter(loaded=0, refused=0)
    slowest = 0.0
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work).resolve()
        served = work / "served"
        originals = []
        for i, flow in enumerate(models()):
            facts = flowzoo.save_pretrained(flow, served / f"model{i}")
            originals.append((facts, (served / f"model{i}" / FILE).read_bytes()))
        files = {path.relative_to(work) for path in served.rglob("*")}
        environment = {name: os.environ.get(name) for name in ("FLOWZOO_HUB", "FLOWZOO_HOME")}
        temporary, tempfile.tempdir = tempfile.tempdir, str(work / "tmp")
        (work / "tmp").mkdir()
        writes = Writes()
        with Hub(served) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            os.environ |= {"FLOWZOO_HUB": server.address, "FLOWZOO_HOME": str(work / "home")}
            try:
                for i in range(count):
                    name = f"model{i % len(originals)}"
                    facts, whole = originals[i % len(originals)]
                    content = whole
                    if rng.random() < 0.5:
                        text = mutate_json(facts, rng)
                    else:  # the attacker also states the hash of what they made
                        content = mutate_weights(whole, rng)
                        stated = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                        text = json.dumps({**facts, "weights": {**facts["weights"], **stated}}).encode()
                    (served / name / FILE).write_bytes(content)
                    (served / name / "model.json").write_bytes(text)
                    started = time.monotonic()
                    writes.on = True
                    try:
                        flow = flowzoo.load(name if rng.random() < 0.5 else served / name)
                        assert works(flow)
                    except RegistryError:
                        found["refused"] += 1
                    else:
                        found["loaded"] += 1
                    finally:
                        writes.on = False
                    slowest = max(slowest, time.monotonic() - started)
            finally:
                server.shutdown()
                tempfile.tempdir = temporary
                for key, value in environment.items():
                    os.environ.pop(key) if value is None else os.environ.update({key: value})
        assert {path.relative_to(work) for path in served.rglob("*")} == files
        assert not writes.outside(work / "home", work / "tmp"), writes.outside(work / "home", work / "tmp")
    return {**found, "slowest": round(slowest, 1)}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    import pooch.core

    pooch.core.time = types.SimpleNamespace(sleep=lambda seconds: None)
    print(fuzz(*map(int, sys.argv[1:])))
