"""The evidence lower bound, and training on it by Keras's own `fit`."""

import math
from typing import Any

import keras
from keras import ops

from flowzoo import backend, replicas
from flowzoo.backend import tfd
from flowzoo.compiled import program
from flowzoo.likelihoods import likelihood_distribution
from flowzoo.maximum_likelihood import MaximumLikelihood, weighted
from flowzoo.metrics import bits_per_dim
from flowzoo.types import ArrayLike, Distribution, Tensor


class EvidenceLowerBound(MaximumLikelihood):
    """The two terms of `FlowVAE`'s ELBO, and what it adds to Keras's training: loss and metrics.

        loss = beta * max(free_bits, mean(kl)) - mean(reconstruction)

    `terms` gives both, (batch,). beta rises evenly from 0 to 1 in `warmup_steps`
    steps; it is a weight that does not train, `kl_weight`, so that training which is resumed goes
    on with it. Outside training the loss is the mean of -elbo = kl - reconstruction.
    """

    trains_by = "on the ELBO"

    def set_objective(self, free_bits: float, warmup_steps: int) -> None:
        if free_bits < 0 or warmup_steps < 0:
            raise ValueError(
                f"free_bits and warmup_steps must not be negative; got {free_bits} and {warmup_steps}."
            )
        self.free_bits = free_bits
        self.warmup_steps = warmup_steps
        self.trackers = [
            keras.metrics.Mean(name=metric) for metric in ("elbo", "reconstruction", "kl", "bits_per_dim")
        ]

    def build_objective(self) -> None:
        self.kl_weight = None
        if self.warmup_steps:
            self.kl_weight = self.add_weight(
                shape=(), initializer="zeros", trainable=False, autocast=False, name="kl_weight"
            )

    # The terms, of checked tensors; the latent is one flat vector, and its noise an argument.

    @program
    def _posterior(self, x, **call):
        """What the encoder says of z0: mean, log-scale, both (batch, D), and perhaps the context, flat."""
        outputs = self.encoder(x, **call)
        outputs = [outputs] if ops.is_tensor(outputs) else list(outputs)
        flat = [ops.cast(part, self.variable_dtype) for part in outputs]
        flat = [ops.reshape(part, (-1, math.prod(part.shape[1:]))) for part in flat]
        if self.posterior_log_scale is not None:
            flat.append(ops.zeros_like(flat[0]) + self.posterior_log_scale)
        return flat

    def _latent(self, posterior, noise, **call):
        """z and log q(z | x) from standard normal noise: (batch, D), (batch,)."""
        mean, log_scale, *context = posterior
        z = mean + ops.exp(log_scale) * noise
        log_q = self.noise_distribution.log_prob(noise) - ops.sum(log_scale, axis=-1)
        if self.posterior_flow is not None:
            if context:
                context = [ops.reshape(context[0], (-1, *self.posterior_flow.context_shape))]
            z, log_det = self.posterior_flow._forward(z, *context, **call)
            z, log_q = ops.reshape(z, (-1, self.latent_dimensions)), log_q - log_det
        return z, log_q

    def _log_prior(self, z, **call):
        if self.prior_flow is None:
            return self.noise_distribution.log_prob(z)
        return self.prior_flow._log_density(ops.reshape(z, (-1, *self.latent_shape)), **call)

    def _location(self, z, **call):
        location = self.decoder(ops.reshape(z, (-1, *self.latent_shape)), **call)
        return ops.cast(location, self.variable_dtype)

    def _likelihood(self, location):
        log_scale = self.likelihood_log_scale
        if log_scale is not None:
            log_scale = ops.convert_to_tensor(log_scale)
        return likelihood_distribution(self.likelihood, location, log_scale)

    def terms(self, x: ArrayLike, noise: ArrayLike, **call: Any) -> tuple[Tensor, Tensor]:
        """log p(x | z) and log q(z | x) - log p(z), whose difference is the ELBO, for given noise.

        Arguments:
            x: (batch, *event_shape).
            noise: standard normal numbers (batch, D) that draw z.
            call: such as training=True, for the networks.

        Returns: two tensors (batch,) in nats.
        """
        z, log_q = self._latent(self._posterior(x, **call), noise, **call)
        reconstruction = self._likelihood(self._location(z, **call)).log_prob(x)
        return reconstruction, log_q - self._log_prior(z, **call)

    @property
    def noise_distribution(self) -> Distribution:
        """The standard normal distribution of the flat latent's noise, made afresh."""
        zeros = ops.zeros((self.latent_dimensions,), self.variable_dtype)
        return tfd.Independent(tfd.Normal(zeros, zeros + 1), reinterpreted_batch_ndims=1)

    @program(draws=True)
    def _noise(self, count, key, start=0, temperature=1.0):
        """Standard normal numbers (n, D) times the temperature, for the `count` examples of a batch."""
        key = backend.key_for("noise", key, start)
        return temperature * backend.normal(
            key, (ops.shape(count)[0], self.latent_dimensions), self.variable_dtype
        )

    @program
    def _elbo(self, x, noise):
        reconstruction, kl = self.terms(x, noise)
        return reconstruction - kl

    # Training.

    def call(self, inputs: ArrayLike, training: bool = False) -> Tensor:
        """A dict of the ELBO and its two terms, (batch,): "elbo", "reconstruction" and "kl"."""
        x = self._data(self._intake.parts(inputs)[0])
        noise = self._noise(x, self._key(None))
        reconstruction, kl = self.terms(x, noise, training=training)
        if training and self.kl_weight is not None:
            self.kl_weight.assign(ops.minimum(self.kl_weight + 1.0 / self.warmup_steps, 1.0))
        return {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}

    def compute_loss(
        self,
        x: ArrayLike | None = None,
        y: ArrayLike | None = None,
        y_pred: Any = None,
        sample_weight: ArrayLike | None = None,
        training: bool = True,
    ) -> Tensor:
        terms = (weighted(y_pred[term], sample_weight) for term in ("reconstruction", "kl"))
        reconstruction, kl = (replicas.global_mean(values, 0) for values in terms)
        if training and self.free_bits:
            kl = ops.maximum(kl, self.free_bits)
        if training and self.kl_weight is not None:
            kl = self.kl_weight * kl
        return self._share(kl - reconstruction)

    def compute_metrics(
        self, x: ArrayLike, y: ArrayLike, y_pred: Any, sample_weight: ArrayLike | None = None
    ) -> dict[str, Any]:
        values = {**y_pred, "bits_per_dim": bits_per_dim(y_pred["elbo"], self.dimensions)}
        for tracker in self.trackers:
            tracker.update_state(values[tracker.name], sample_weight)
        return keras.Model.compute_metrics(self, x, y, None, sample_weight)
