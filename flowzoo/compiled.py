"""A model's methods as compiled programs, for any number of examples."""

import functools
import time
import types
from typing import Any

import keras
import numpy as np
from keras import ops

from flowzoo import backend, checks

PATIENCE = 2.0  # seconds before progress is shown


def program(method=None, *, xla=None, draws=False, weights=None):
    """Makes a `Program` of a model's method; a decorator, with or without arguments.

    Arguments:
        xla: whether XLA compiles it on TensorFlow; by default where `model.prefers_xla` says so.
        draws: whether it draws random numbers, which XLA would draw otherwise, and reads no weights.
        weights: function from the model to those weights that it reads, if not all, or none.

    Example:
        >>> class Doubling(keras.Model):
        ...     @program(draws=True)
        ...     def double(self, x):
        ...         return 2 * x
        >>> model = Doubling()
        >>> [float(call(np.ones(1))[0]) for call in (model.double, lambda x: model.double.run((x,)))]
        [2.0, 2.0]
    """
    if method is None:
        return functools.partial(program, xla=xla, draws=draws, weights=weights)

    def make(model):
        prefers_xla = not draws and (model.prefers_xla if xla is None else xla)
        read = weights(model) if weights else [] if draws else model.weights
        return Program(types.MethodType(method, model), read, prefers_xla)

    return functools.cached_property(make)


class Program:
    """A method of a model that also runs compiled whole, with the model's present weights at every run.

    On JAX, and where XLA compiles for TensorFlow, a program is made for each number of examples; so
    that these stay few, the examples are padded to a round number by copies of the last one. TensorFlow
    without XLA has one program for all numbers. Within a function that is being traced already, such as
    a user's `tf.function`, the method runs as it is, as a part of that.

    Arguments:
        method: takes `examples`, tensors (n, ...) or None, then `shared` tensors, and gives a tensor, or
            a list or dict of tensors, of shape (n, ...).
        weights: those that it reads; it assigns none.
        xla: whether XLA compiles it on TensorFlow.
    """

    def __init__(self, method, weights, xla):
        self.method = method
        self.weights = weights
        self.xla = backend.name == "jax" or xla
        self._run = self._jax_run() if backend.name == "jax" else self._tensorflow_run()

    def __call__(self, *inputs, **keywords):
        """The method itself, as a part of what is being computed or traced around it."""
        return self.method(*inputs, **keywords)

    def _jax_run(self):
        import jax

        def whole(values, examples, shared):
            with keras.StatelessScope(state_mapping=list(zip(self.weights, values, strict=True))):
                return self.method(*examples, *shared)

        part, outermost = jax.jit(whole), jax.jit(whole, compiler_options=backend.compiler_options())

        def run(examples, shared, in_trace):
            values = [weight.value for weight in self.weights]
            in_trace = in_trace or any(isinstance(value, jax.core.Tracer) for value in values)
            return (part if in_trace else outermost)(values, examples, shared)

        return run

    def _tensorflow_run(self):
        import tensorflow as tf

        programs = {}

        def run(examples, shared, in_trace):
            inputs = [None if part is None else tf.convert_to_tensor(part) for part in (*examples, *shared)]
            free = 0 if self.xla else len(examples)  # those whose number is not fixed
            kinds = tuple(
                None if x is None else (x.dtype, (None, *x.shape[1:]) if i < free else tuple(x.shape))
                for i, x in enumerate(inputs)
            )
            if kinds not in programs:
                programs[kinds] = traced(kinds)
            return programs[kinds](*(x for x in inputs if x is not None))

        def traced(kinds):
            def whole(*inputs):
                parts = iter(inputs)
                return self.method(*(None if kind is None else next(parts) for kind in kinds))

            signature = [tf.TensorSpec(shape, dtype) for dtype, shape in filter(None, kinds)]
            whole = tf.function(
                whole, input_signature=signature, autograph=False, jit_compile=self.xla or None
            )
            return whole.get_concrete_function()

        return run

    def run(self, examples, shared=()):
        """The method's result for examples of one number n, which are arrays, tensors or None."""
        if self._traced():
            return self.method(*examples, *shared)
        n = next(part.shape[0] for part in examples if part is not None)
        in_trace = backend.in_trace((examples, shared))
        size = round_size(n) if self.xla and n is not None and not in_trace else n
        if size == n:
            return self._run(tuple(examples), shared, in_trace)
        padded = tuple(None if part is None else _padded(part, size) for part in examples)
        result = self._run(padded, shared, in_trace)
        return keras.tree.map_structure(lambda part: _first(part, n), result)

    def _traced(self):
        """Whether TensorFlow is building a graph, or Keras has put other values in the weights' place."""
        if backend.name == "jax":
            return False
        import tensorflow as tf

        return not tf.executing_eagerly() or not all(isinstance(w.value, tf.Variable) for w in self.weights)


def in_batches(compute, examples, batch_size=None, *, what="examples") -> Any:
    """What `compute(start, *examples)` gives for all examples, of which it gets `batch_size` at a time.

    Arguments:
        compute: takes the place of a batch's first example, and the batch; gives a tensor, or a list or
            tuple of tensors, of shape (n, ...).
        examples: arrays or tensors (n, ...), or None.
        batch_size: None for all at once.
        what: the word for the examples in the progress bar, which appears two seconds after the first batch,
            which compiles; None for no bar.

    Example:
        >>> x = np.arange(5.0)
        >>> keras.ops.convert_to_numpy(in_batches(lambda start, x: x + start, (x,), 2)).tolist()
        [0.0, 1.0, 4.0, 5.0, 8.0]
    """
    n = next(part.shape[0] for part in examples if part is not None)
    if batch_size is None or n is None or n <= checks.positive_integer("batch_size", batch_size):
        return compute(0, *examples)
    results, started, bar = [], None, None
    for start in range(0, n, batch_size):
        part = [None if x is None else x[start : start + batch_size] for x in examples]
        results.append(keras.tree.map_structure(ops.convert_to_numpy, compute(start, *part)))
        started = started or time.monotonic()
        if what is not None and time.monotonic() - started > PATIENCE:
            bar = bar or keras.utils.Progbar(n, unit_name=what)
            bar.update(min(start + batch_size, n))
    return keras.tree.map_structure(lambda *parts: ops.convert_to_tensor(np.concatenate(parts)), *results)


def one_each(x):
    """One number of each example of x, (n,), for a method that asks how many there are, and no more."""
    return x[(slice(None), *[0] * (len(x.shape) - 1))]


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


def _padded(part, size):
    if backend.name == "jax" or not ops.is_tensor(part):
        part = np.asarray(part)  # JAX would compile a small program for every n
        return np.concatenate([part, np.broadcast_to(part[-1:], (size - len(part), *part.shape[1:]))])
    return ops.concatenate([part, ops.repeat(part[-1:], size - part.shape[0], axis=0)])


def _first(part, n):
    return ops.convert_to_tensor(np.asarray(part)[:n]) if backend.name == "jax" else part[:n]
