"""TFP's own bijectors on TensorFlow, with its Keras 2 networks, in tf.function without and with XLA.

Its Glow has a learned prior where latents leave; it cannot do without.
"""

import itertools

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

PACKAGE = "tensorflow_probability"
tfb, tfd = tfp.bijectors, tfp.distributions


def build(cell, mode):
    bijector = {"realnvp": realnvp, "maf": maf, "glow": glow}[cell.kind](cell)
    size = int(np.prod(cell.shape))
    flow = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(size)), bijector)
    compiled = tf.function(jit_compile=mode == "xla")
    batches = itertools.cycle(cell.batches())

    def density(x):
        if cell.kind == "glow":
            x = (tf.cast(x, "float32") + tf.random.uniform(x.shape)) / 256
        return flow.log_prob(x)

    first = next(batches)
    density(first)  # makes the variables, starts activation normalisation
    optimizer = tf_keras.optimizers.Adam(1e-4, jit_compile=False)
    optimizer.build(flow.trainable_variables)

    @compiled
    def step(x):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(density(x))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, flow.trainable_variables), flow.trainable_variables, strict=True)
        )
        return loss

    measure = compiled(density)
    draw = compiled(lambda seed: flow.sample(cell.samples, seed=seed))
    seeds = itertools.count()

    def train(calls):
        for x in itertools.islice(batches, calls):
            loss = step(tf.constant(x))
        loss.numpy()

    def log_prob(calls):
        for x in itertools.islice(batches, calls):
            measure(tf.constant(x)).numpy()

    def sample(calls):
        for _ in range(calls):
            draw(tf.constant((0, next(seeds)))).numpy()

    parameters = sum(np.prod(variable.shape) for variable in flow.trainable_variables)
    return parameters, {"train": train, "log_prob": log_prob, "sample": sample}


def realnvp(cell):
    half, bijectors = cell.size // 2, []
    for _ in range(cell.layers):
        widths = [tf_keras.layers.Dense(width, activation="relu") for width in cell.hidden]
        network = tf_keras.Sequential([*widths, tf_keras.layers.Dense(2 * half)])
        network.build((None, half))
        coupling = tfb.RealNVP(half, shift_and_log_scale_fn=shift_and_log_scale(network))
        coupling.network = network  # so that its variables are found
        bijectors += [coupling, tfb.Permute(np.roll(np.arange(cell.size), half))]
    return tfb.Chain(bijectors)


def shift_and_log_scale(network):
    def run(x, depth, **kwargs):
        shift, log_scale = tf.split(network(x), 2, axis=-1)
        return shift, tf.tanh(log_scale)

    return run


def maf(cell):
    bijectors = []
    for _ in range(cell.layers):
        made = tfb.AutoregressiveNetwork(
            params=2, event_shape=[cell.size], hidden_units=list(cell.hidden), activation="relu"
        )
        reverse = tfb.Permute(np.arange(cell.size)[::-1])
        bijectors += [tfb.MaskedAutoregressiveFlow(made), reverse]
    return tfb.Chain(bijectors)


def glow(cell):
    return tfb.Glow(
        output_shape=cell.shape,
        num_glow_blocks=3,
        num_steps_per_block=cell.layers,
        coupling_bijector_fn=lambda shape: tfb.GlowDefaultNetwork(shape, num_hidden=cell.hidden[0]),
        exit_bijector_fn=tfb.GlowDefaultExitNetwork,
    )
