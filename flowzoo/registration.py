"""Makes flowzoo's classes known to Keras without importing Keras before anybody uses it.

`keras.models.load_model` finds a class only once it is registered. So as soon as Keras or a module
of flowzoo that needs it has been imported, whichever comes first, the catalogue is imported too.
"""

import importlib
import importlib.util
import sys


def register():
    """Registers now if Keras is there already, else as soon as it is."""
    if "keras" in sys.modules:
        importlib.import_module("flowzoo.models").classes()
    else:
        sys.meta_path.insert(0, _WatchImports())


class _WatchImports:
    """Finds no module itself; makes the catalogue after the outermost import that brought in Keras."""

    def __init__(self):
        self.depth = 0
        self.finding = False

    def find_spec(self, name, path=None, target=None):
        if self.finding or (name != "keras" and not name.startswith("flowzoo.")):
            return None
        self.finding = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.finding = False
        if spec is not None and spec.loader is not None:
            self._watch(spec.loader)
        return spec

    def _watch(self, loader):
        execute = loader.exec_module

        def exec_module(module):
            del loader.exec_module
            self.depth += 1
            try:
                execute(module)
            finally:
                self.depth -= 1
            if self.depth == 0 and "keras" in sys.modules and self in sys.meta_path:
                sys.meta_path.remove(self)
                importlib.import_module("flowzoo.models").classes()

        loader.exec_module = exec_module
