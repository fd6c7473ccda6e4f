"""Makes anew all that is made from `pretrained/*/model.json`, without loading weights or training.

python .ci/results.py [--flops] [--speed] [--statistics] [NAME ...]

These are the cards, with their curves and the results that hubs read, `pretrained/results.csv`, and the
table of the README. --flops counts the arithmetic of trainings that have not counted it, those on TensorFlow;
it needs KERAS_BACKEND=jax. --speed times the densities of the models named, or of all, on this machine, which
should do nothing else; --statistics holds samples to images of the test split, read from TFDS_DATA_DIR. Both
keep their figures in `model.json`.
"""

import argparse
import pathlib
import time

import numpy as np

import flowzoo
from flowzoo.registry import results
from flowzoo.registry.folder import MODEL_FILE, read_model_file, write_model_file, write_text
from flowzoo.registry.publish import write_card
from flowzoo.training.arithmetic import training_flops
from flowzoo.training.data import labels_for, reader
from flowzoo.training.hardware import hardware
from flowzoo.training.statistics import sample_statistics

ROOT = pathlib.Path(__file__).resolve().parents[1]
EXAMPLES = 128  # that are timed at once


def speed(folder):
    """The examples a second of a model's density, for a VAE of its ELBO, and with what they were measured."""
    flow = flowzoo.load(folder)
    x, *others = flow.fixed_inputs()
    x = np.resize(x, (EXAMPLES, *x.shape[1:]))
    if isinstance(flow, flowzoo.FlowVAE):
        compute, inputs = flow.elbo, (x,)
    else:
        compute, context = flow.log_prob, others[0]
        inputs = (x, None if context is None else np.resize(context, (EXAMPLES, *context.shape[1:])))
    seconds = []
    for _ in range(6):  # the first compiles
        started = time.perf_counter()
        np.asarray(compute(*inputs, seed=0))
        seconds.append(time.perf_counter() - started)
    return {
        "examples_per_second": round(EXAMPLES / min(seconds), 1),
        "batch_size": EXAMPLES,
        "hardware": hardware(),
        "backend": flowzoo.backend.name,
    }


def rewrite_table(path, rows):
    """Puts rows in the place of those of the table whose heading is `results.COLUMNS`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    first = lines.index(f"| {' | '.join(results.COLUMNS)} |") + 2
    last = next(i for i in range(first, len(lines)) if not lines[i].startswith("|"))
    # In the order that a person has given them; new ones come last.
    order = {line.split("|")[2]: i for i, line in enumerate(lines[first:last])}
    lines[first:last] = sorted(rows, key=lambda row: order.get(row.split("|")[2], len(order)))
    write_text(path, "\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="models to count or to time; by default all")
    parser.add_argument("--flops", action="store_true", help="count the arithmetic of trainings")
    parser.add_argument("--speed", action="store_true", help="time densities on this machine")
    parser.add_argument("--statistics", action="store_true", help="hold samples to real images")
    arguments = parser.parse_args()
    if arguments.flops and flowzoo.backend.name != "jax":
        parser.error("--flops needs KERAS_BACKEND=jax, which has a training step as one program")
    every = []
    for path in sorted((ROOT / "pretrained").glob(f"*/{MODEL_FILE}")):
        folder, facts = path.parent, read_model_file(path.parent)
        if "weights" not in facts:
            continue
        named = not arguments.names or facts["name"] in arguments.names
        if arguments.flops and named and "flops" not in facts["training"]:
            facts["training"]["flops"] = training_flops(facts, facts["training"]["examples"])
            print(f"{facts['name']}: {facts['training']['flops']:.3g} FLOPs of training", flush=True)
        if arguments.speed and named:
            facts["speed"] = speed(folder)
            print(f"{facts['name']}: {facts['speed']['examples_per_second']:,} examples a second", flush=True)
        if arguments.statistics and named:
            flow = flowzoo.load(folder)
            found = sample_statistics(flow, facts, reader(facts)("test", labels_for(flow, facts["data"])))
            if found is not None:
                facts["statistics"] = found
        write_model_file(folder, facts)
        write_card(folder, facts)
        every.append(facts)
    write_text(ROOT / "pretrained" / "results.csv", results.table(every))
    rewrite_table(ROOT / "README.md", [results.row(facts) for facts in every])


if __name__ == "__main__":
    main()
