"""One library at one cell, in a process of its own: python -m peers.worker LIBRARY CELL

Takes and gives JSON lines. {"build": mode} answers with the number of parameters, the actions and
the version; {"mode": mode, "action": action, "calls": n} with the seconds of n calls. What fails
answers with "error".
"""

import importlib
import importlib.metadata
import json
import os
import sys
import time

from peers.cells import CELLS


def main(library, cell):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    library, built = importlib.import_module(f"peers.{library}"), {}
    for line in sys.stdin:
        try:
            answer = respond(json.loads(line), library, CELLS[cell], built)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(answer), file=answers, flush=True)


def respond(request, library, cell, built):
    """The answer to one request; `built` holds the actions of each mode."""
    if "build" in request:
        parameters, built[request["build"]] = library.build(cell, request["build"])
        return {
            "parameters": int(parameters),
            "actions": list(built[request["build"]]),
            "version": importlib.metadata.version(library.PACKAGE),
        }
    start = time.perf_counter()
    inner = built[request["mode"]][request["action"]](request["calls"])
    return {"seconds": inner or time.perf_counter() - start}


if __name__ == "__main__":
    main(*sys.argv[1:])
