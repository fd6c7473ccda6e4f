"""A model's methods as compiled programs, for any number of examples."""

import time

import keras
import numpy as np
from keras import ops

from flowzoo import backend, checks

PATIENCE = 2.0  # seconds before progress is shown


class Program:
    """A method of a model compiled whole, which sees the model's present weights at every call.

    On JAX, and where XLA compiles for TensorFlow, a program is made for each number of examples; so
    that these stay few, the examples are padded to a round number by copies of the last one. TensorFlow
    without XLA has one program for all numbers. Within a function that is being traced already, such as
    a user's `tf.function`, the method runs as it is, as a part of that.

    Arguments:
        model: a built Keras model, whose weights the method reads. It assigns none.
        method: takes `examples`, tensors (n, ...) or None, then `shared` tensors, and gives a tensor, or
            a list or dict of tensors, of shape (n, ...).
        convolutions: whether the method spends its time in convolutions, see `backend.prefers_xla`.
    """

    def __init__(self, model, method, *, convolutions=False):
        self.method = method
        self.weights = model.weights
        self.xla = backend.prefers_xla(convolutions)
        self.run = self._jax_program() if backend.name == "jax" else self._tensorflow_program()

    def _tensorflow_program(self):
        import tensorflow as tf

        return tf.function(
            self.method, autograph=False, jit_compile=self.xla or None, reduce_retracing=not self.xla
        )

    def _jax_program(self):
        import jax

        @jax.jit
        def run(values, *inputs):
            with keras.StatelessScope(state_mapping=list(zip(self.weights, values, strict=True))):
                return self.method(*inputs)

        return lambda *inputs: run([weight.value for weight in self.weights], *inputs)

    def __call__(self, examples, shared=()):
        """The method's result for examples of one number n, which are arrays, tensors or None."""
        if self._traced():
            return self.method(*examples, *shared)
        n = next(part.shape[0] for part in examples if part is not None)
        size = round_size(n) if self.xla and n is not None and not _tracers(examples) else n
        if size == n:
            return self.run(*examples, *shared)
        result = self.run(*(None if part is None else _padded(part, size) for part in examples), *shared)
        return keras.tree.map_structure(lambda part: _first(part, n), result)

    def _traced(self):
        """Whether TensorFlow is building a graph, or Keras has put other values in the weights' place."""
        if backend.name == "jax":
            return False
        import tensorflow as tf

        return not tf.executing_eagerly() or not all(isinstance(w.value, tf.Variable) for w in self.weights)

    def in_batches(self, examples, shared=(), *, key=None, batch_size=None, what="examples"):
        """The result for all examples, of which `batch_size` at a time are computed.

        Arguments:
            examples, shared: as for a call. `key`, if given, is one more shared tensor, folded anew for
                every batch but the first.
            batch_size: None for all at once.
            what: the word for the examples in the progress bar, which appears after two seconds.
        """
        keys = () if key is None else (key,)
        n = next(part.shape[0] for part in examples if part is not None)
        if batch_size is None or n is None or n <= checks.positive_integer("batch_size", batch_size):
            return self(examples, (*keys, *shared))
        results, started, bar = [], time.monotonic(), None
        for start in range(0, n, batch_size):
            part = [None if x is None else x[start : start + batch_size] for x in examples]
            if key is not None and start:
                keys = (backend.fold_in(key, start),)
            results.append(keras.tree.map_structure(ops.convert_to_numpy, self(part, (*keys, *shared))))
            if bar is None and time.monotonic() - started > PATIENCE:
                bar = keras.utils.Progbar(n, unit_name=what)
            if bar is not None:
                bar.update(min(start + batch_size, n))
        return keras.tree.map_structure(lambda *parts: ops.convert_to_tensor(np.concatenate(parts)), *results)


def round_size(n):
    """The number of examples that a program for `n` is made for.

    A power of two up to 64; above, one of eight steps between powers of two, so that at most an eighth of
    the work is for nothing.

    Example:
        >>> [round_size(n) for n in (1, 5, 64, 65, 100, 500, 10000)]
        [1, 8, 64, 72, 104, 512, 10240]
    """
    step = 2 ** (n - 1).bit_length() if n <= 64 else 2 ** ((n - 1).bit_length() - 4)
    return -(-n // step) * step


def _tracers(examples):
    """Whether JAX is tracing one of the arrays."""
    if backend.name == "tensorflow":
        return False
    import jax

    return any(isinstance(part, jax.core.Tracer) for part in examples)


def _padded(part, size):
    if backend.name == "jax" or not ops.is_tensor(part):
        part = np.asarray(part)  # JAX would compile a small program for every n
        return np.concatenate([part, np.broadcast_to(part[-1:], (size - len(part), *part.shape[1:]))])
    return ops.concatenate([part, ops.repeat(part[-1:], size - part.shape[0], axis=0)])


def _first(part, n):
    return ops.convert_to_tensor(np.asarray(part)[:n]) if backend.name == "jax" else part[:n]
