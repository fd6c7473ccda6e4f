"""Worker processes, and their turns: one measures while all others wait for their next line."""

import json
import os
import pathlib
import select
import subprocess
import tempfile

from peers.cells import CELLS


class Failure(Exception):
    """What a worker could not do, and why."""


class Worker:
    """A process of `peers.worker` for one library at one cell."""

    def __init__(self, python, library, cell, patience):
        self.patience = patience
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115, open as long as the process
        self.process = subprocess.Popen(
            [python, "-m", "peers.worker", library.module, cell],
            cwd=pathlib.Path(__file__).parents[1],
            env={**os.environ, **library.variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def ask(self, **request):
        """The answer to a request. Raises: Failure, after `patience` seconds too."""
        if self.process.poll() is not None:
            raise Failure(f"its process had ended: {self.last_words()}")
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], self.patience)[0]:
            self.end()
            raise Failure(f"no answer to {request} in {self.patience} s")
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise Failure(f"its process ended: {self.last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failure(answer["error"])
        return answer

    def last_words(self):
        self.log.seek(0)
        return " ".join(self.log.read().strip().splitlines()[-1:])

    def end(self):
        self.process.kill()
        self.process.wait()


class Contestant:
    """One library in one mode: its `rates` by action, and the calls of one repetition of each."""

    def __init__(self, library, mode, worker, cell):
        self.library, self.mode, self.worker, self.cell = library, mode, worker, cell
        self.calls, self.rates = {}, {}
        try:
            answer = worker.ask(build=mode)
        except Failure:
            worker.end()
            raise
        self.parameters, self.version, self.actions = (
            answer[key] for key in ("parameters", "version", "actions")
        )

    @property
    def name(self):
        return f"{self.library} {self.mode}".strip()

    def repeat(self, action, calls):
        """The seconds of so many calls."""
        return self.worker.ask(mode=self.mode, action=action, calls=calls)["seconds"]

    def warm_up(self, action, seconds):
        """Calls until nothing is left to compile, finds how many calls take `seconds`; gives the rate."""
        self.repeat(action, 1)
        calls, taken = 1, self.repeat(action, 1)
        while taken < seconds / 2 and calls < 10000:
            calls = min(10 * calls, max(calls + 1, round(calls * seconds / max(taken, 1e-6))))
            taken = self.repeat(action, calls)
        self.calls[action] = max(1, round(calls * seconds / taken))
        return self.rate(action, calls, taken)

    def rate(self, action, calls, taken):
        return calls * CELLS[self.cell].units(action) / taken

    def turn(self, action):
        taken = self.repeat(action, self.calls[action])
        self.rates[action].append(self.rate(action, self.calls[action], taken))


def measure(contestants, action, *, rounds, seconds, report):
    """Fills in the rates of one action, in rotation.

    Peers of under half the rate of the fastest, in warming up, keep that one rate and take no
    further turn. A contestant that fails tells `report` and drops out.
    """

    def attempt(contestant, method, *arguments):
        try:
            return method(*arguments)
        except Failure as failure:
            contestant.rates.pop(action, None)
            report(f"{contestant.name}, {action}: {failure}")

    warm = {}
    for contestant in contestants:
        if action in contestant.actions and (
            rate := attempt(contestant, contestant.warm_up, action, seconds)
        ):
            warm[contestant] = rate
            contestant.rates[action] = [rate]
    fastest = max(
        (rate for contestant, rate in warm.items() if not is_flowzoo(contestant.library)), default=0
    )
    turns = [c for c, rate in warm.items() if is_flowzoo(c.library) or rate > fastest / 2]
    for contestant in turns:
        contestant.rates[action] = []
    for _ in range(rounds):
        for contestant in turns:
            if action in contestant.rates:
                attempt(contestant, contestant.turn, action)


def is_flowzoo(library):
    return library.startswith("flowzoo")
