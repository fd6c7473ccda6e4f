"""The models that a page may open: loaded once, used by one computation at a time."""

import collections
import contextlib
import importlib
import pathlib
import sys
import threading

from flowzoo.registry.errors import RegistryError
from flowzoo.registry.index import info, list_models, look_up

MOST = 4  # models kept in memory


class Opened:
    """A loaded model with what comes with it, and the lock that its computations take turns by."""

    def __init__(self, model, facts, directions):
        self.model = model
        self.facts = facts
        self.directions = directions
        self.lock = threading.Lock()
        self.done = set()  # kinds of work that have been compiled


class Library:
    """The models of `flowzoo list`, and one more that the user named.

    Arguments:
        own: what `own_model` gives, or None.
    """

    def __init__(self, own=None):
        self.own = own
        self.opened = collections.OrderedDict()
        self.loading = threading.Lock()

    def names(self):
        """Names of all models, the user's own folder first."""
        names = list_models()
        return names if self.own is None or self.own in names else [self.own, *names]

    def start(self):
        """The model that a page shows first: the user's own, else a small one of images with classes."""
        ready = [model["name"] for model in self.listed() if not model["problem"]]
        return next((name for name in (self.own, "glow-mnist", *ready) if name in ready), None)

    def listed(self):
        """What the list of the page shows: name, title, and why a model cannot be opened, or ""."""
        return [self._listed(name) for name in self.names()]

    def _listed(self, name):
        try:
            facts = info(name)
        except RegistryError:
            return {"name": name, "title": name, "problem": "cannot be read"}
        title = f"{facts['name']} (own)" if name == self.own and name not in list_models() else name
        return {"name": name, "title": title, "problem": "" if "weights" in facts else "not trained yet"}

    @contextlib.contextmanager
    def using(self, name, tell):
        """The `Opened` model of that name, for the caller alone until the context ends.

        Arguments:
            tell: called with a few words whenever the wait is for something else.

        Raises: RegistryError for a name that is not in the list, and what `flowzoo.load` raises.
        """
        source = self._open(name, tell)
        with _turn(source.lock, tell, "Waiting for another computation of this model"):
            yield source

    def _open(self, name, tell):
        if name not in self.names():
            raise RegistryError(f"No model of this page is called {name!r}.")
        with _turn(self.loading, tell, "Waiting for another model to load"):
            if name not in self.opened:
                if "keras" not in sys.modules:
                    tell("Starting Keras")
                weights = importlib.import_module("flowzoo.registry.weights")
                attributes = importlib.import_module("flowzoo.registry.attributes")
                tell(f"Loading {name}")
                facts = info(name)
                self.opened[name] = Opened(weights.load(name), facts, attributes.decoded(facts))
            self.opened.move_to_end(name)
            while len(self.opened) > MOST:
                self.opened.popitem(last=False)
            return self.opened[name]


@contextlib.contextmanager
def _turn(lock, tell, waiting):
    if not lock.acquire(blocking=False):
        tell(waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def own_model(name):
    """A name given on the command line as the library knows it: a folder, or one fetched, as its whole path.

    Raises: RegistryError if there is no such model.
    """
    folder = None if name is None else look_up(name)[1]
    return name if folder is None else str(pathlib.Path(folder).resolve())
