"""TensorFlow Probability for whichever backend Keras runs on."""

import contextlib

import keras

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


def seed_state(seed):
    """The state of a `keras.random.SeedGenerator` that starts from the integer `seed`."""
    dtype = "int64" if name == "tensorflow" else "uint32"
    return keras.ops.convert_to_tensor([seed % 2**31, 0], dtype=dtype)


def random_key(seed):
    """A stateless TFP seed from an integer or a `keras.random.SeedGenerator`.

    Returns: an integer tensor of shape (2,) that `tfd.Distribution.sample(seed=...)` accepts.
    """
    state = seed.next() if isinstance(seed, keras.random.SeedGenerator) else seed_state(seed)
    return keras.ops.cast(state, "int32" if name == "tensorflow" else "uint32")


def has_gpu():
    """Whether Keras computes on a GPU."""
    if name == "jax":
        import jax

        return jax.default_backend() == "gpu"
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def prefers_xla():
    """Whether a training step runs faster compiled by XLA: on JAX and on GPUs, not on TensorFlow's CPU."""
    return name == "jax" or has_gpu()


def variable_scope(model):
    """Where variables that train with `model` are to be made: TensorFlow's distribution strategy."""
    return model.distribute_strategy.scope() if name == "tensorflow" else contextlib.nullcontext()


def compiled(model, method):
    """`method` compiled to one graph, which sees the present weights of `model` at every call.

    `method` takes tensors or None, and returns tensors alone. JAX would bake weights that it finds
    in a closure into the program as constants, and lose what happens to the states of seed
    generators, so there they are passed in and given back.
    """
    if name == "tensorflow":
        import tensorflow as tf

        return tf.function(method, autograph=False, reduce_retracing=True)

    import jax

    states = random_states(model)

    @jax.jit
    def run(values, *inputs):
        with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))) as scope:
            result = method(*inputs)
            return result, [scope.get_current_value(state) for state in states]

    def call(*inputs):
        result, values = run([variable.value for variable in model.variables], *inputs)
        for state, value in zip(states, values, strict=True):
            state.assign(value)
        return result

    return call


def compiled_where_slow(model, method):
    """`compiled` on JAX, whose single operations are slow, unless the inputs are being traced already."""
    if name == "tensorflow":
        return method

    import jax

    whole = compiled(model, method)

    def call(*inputs):
        traced = any(isinstance(value, jax.core.Tracer) for value in inputs)
        return (method if traced else whole)(*inputs)

    return call


def random_states(model):
    """The states of the seed generators in `model`, variables that are no weights."""
    weights = {id(weight) for weight in model.weights} | {id(v) for v in model.metrics_variables}
    return [variable for variable in model.variables if id(variable) not in weights]


def repeat(count, step, state, sequences=()):
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
