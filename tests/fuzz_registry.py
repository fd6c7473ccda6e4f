"""Mutated model.json and weights files load, or raise flowzoo's own error: fuzz_registry.py COUNT."""

import hashlib
import json
import pathlib
import random
import sys
import tempfile
import warnings

import flowzoo
from flowzoo.registry import RegistryError, save_pretrained

VALUES = [None, True, -1, 0, 1, 7, 10**5, 10**30, 0.5, "", "x", "../../x", "relu", [], [8], [10**9] * 3, {}]


def mutate_json(facts, rng):
    """Changes, drops or adds one entry, or spoils the text."""
    facts = json.loads(json.dumps(facts))
    target = rng.choice([facts, facts["config"], facts["config"], facts["weights"]])
    key = rng.choice([*target, "extra"])
    if rng.random() < 0.2:
        target.pop(key, None)
    else:
        target[key] = rng.choice(VALUES)
    text = bytearray(json.dumps(facts).encode())
    if rng.random() < 0.3:
        text[rng.randrange(len(text))] = rng.randrange(256)
    return bytes(text)


def mutate_weights(content, rng):
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 4, 64])):
        content[rng.randrange(len(content) if rng.random() < 0.5 else 2048)] = rng.randrange(256)
    return bytes(content[: rng.randrange(1, len(content))] if rng.random() < 0.1 else content)


def fuzz(count, seed=0):
    """Tries `count` mutations; returns how many loaded and how many were refused."""
    rng = random.Random(seed)
    found = {"loaded": 0, "refused": 0}
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work, "inner", "tiny")
        flow = flowzoo.NICE(event_shape=4, couplings=2, hidden_units=(8,))
        save_pretrained(flow, folder)
        whole, facts = (
            (folder / "model.weights.h5").read_bytes(),
            json.loads((folder / "model.json").read_text()),
        )
        for i in range(count):
            (folder / "model.weights.h5").write_bytes(whole)
            (folder / "model.json").write_text(json.dumps(facts))
            if i % 2:
                (folder / "model.json").write_bytes(mutate_json(facts, rng))
            else:  # the attacker also states the hash of what they made
                content = mutate_weights(whole, rng)
                (folder / "model.weights.h5").write_bytes(content)
                weights = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                changed = {**facts, "weights": {**facts["weights"], **weights}}
                (folder / "model.json").write_text(json.dumps(changed))
            try:
                flow = flowzoo.load(folder)
            except RegistryError:
                found["refused"] += 1
            else:
                assert flow.sample(2, seed=0).shape == (2, *flow.event_shape)
                found["loaded"] += 1
        assert {path.name for path in pathlib.Path(work).rglob("*") if path.is_file()} == {
            "model.json",
            "model.weights.h5",
            "README.md",
        }
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(fuzz(int(sys.argv[1])))
