"""What the devices that train a model together share: means, noise, weights from the start."""

import contextlib
import math

import keras
import numpy as np

from flowzoo.backend import name


def _replica_context():
    """TensorFlow's replica context in a step that several replicas take together; elsewhere None."""
    if name == "jax":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else context


def count():
    """How many replicas take the present step together; on JAX one, whatever the number of devices."""
    context = _replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def in_scope():
    """How many replicas the TensorFlow strategy in scope has, where models are made; on JAX one."""
    if name == "jax":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


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
    number = tf.cast(tf.size(values) / max(1, math.prod(total.shape)), values.dtype)
    total, number = context.all_reduce(tf.distribute.ReduceOp.SUM, [total, number])
    return total / number


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
