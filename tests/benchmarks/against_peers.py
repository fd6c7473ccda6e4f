"""How fast flowzoo is beside other libraries of normalizing flows.

python tests/benchmarks/against_peers.py

Measures training, density and sampling of the flows of `peers/cells.py` in float32: flowzoo as a user
calls it (`fit` on arrays; `log_prob` of an array and `sample`, until the result is an array again) on
TensorFlow and on JAX, and each peer in its fastest mode: zuko, nflows and normflows eagerly and by
torch.compile, flowjax and distrax jitted, TFP's own bijectors in tf.function with and without XLA.
bayesflow is left out: it needs Python 3.12. Their conditioners have the same sizes; a number of
parameters that differs by over 2% from flowzoo's is pointed out.

Each library runs in a process of its own, each peer in a virtual environment that is made once, in
--envs (TFP's in flowzoo's). One process measures while the others wait, in rotation; a rate is the
median of --rounds repetitions of about --seconds each, after warming up until nothing is compiled.
Peers of under half the fastest peer's rate are measured once. It prints ratios to the fastest peer,
the seconds of flowzoo's first calls, beside those of its conditioners alone in Keras, and all rates.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import platformdirs
from peers.cells import ACTIONS, CELLS
from peers.environments import LIBRARIES, python_of
from peers.rotation import Contestant, Failure, Worker, is_flowzoo, measure

BACKENDS = ("tensorflow", "jax")
FIRST_CALLS = ("realnvp", "glow")


def main():
    options = arguments()
    use_cores(options.threads)
    start, pythons = time.perf_counter(), {}
    for name in options.libraries:
        try:
            own = LIBRARIES[name].installs
            pythons[name] = python_of(name, options.envs) if own else options.flowzoo_python
        except RuntimeError as error:
            report(f"{name} is left out: {error}")
    rates = {cell: measure_cell(cell, pythons, options) for cell in options.cells}
    print(ratio_table(rates))
    first = {} if options.no_first_calls else first_calls(options.flowzoo_python, options.libraries)
    if first:
        print(first_calls_table(first))
    print(rate_table(rates))
    report(f"It took {(time.perf_counter() - start) / 60:.0f} minutes.")
    if options.json:
        found = {"cells": rates, "first_calls": first, "cores": len(os.sched_getaffinity(0))}
        options.json.write_text(json.dumps(found, indent=1))


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cache = platformdirs.user_cache_path("flowzoo-peers")
    parser.add_argument("--envs", type=pathlib.Path, default=cache, help="folder of the peers' environments")
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=CELLS)
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES), choices=LIBRARIES)
    parser.add_argument("--rounds", type=int, default=5, help="repetitions, whose median counts")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one repetition")
    parser.add_argument("--threads", type=int, help="cores and threads of every library; by default all")
    parser.add_argument("--patience", type=float, default=600, help="seconds until a call is given up")
    parser.add_argument("--flowzoo-python", default=sys.executable, help="a Python that has flowzoo")
    parser.add_argument("--no-first-calls", action="store_true", help="leave the second table out")
    parser.add_argument("--json", type=pathlib.Path, help="file to write everything to")
    return parser.parse_args()


def use_cores(threads):
    """Keeps this process and those that it starts to so many cores, and their pools to as many threads."""
    if threads:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            os.environ[name] = str(threads)


def report(line):
    print(line, file=sys.stderr, flush=True)


def measure_cell(cell, pythons, options):
    """What each contestant did at a cell: a list of dictionaries, flowzoo's first."""
    workers = [  # all import at once
        (name, mode, Worker(python, LIBRARIES[name], cell, options.patience))
        for name, python in pythons.items()
        if cell in LIBRARIES[name].cells
        for mode in LIBRARIES[name].modes
    ]
    contestants = []
    for name, mode, worker in workers:
        try:
            contestants.append(Contestant(name, mode, worker, cell))
        except Failure as failure:
            report(f"{cell}: {name} {mode}: {failure}")
    try:
        for action in ACTIONS:
            report(f"{cell}, {action}: {', '.join(c.name for c in contestants)}")
            measure(contestants, action, rounds=options.rounds, seconds=options.seconds, report=report)
    finally:
        for contestant in contestants:
            contestant.worker.end()
    return [
        {
            "name": contestant.name,
            "library": contestant.library,
            "version": contestant.version,
            "parameters": contestant.parameters,
            "rates": contestant.rates,
        }
        for contestant in contestants
    ]


