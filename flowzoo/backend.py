"""TensorFlow Probability for whichever backend Keras runs on."""

import contextlib
import math

import keras
import numpy as np

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


def _replica_context():
    """TensorFlow's replica context in a step that several replicas take together; elsewhere None."""
    if name == "jax":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else context


def replicas():
    """How many replicas take the present step together; on JAX one, whatever the number of devices."""
    context = _replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def global_mean(values, axis):
    """The mean over `axis`, the batch's among them, and over all replicas of a TensorFlow strategy.

    Replicas may have parts of the batch of different sizes, or none. The gradient passes through
    it to all replicas. JAX has one program for all devices, where it is the mean.
    """
    context = _replica_context()
    if context is None:
        return keras.ops.mean(values, axis=axis)
    import tensorflow as tf

    total = tf.reduce_sum(values, axis=axis)
    count = tf.cast(tf.size(values) / max(1, math.prod(total.shape)), values.dtype)
    total, count = context.all_reduce(tf.distribute.ReduceOp.SUM, [total, count])
    return total / count


def reducible(logs):
    """What a training step gives, so that Keras can average it over machines.

    Keras 3.15 averages there along an axis, which its own metrics, being scalars, lack.
    """
    context = _replica_context()
    if context is None:
        return logs
    import tensorflow as tf

    if not isinstance(context.strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return logs
    return {key: tf.expand_dims(value, 0) for key, value in logs.items()}


class SeedGenerator(keras.random.SeedGenerator):
    """Keras's, but each replica of a TensorFlow strategy draws numbers of its own."""

    def next(self, ordered=True):
        state = super().next(ordered)
        context = _replica_context()
        if context is None:
            return state
        import tensorflow as tf

        replica = tf.cast(context.replica_id_in_sync_group, state.dtype)
        return state + tf.stack([replica * 1_000_003, 0])


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


def first_batch(batch):
    """What all machines start from: on JAX, where each feeds its part, the parts one after another."""
    if name == "jax":
        import jax

        if jax.process_count() > 1 and keras.distribution.distribution() is not None:
            from jax.experimental import multihost_utils

            return keras.tree.map_structure(
                lambda part: multihost_utils.process_allgather(np.asarray(part), tiled=True), batch
            )
    return batch


@contextlib.contextmanager
def one_machine():
    """Within it a machine may do what the others do not, such as to write weights to a file.

    Keras makes an optimizer to learn which attributes it need not write, and would have all
    machines that JAX computes on compare its variables.
    """
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def spread(model):
    """Gives the first machine's weights to all, where TensorFlow trains `model` on several.

    The strategy does so when it makes them, not when each machine sets them from its first batch.
    """
    if name == "jax":
        return
    import tensorflow as tf

    strategy = model.distribute_strategy
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return
    variables = [weight.value for weight in model.weights]

    def of_first():
        context = tf.distribute.get_replica_context()
        is_first = context.replica_id_in_sync_group == 0
        values = [tf.where(is_first, v, tf.zeros_like(v)) for v in variables]
        return context.all_reduce(tf.distribute.ReduceOp.SUM, values)

    for variable, value in zip(variables, strategy.run(of_first), strict=True):
        variable.assign(strategy.experimental_local_results(value)[0])


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
