"""Variational inference: fitting a flow to an unnormalised density."""

import keras
import numpy as np
from keras import ops

from flowzoo import backend, checks
from flowzoo.divergence import watched


def fit_variational(
    flow,
    target_log_prob_fn,
    *,
    steps,
    batch_size=256,
    optimizer="adam",
    path_gradient=True,
    seed=None,
    jit_compile="auto",
    callbacks=None,
    verbose="auto",
):
    """Minimises KL(q || p) for the flow q and p proportional to exp(target_log_prob_fn).

        KL = E_q[log q(x) - log p(x)],  x = f(z),  z from the base.

    The loss is that mean, in nats, and the flow's regularizers, with the target as given: for an
    unnormalised target it is KL - log Z. With `path_gradient` the gradient flows through x alone, not
    through the weights in log q; it has the same mean, and no variance at all where q equals p. It costs
    one data to latent pass a step, which an IAF makes dimension after dimension.

    The first samples are those of the flow as it starts. Networks of initializer "he_normal", IAF's default,
    start at the identity, and the samples as the base's; "uniform", that of other flows of vectors, suits
    data better and this task less: RealNVP and MAF need more steps with it.

    References:
        Sticking the Landing (Roeder et al., 2017, arXiv:1703.09194)
        Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016,
        arXiv:1606.04934)

    Arguments:
        target_log_prob_fn: takes x, (batch, *event_shape), and gives log p, (batch,), in nats up
            to a constant, by operations of the Keras backend in use (`keras.ops` does for both).
        steps: number of optimizer steps, rounded up to whole epochs of at most 100.
        batch_size: samples a step.
        optimizer: a Keras optimizer or its name.
        path_gradient: see above; False gives the total derivative.
        seed: draws the samples: an integer, a `keras.random.SeedGenerator` or a key of the backend; without
            it, the flow's own generator.
        jit_compile, callbacks, verbose: as in Keras's `compile` and `fit`.

    Returns: the Keras `History`, one entry an epoch.
    Raises: RuntimeError, with the epoch and the batch, when the loss is no longer finite.

    Example:
        >>> def log_p(x):
        ...     return -0.5 * keras.ops.sum((x - 3.0) ** 2, axis=-1)
        >>> flow = flowzoo.IAF(event_shape=2, hidden_units=(16,))
        >>> history = flow.fit_variational(log_p, steps=20, batch_size=64, verbose=0)
        >>> len(history.history["loss"])
        1
    """
    if flow.is_image_flow or flow.context_shape is not None:
        raise ValueError(
            f"fit_variational is for unconditional flows on real numbers; {flow.name} is "
            f"{'an image flow' if flow.is_image_flow else 'conditional'}."
        )
    if flow.base_layer.trainable_weights:
        raise ValueError(
            f"fit_variational draws from the base and moves what lies over it; the base of {flow.name}, "
            f"{flow.base_layer.describe()}, has weights of its own. Use a base without, such as "
            "flowzoo.base.StudentT(3, learned=False)."
        )
    steps = checks.positive_integer("steps", steps)
    batch_size = checks.positive_integer("batch_size", batch_size)
    trainer = ReverseKL(flow, target_log_prob_fn, path_gradient)
    trainer.compile(optimizer=optimizer, jit_compile=jit_compile)
    epochs = -(-steps // 100)
    draws = BaseSamples(flow, batch_size, batches=-(-steps // epochs), key=flow._key(seed))
    return trainer.fit(draws, epochs=epochs, callbacks=watched(callbacks), verbose=verbose)


class ReverseKL(keras.Model):
    """log q(x) - log p(x) for x = f(z), as a model that `fit` trains."""

    def __init__(self, flow, target_log_prob_fn, path_gradient):
        super().__init__(autocast=False)
        self.flow = flow
        self.target_log_prob_fn = target_log_prob_fn
        self.path_gradient = path_gradient
        self.built = True

    def call(self, z, training=False):
        x, log_det = self.flow._forward(z, training=training)
        if self.path_gradient:
            # Reading the values first: a scope inside another does not see the outer one's.
            fixed = [(weight, ops.stop_gradient(weight.value)) for weight in self.flow.variables]
            with keras.StatelessScope(state_mapping=fixed):
                z, log_det = self.flow._inverse(x, training=training)
            log_det = -log_det
        log_q = self.flow.base_distribution.log_prob(z) - log_det
        return log_q - ops.reshape(self.target_log_prob_fn(x), (-1,))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return sum(self.losses, start=ops.mean(y_pred))  # those of regularizers

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y, None)


class BaseSamples(keras.utils.PyDataset):
    """Batches drawn from a flow's base distribution, new ones in every epoch."""

    def __init__(self, flow, batch_size, *, batches, key):
        super().__init__()
        self.base = flow.base_distribution
        self.batch_size = batch_size
        self.batches = batches
        self.key = key
        self.drawn = 0

    def __len__(self):
        return self.batches

    def __getitem__(self, index):
        self.drawn += 1
        sample = self.base.sample(self.batch_size, seed=backend.fold_in(self.key, self.drawn))
        return np.asarray(ops.convert_to_numpy(sample))