def median(contestant, action):
    """The median rate, or None."""
    return statistics.median(contestant["rates"][action]) if contestant["rates"].get(action) else None


def ratio_table(rates):
    """The issue's table: flowzoo's rates over those of the fastest peer, which stand last."""
    names = ", ".join(ACTIONS)
    lines = [
        f"| TensorFlow / JAX, to the fastest peer | {' | '.join(ACTIONS)} | fastest peer ({names}) |",
        "|---" * (len(ACTIONS) + 2) + "|",
    ]
    for cell, contestants in rates.items():
        ratios, fastest = [], []
        for action, unit in ACTIONS.items():
            peers = {c["name"]: median(c, action) for c in contestants if not is_flowzoo(c["library"])}
            name, best = max(peers.items(), key=lambda peer: peer[1] or 0, default=("", None))
            own = {c["library"]: median(c, action) for c in contestants}
            ratios.append(" / ".join(ratio(own.get(f"flowzoo-{backend}"), best) for backend in BACKENDS))
            fastest.append(f"{name} {figure(best)} {unit}" if best else "–")
        lines.append(f"| {CELLS[cell].title} | {' | '.join(ratios)} | {', '.join(fastest)} |")
    return "\n".join(lines) + "\n"


def ratio(rate, best):
    return f"{rate / best:.2f}" if rate and best else "–"


def figure(rate):
    """Three digits, with k for thousands."""
    if not rate:
        return "–"
    return f"{rate / 1000:.3g}k" if rate >= 1000 else f"{rate:.3g}"


def rate_table(rates):
    """Every contestant's median rates, and its number of parameters; one that was timed once has a ¹."""
    header = [f"{action}, {unit}" for action, unit in ACTIONS.items()]
    lines = [f"| | {' | '.join(header)} | parameters | version |", "|---" * (len(header) + 3) + "|"]
    for cell, contestants in rates.items():
        lines.append(f"| **{CELLS[cell].title}** |" + " |" * (len(header) + 2))
        wanted = contestants[0]["parameters"] if contestants else 0
        rounds = max((len(taken) for c in contestants for taken in c["rates"].values()), default=0)
        for contestant in contestants:
            once = [len(contestant["rates"].get(action, ())) == 1 < rounds for action in ACTIONS]
            found = [
                figure(median(contestant, action)) + "¹" * single
                for action, single in zip(ACTIONS, once, strict=True)
            ]
            count = contestant["parameters"]
            differs = "" if abs(count - wanted) <= 0.02 * wanted else f" ({count / wanted - 1:+.1%})"
            parts = [contestant["name"], *found, f"{count:,}{differs}", contestant["version"]]
            lines.append(f"| {' | '.join(parts)} |")
    return "\n".join(lines) + "\n"


def first_calls(python, libraries):
    """{cell: {backend: {call: seconds}}}, and the command's: each in a new process."""
    found = {}
    for backend in BACKENDS:
        if f"flowzoo-{backend}" not in libraries:
            continue
        environment = {**os.environ, "KERAS_BACKEND": backend}
        for cell in FIRST_CALLS:
            report(f"First calls of {cell} on {backend}")
            for of in ("flowzoo", "keras"):
                printed, _ = timed([python, "-m", "peers.first_calls", cell, of], environment)
                found.setdefault(cell, {}).setdefault(backend, {}).update(
                    json.loads(printed.splitlines()[-1])
                )
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "samples.png"
            command = [
                python,
                "-c",
                "from flowzoo.cli import main; main()",
                "sample",
                "nice-mnist",
                "-n",
                "16",
            ]
            _, seconds = timed([*command, "--out", out], environment)
        found.setdefault("command", {})[backend] = {"flowzoo sample nice-mnist -n 16": seconds}
    return found


def timed(command, environment):
    """What a command prints, and its seconds."""
    start = time.perf_counter()
    result = subprocess.run(
        command,
        cwd=pathlib.Path(__file__).parent,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return result.stdout, time.perf_counter() - start


def first_calls_table(first):
    """Seconds of first calls, on each backend."""
    lines = ["| First calls, seconds | TensorFlow | JAX |", "|---|---|---|"]
    for cell, backends in first.items():
        title = CELLS[cell].title + ": " if cell in CELLS else ""
        for call in next(iter(backends.values())):
            seconds = [backends.get(backend, {}).get(call) for backend in BACKENDS]
            shown = ["–" if value is None else f"{value:.2f}" for value in seconds]
            lines.append(f"| {title}{call} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
