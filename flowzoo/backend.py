"""TensorFlow Probability, keys of random numbers and loops, for whichever backend Keras runs on."""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np

from flowzoo.types import Seed, Shape, Tensor

name = keras.backend.backend()

if name == "tensorflow":
    import tensorflow_probability as tfp
elif name == "jax":
    import jax.interpreters.xla as _xla

    # TFP 0.25 reads this name, which newer JAX keeps elsewhere.
    if not hasattr(_xla, "pytype_aval_mappings"):
        from jax._src.core import pytype_aval_mappings

        _xla.pytype_aval_mappings = pytype_aval_mappings
    from tensorflow_probability.substrates import jax as tfp
else:
    raise ImportError(
        f"flowzoo runs on Keras's 'tensorflow' and 'jax' backends, but Keras is using {name!r}. "
        "Set the environment variable KERAS_BACKEND to one of the two before Python starts."
    )

tfb = tfp.bijectors
tfd = tfp.distributions

KEY_DTYPE = "int32" if name == "tensorflow" else "uint32"

_GENERATORS = threading.Lock()
PURPOSES = ("latent", "noise", "likelihood")


def random_key(seed: Seed) -> Tensor:
    """A stateless key, an integer tensor (2,), that TFP's `sample(seed=...)` accepts.

    Every method that draws takes such a seed.

    Arguments:
        seed: an integer; a scalar integer tensor; a `keras.random.SeedGenerator`, which moves on; or a key
            of the backend, which stays as it is.

    Raises: TypeError for anything else.

    Example:
        >>> tuple(flowzoo.backend.random_key(3).shape)
        (2,)
    """
    if isinstance(seed, keras.random.SeedGenerator):
        state = next_state(seed)
        return keras.ops.cast(state, KEY_DTYPE) if keras.ops.is_tensor(state) else state.astype(KEY_DTYPE)
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        return np.array([int(seed) % 2**31, 0], KEY_DTYPE)
    if name == "jax":
        import jax

        if isinstance(seed, jax.Array) and jax.numpy.issubdtype(seed.dtype, jax.dtypes.prng_key):
            return jax.random.key_data(seed)
    shape = tuple(seed.shape) if "int" in str(getattr(seed, "dtype", "")) else None
    if shape == ():
        if "64" not in str(seed.dtype):
            seed = keras.ops.cast(seed, "int32")
        seed = keras.ops.cast(seed & (2**31 - 1), KEY_DTYPE)
        return keras.ops.stack([seed, keras.ops.zeros_like(seed)])
    if shape == (2,):
        return keras.ops.cast(seed, KEY_DTYPE)
    raise TypeError(
        f"seed must be an integer, a keras.random.SeedGenerator or a key of shape (2,); got {seed!r}."
    )


def next_state(generator: keras.random.SeedGenerator) -> Tensor:
    """`generator.next()`, which on JAX is safe within a function that is being traced.

    A state that Keras hands through a compiled step is a tracer there, and moves on within. Any other
    is moved on at once, outside of what is traced: the key is then a constant of the compiled function.
    """
    with _GENERATORS:  # threads take turns
        if name == "tensorflow":
            return generator.next()
        import jax

        if isinstance(generator.state.value, jax.core.Tracer):
            return generator.next()
        with jax.ensure_compile_time_eval():
            state = np.asarray(generator.state.value)
            generator.state.assign(state + np.array([0, 1], state.dtype))
        return state


def fold_in(key: Tensor, number: int) -> Tensor:
    """Another key, unrelated to `key`, for each integer `number`."""
    if name == "jax":
        import jax

        return jax.random.fold_in(key, number)
    import tensorflow as tf

    return tf.random.fold_in(tf.cast(key, "int32"), number)


def later_key(key: Tensor, number: int) -> Tensor:
    """Another key for each integer `number`, that of seed + number where `key` is an integer seed's."""
    return key + np.array([number, 0], KEY_DTYPE)


def key_for(purpose: str, key: Tensor, start: int = 0) -> Tensor:
    """The key of what is drawn for one of `PURPOSES`, and for the batch that starts at `start`.

    Each has a key of its own, so that equal seeds never give related draws.
    """
    return fold_in(key, len(PURPOSES) * start + PURPOSES.index(purpose))


def uniform(key: Tensor, shape: Shape, dtype: str) -> Tensor:
    """Numbers of Uniform[0, 1) that a key gives."""
    if name == "jax":
        import jax

        return _in_a_row(jax.random.uniform, key, shape, dtype)
    import tensorflow as tf

    return tf.random.stateless_uniform(shape, key, dtype=dtype)


def normal(key: Tensor, shape: Shape, dtype: str) -> Tensor:
    """Standard normal numbers that a key gives."""
    if name == "jax":
        import jax

        return _in_a_row(jax.random.normal, key, shape, dtype)
    import tensorflow as tf

    return tf.random.stateless_normal(shape, key, dtype=dtype)


def _in_a_row(draw, key, shape, dtype):
    """`draw(key, shape, dtype)`, the same numbers, drawn along one axis.

    XLA takes several times as long to compile, and to run, a draw of four axes.
    """
    return draw(key, (math.prod(shape),), dtype).reshape(shape)


