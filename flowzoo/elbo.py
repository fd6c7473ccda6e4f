"""Training on the evidence lower bound by Keras's own `fit`."""

import keras
from keras import ops

from flowzoo import replicas
from flowzoo.maximum_likelihood import MaximumLikelihood
from flowzoo.metrics import bits_per_dim


class EvidenceLowerBound(MaximumLikelihood):
    """What `FlowVAE` adds to Keras's training: the loss, with free bits and warm-up, and metrics.

        loss = beta * max(free_bits, mean(kl)) - mean(reconstruction)

    `terms` of the subclass gives both, (batch,). beta rises evenly from 0 to 1 in `warmup_steps`
    steps; it is a weight that does not train, `kl_weight`, so that training which is resumed goes
    on with it. Outside training the loss is the mean of -elbo = kl - reconstruction.
    """

    def set_objective(self, free_bits, warmup_steps):
        if free_bits < 0 or warmup_steps < 0:
            raise ValueError(
                f"free_bits and warmup_steps must not be negative; got {free_bits} and {warmup_steps}."
            )
        self.free_bits = free_bits
        self.warmup_steps = warmup_steps
        self.trackers = [
            keras.metrics.Mean(name=metric) for metric in ("elbo", "reconstruction", "kl", "bits_per_dim")
        ]

    def build_objective(self):
        self.kl_weight = None
        if self.warmup_steps:
            self.kl_weight = self.add_weight(
                shape=(), initializer="zeros", trainable=False, autocast=False, name="kl_weight"
            )

    def call(self, inputs, training=False):
        """A dict of the ELBO and its two terms, (batch,): "elbo", "reconstruction" and "kl"."""
        x = self._data(inputs)
        noise = self._noise(x, self._key(None))
        reconstruction, kl = self.terms(x, noise, training=training)
        if training and self.kl_weight is not None:
            self.kl_weight.assign(ops.minimum(self.kl_weight + 1.0 / self.warmup_steps, 1.0))
        return {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if self.loss is not None:
            raise ValueError("A FlowVAE trains on the ELBO and takes no loss: call compile(optimizer=...).")
        weight = 1.0 if sample_weight is None else ops.cast(sample_weight, y_pred["kl"].dtype)
        reconstruction = replicas.global_mean(weight * y_pred["reconstruction"], 0)
        kl = replicas.global_mean(weight * y_pred["kl"], 0)
        if training and self.free_bits:
            kl = ops.maximum(kl, self.free_bits)
        if training and self.kl_weight is not None:
            kl = self.kl_weight * kl
        return self._share(kl - reconstruction)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        values = {**y_pred, "bits_per_dim": bits_per_dim(y_pred["elbo"], self.dimensions)}
        for tracker in self.trackers:
            tracker.update_state(values[tracker.name], sample_weight)
        return keras.Model.compute_metrics(self, x, y, None, sample_weight)
