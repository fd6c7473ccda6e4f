"""Seconds of flowzoo's first calls at one cell, in this new process: python -m peers.first_calls CELL

The last line that it prints is their JSON.
"""

import json
import sys
import time

from peers.cells import CELLS


def main(cell):
    seconds, last = {}, time.perf_counter()

    def lap(name):
        nonlocal last
        seconds[name], last = time.perf_counter() - last, time.perf_counter()

    import flowzoo

    lap("import flowzoo")
    _ = flowzoo.Flow  # what it needs is imported here
    lap("import a flow")
    import numpy as np

    from peers.flowzoo import model

    x = cell.batches(1)[0]
    lap("")
    flow = model(cell)
    lap("construct")
    flow.fit(x, batch_size=cell.batch, verbose=0)
    lap("fit, one step")
    np.asarray(flow.log_prob(x))
    lap("log_prob")
    np.asarray(flow.sample(cell.samples))
    lap("sample")
    z = np.asarray(flow.encode(x))
    lap("encode")
    np.asarray(flow.decode(z))
    lap("decode")
    del seconds[""]
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(CELLS[sys.argv[1]])
