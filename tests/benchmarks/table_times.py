"""How long training on awkward tables takes beside clean ones.

python tests/benchmarks/table_times.py [--rounds 5] [--rows 4000]

prints, for each flow, kind of table and way of feeding it, the seconds of two epochs over those of a normal
table of the same shape that is fed in the same way. The tables take turns, and the least time of all rounds
counts, so that other work on the machine changes little. The first round, which compiles, does not count.
"""

import argparse
import itertools
import pathlib
import sys
import time
import warnings

import keras
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import test_tables
from cases import MODELS

FLOWS = ("RealNVP", "MAF", "NSF")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--columns", type=int, default=3)
    parser.add_argument("--flows", nargs="+", default=FLOWS, choices=MODELS)
    parser.add_argument("--feeds", nargs="+", default=["array"], choices=test_tables.FEEDS)
    options = parser.parse_args()
    tables = made(options.rows, options.columns)
    for name, feed in itertools.product(options.flows, options.feeds):
        flow = MODELS[name](event_shape=options.columns)
        flow.compile(optimizer=keras.optimizers.Adam(1e-3))
        flow.optimizer.build(flow.trainable_variables)
        variables = [*flow.weights, *flow.optimizer.variables]
        start = [keras.ops.convert_to_numpy(variable) for variable in variables]
        seconds = {kind: [] for kind in tables}
        for _ in range(options.rounds + 1):
            for kind, x in tables.items():
                for variable, value in zip(variables, start, strict=True):
                    variable.assign(value)
                seconds[kind].append(timed(flow, x, feed))
        least = {kind: min(of[1:]) for kind, of in seconds.items()}
        print(f"{name}, {feed}, {keras.backend.backend()}: {least['normal']:.2f} s for a normal table")
        for kind, of in least.items():
            print(f"  {kind:24} {of / least['normal']:5.2f}", flush=True)


def made(rows, columns):
    """Tables by the kind of their columns."""
    random = np.random.default_rng(0)
    tables = {
        kind: np.stack([column(random, rows) for _ in range(columns)], axis=1)
        for kind, column in test_tables.COLUMNS.items()
    }
    normal = tables["normal"]
    for place, unit in test_tables.PLACES_AND_UNITS[1:]:
        tables[f"{place:g} + {unit:g} normal"] = place + unit * normal
    tables["one column copied"] = np.repeat(normal[:, :1], columns, axis=1)
    tables["one row repeated"] = np.repeat(normal[:1], rows, axis=0)
    return {kind: x.astype("float32") for kind, x in tables.items()}


def timed(flow, x, feed):
    steps = {"steps_per_epoch": -(-len(x) // test_tables.BATCH)} if feed == "generator" else {}
    data = test_tables.FEEDS[feed](x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        begun = time.perf_counter()
        flow.fit(data, epochs=2, verbose=0, **steps)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