def gradient(function: Callable[..., Tensor], x: Tensor) -> Tensor:
    """The gradient of `function(x)`, a number, with regard to the tensor `x`.

    Example:
        >>> float(flowzoo.backend.gradient(lambda x: x**2, keras.ops.ones(())))
        2.0
    """
    if name == "jax":
        import jax

        return jax.grad(function)(x)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return tape.gradient(value, x)


def has_gpu() -> bool:
    """Whether Keras computes on a GPU."""
    if name == "jax":
        import jax

        return jax.default_backend() == "gpu"
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def prefers_xla(convolutions: bool) -> bool:
    """Whether a program runs faster compiled by XLA: on JAX, on GPUs, and where it has no convolutions.

    TensorFlow's own convolutions are the faster ones on a CPU.
    """
    return name == "jax" or not convolutions or has_gpu()


def compiler_options() -> dict[str, str]:
    """What JAX's compiler is told for passes without a gradient, as long as no function is traced around.

    On a CPU, to reuse memory: what a pass needs beyond 32 MB comes from the system anew at each run, page
    by page, which took as long as the pass of a MAF of 784 dimensions itself.
    """
    import jax

    cpu = jax.default_backend() == "cpu"
    return {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"} if cpu else {}


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """A context, and a decorator, in which float32 is multiplied as float32, on GPUs too.

    There JAX takes TF32, of 10 bits, unless it is told otherwise, and the two directions of a flow would
    agree to three digits. TensorFlow has no such context, but a switch of the whole process:
    `tf.config.experimental.enable_tensor_float_32_execution(False)`. Products of 16-bit numbers, those of
    mixed precision, stay as they are.

    Example:
        >>> @flowzoo.backend.full_precision()
        ... def product(a, b):
        ...     return keras.ops.matmul(a, b)
        >>> product(np.ones((1, 2), "float32"), np.ones((2, 1), "float32")).shape == (1, 1)
        True
    """
    if name == "tensorflow":
        yield
        return
    import jax

    with jax.default_matmul_precision("float32"):
        yield


def in_trace(inputs: Any) -> bool:
    """Whether JAX is tracing a function around this, or any of the inputs."""
    if name == "tensorflow":
        return False
    import jax

    leaves = [jax.numpy.zeros(()), *jax.tree.leaves(inputs)]
    return any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)


def variable_scope(model: keras.Model) -> AbstractContextManager:
    """Where variables that train with `model` are to be made: TensorFlow's distribution strategy."""
    return model.distribute_strategy.scope() if name == "tensorflow" else contextlib.nullcontext()


def random_states(model: keras.Model) -> list[keras.Variable]:
    """The states of the seed generators in `model`, variables that are no weights."""
    weights = {id(weight) for weight in model.weights} | {id(v) for v in model.metrics_variables}
    return [variable for variable in model.variables if id(variable) not in weights]


def repeat(
    count: int, step: Callable[..., Sequence[Tensor]], state: Sequence[Tensor], sequences: Any = ()
) -> Sequence[Tensor]:
    """`state = step([s[i] for s in sequences], *state)` for i = 0 ... count - 1, in one compiled loop.

    `sequences` may be nested; their tensors are (count, ...). What each step alone reads is best
    passed so: its gradient is then made piece by piece, not summed over whole tensors.

    The gradient passes through it on both backends, with XLA and without: TensorFlow's XLA
    differentiates a loop only if it is told the number of iterations.
    """
    if name == "tensorflow":
        import tensorflow as tf

        arrays = tf.nest.map_structure(
            lambda s: tf.TensorArray(s.dtype, count, element_shape=s.shape[1:]).unstack(s), sequences
        )
        return tf.while_loop(
            lambda i, *state: i < count,
            lambda i, *state: (i + 1, *step(tf.nest.map_structure(lambda a: a.read(i), arrays), *state)),
            (tf.constant(0), *state),
            maximum_iterations=count,
        )[1:]

    import jax

    return jax.lax.scan(lambda state, i: (step(i, *state), None), state, sequences, length=count)[0]


def put(values: Tensor, place: Tensor, part: Tensor) -> Tensor:
    """`values` (n, T, ...) with `part` (n, t, ...) in the places from `place` on, t of them.

    Example:
        >>> found = flowzoo.backend.put(keras.ops.zeros((1, 4, 1)), 1, keras.ops.ones((1, 2, 1)))
        >>> keras.ops.convert_to_numpy(found).ravel().tolist()
        [0.0, 1.0, 1.0, 0.0]
    """
    if name == "jax":
        import jax

        return jax.lax.dynamic_update_slice_in_dim(values, part, place, axis=1)
    import tensorflow as tf

    shape = (1, -1, *[1] * (len(values.shape) - 2))  # TensorFlow's own update of a slice has no gradient
    places = tf.reshape(tf.range(values.shape[1]) - place, shape)
    count = part.shape[1]
    if count > 1:
        part = tf.gather(part, tf.clip_by_value(tf.reshape(places, (-1,)), 0, count - 1), axis=1)
        return tf.where((places >= 0) & (places < count), part, values)
    return tf.where(places == 0, part, values)
