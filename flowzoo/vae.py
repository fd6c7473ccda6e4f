"""Variational autoencoders whose posterior and prior may be flows."""

import math
from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from flowzoo import backend, checks, replicas, values
from flowzoo.compiled import in_batches, one_each, program
from flowzoo.elbo import EvidenceLowerBound
from flowzoo.export import COUNT, Exported, data_specs, draw_specs, scalar_spec
from flowzoo.flow import Flow, constructor_arguments
from flowzoo.freezing import freeze_layers, frozen_config
from flowzoo.latent import LatentSpace
from flowzoo.likelihoods import LIKELIHOODS, likelihood_mean
from flowzoo.metrics import bits_per_dim
from flowzoo.presets import Presets
from flowzoo.published import PublishedVAE
from flowzoo.symbolic import functional
from flowzoo.types import ArrayLike, Network, Seed, Shape, Tensor

DECODINGS = 2000  # how many latents log_prob decodes at a time


@keras.saving.register_keras_serializable(package="flowzoo")
class FlowVAE(LatentSpace, Exported, Presets, PublishedVAE, EvidenceLowerBound):
    """A variational autoencoder with flows in its latent space, trained by `fit` on the ELBO.

        elbo(x) = log p(x | z) + log p(z) - log q(z | x),  z drawn from q(z | x),  <= log p(x) on average

    in nats, of one draw of z. With e ~ N(0, I), z0 = mean(x) + scale(x) * e and z = f(z0; context(x)):

        log q(z | x) = log N(e; 0, I) - sum(log scale) - log |det dz/dz0|     f: the posterior flow
        log p(z)     = log p_base(w) + log |det dw/dz|,  w = g^-1(z)          g: the prior flow

    Without a posterior flow z = z0; without a prior flow p(z) = N(0, I).

    References:
        Auto-Encoding Variational Bayes (Kingma and Welling, 2013, arXiv:1312.6114)
        Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016,
        arXiv:1606.04934)

    Arguments:
        encoder: any Keras layer or model from x, (batch, *event_shape), to the mean of z0,
            (batch, *latent_shape), to [mean, log_scale] of one shape, or to [mean, log_scale,
            context] with the posterior flow's context. With a mean alone, the scale is one number
            for all, `posterior_scale`.
        decoder: any Keras layer or model from z, (batch, *latent_shape), to (batch, *event_shape):
            the location of p(x | z) in the unit of the data, for "bernoulli" its logits.
        posterior_flow: a `flowzoo.Flow` on latent_shape, run from latent to data; one that samples
            in one pass, such as `flowzoo.IAF`. Its context_shape, if any, is that of the context.
        prior_flow: an unconditional `flowzoo.Flow` on latent_shape, such as `flowzoo.MAF`.
        likelihood: "bernoulli", for x in [0, 1]; "gaussian"; or "discretized_logistic", for pixels
            0 ... 255.
        event_shape: shape of one example; by default, what the encoder was built for.
        likelihood_scale: where the scale of a "gaussian" or "discretized_logistic" likelihood
            starts, in the unit of the data.
        posterior_scale: where the scale of z0 starts, for an encoder that gives the mean alone.
        learned_scales: whether training changes these two scales.
        free_bits: nats. Training maximises E[log p(x | z)] - max(free_bits, KL), KL the mean of
            log q(z | x) - log p(z) over the batch: the latent is one group (K = 1 in Kingma et al.,
            2016), since a flow mixes its dimensions.
        warmup_steps: the weight of the KL in training rises from 0 to 1 in so many steps, evenly.

    `fit` minimises the mean of -elbo, but for free bits and warm-up, which evaluation leaves out.
    It reports `elbo`, `reconstruction` (log p(x | z)) and `kl` (log q(z | x) - log p(z)) in nats,
    and `bits_per_dim`, -elbo / (D ln 2). For a Gaussian likelihood it is that of a density, in the
    unit of the data.

    Raises: ValueError for networks and flows whose shapes do not fit.

    Example:
        >>> x = keras.Input((6,))
        >>> hidden = keras.layers.Dense(16, "relu")(x)
        >>> encoder = keras.Model(x, [keras.layers.Dense(2)(hidden), keras.layers.Dense(2)(hidden)])
        >>> decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6)])
        >>> vae = flowzoo.FlowVAE(encoder, decoder, prior_flow=flowzoo.MAF(event_shape=2))
        >>> vae.compile(optimizer="adam")
        >>> history = vae.fit(np.random.randint(0, 2, (64, 6)), verbose=0)
        >>> sorted(history.history)
        ['bits_per_dim', 'elbo', 'kl', 'loss', 'reconstruction']
        >>> tuple(vae.log_prob(np.ones((3, 6)), num_importance_samples=50).shape)
        (3,)
    """

    def __init__(
        self,
        encoder: Network,
        decoder: Network,
        posterior_flow: keras.layers.Layer | None = None,
        prior_flow: keras.layers.Layer | None = None,
        likelihood: str = "bernoulli",
        *,
        event_shape: int | Sequence[int] | None = None,
        likelihood_scale: float = 1.0,
        posterior_scale: float = 1.0,
        learned_scales: bool = True,
        free_bits: float = 0.0,
        warmup_steps: int = 0,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, autocast=False, **kwargs)
        for role, network in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(network, keras.layers.Layer):
                raise ValueError(f"{role} must be a Keras layer or model; got {network!r}.")
        self.encoder = encoder
        self.decoder = decoder
        self.posterior_flow = _checked_flow("posterior_flow", posterior_flow)
        self.prior_flow = _checked_flow("prior_flow", prior_flow)
        self.likelihood = checks.choice("likelihood", likelihood, LIKELIHOODS)
        self.event_shape = checks.shape("event_shape", event_shape or _input_shape(encoder))
        self.context_shape = None
        self.likelihood_scale = checks.positive_number("likelihood_scale", likelihood_scale)
        self.posterior_scale = checks.positive_number("posterior_scale", posterior_scale)
        self.learned_scales = bool(learned_scales)
        self.dimensions = math.prod(self.event_shape)
        self.seed_generator = replicas.SeedGenerator()
        self.set_objective(free_bits, warmup_steps)
        self.build((None, *self.event_shape))

    def build(self, input_shape: Shape | None = None) -> None:
        """Builds both networks, and finds the latent's shape."""
        if self.built:
            return
        x_shape = (None, *self.event_shape)
        if not self.encoder.built:
            self.encoder.build(x_shape)
        shapes = self.encoder.compute_output_shape(x_shape)
        # One shape, or a list of them.
        shapes = [shapes] if not isinstance(shapes[0], (tuple, list)) else list(shapes)
        if len(shapes) not in (1, 2, 3) or (len(shapes) > 1 and tuple(shapes[0]) != tuple(shapes[1])):
            raise ValueError(
                "The encoder must give a mean, or [mean, log_scale] of one shape, or [mean, log_scale, "
                f"context]; it gives shapes {[tuple(shape) for shape in shapes]}."
            )
        self.latent_shape = tuple(shapes[0][1:])
        self.latent_dimensions = math.prod(self.latent_shape)
        self._check_flows(shapes)
        z_shape = (None, *self.latent_shape)
        try:
            if not self.decoder.built:
                self.decoder.build(z_shape)
            given = tuple(self.decoder.compute_output_shape(z_shape))[1:]
        except ValueError as error:
            raise ValueError(
                f"The decoder must take z of shape {self.latent_shape}, the encoder's latent shape: {error}"
            ) from error
        if given != self.event_shape:
            raise ValueError(
                f"The decoder must map z of shape {self.latent_shape} to the event shape {self.event_shape}; "
                f"it gives {given}."
            )
        self.posterior_log_scale = None
        if len(shapes) == 1:
            self.posterior_log_scale = self._scale_weight("posterior_log_scale", self.posterior_scale)
        self.likelihood_log_scale = None
        if self.likelihood != "bernoulli":
            self.likelihood_log_scale = self._scale_weight("likelihood_log_scale", self.likelihood_scale)
        self.build_objective()
        self.built = True

    def _scale_weight(self, name, start):
        return self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(math.log(start)),
            trainable=self.learned_scales,
            autocast=False,
            name=name,
        )

    def _check_flows(self, shapes):
        for role, flow in (("posterior_flow", self.posterior_flow), ("prior_flow", self.prior_flow)):
            if flow is not None and flow.event_shape != self.latent_shape:
                raise ValueError(
                    f"{role} must have the encoder's latent shape {self.latent_shape} as its event_shape; it "
                    f"has {flow.event_shape}."
                )
        if self.prior_flow is not None and self.prior_flow.context_shape is not None:
            raise ValueError("prior_flow must be unconditional; build it without context_shape.")
        wanted = None if self.posterior_flow is None else self.posterior_flow.context_shape
        given = tuple(shapes[2][1:]) if len(shapes) == 3 else None
        if wanted != given:
            raise ValueError(
                f"The posterior flow's context_shape is {wanted}, but the encoder gives "
                f"{'no context' if given is None else f'a context of shape {given}'}. An encoder with three "
                "outputs, [mean, log_scale, context], goes with a posterior flow built with context_shape=."
            )

    @property
    def is_image_flow(self) -> bool:
        """Whether the data are pixels 0 ... 255, so that samples are uint8."""
        return self.likelihood == "discretized_logistic"

    @property
    def data_dtype(self) -> str:
        """The dtype of pixels, "uint8", or of other data, that of the weights."""
        return "uint8" if self.is_image_flow else self.variable_dtype

    # What users call, as programs.

    @program
    def _encode(self, x, noise):
        return self._latent(self._posterior(x), noise)[0]

    @program
    def _decode(self, z):
        return self._as_data(self._decode_reals(z))

    @program
    def _decode_reals(self, z):
        return likelihood_mean(self.likelihood, self._location(z))

    @program(xla=False)
    def _noisy_decode(self, z, key, start):
        key = backend.key_for("likelihood", key, start)
        return self._as_data(self._likelihood(self._location(z)).sample(seed=key))

    @program
    def _from_prior(self, w):
        """The latent of draws from the prior's base."""
        return w if self.prior_flow is None else self.prior_flow._forward(w)[0]

    @program
    def _log_weights(self, x, total, noise, *rest):
        """log(exp(total) + the sum of the first `used` importance weights / count) of (n, times, D) noise."""
        *posterior, used, count = rest
        times = noise.shape[1]
        noise = ops.reshape(noise, (-1, self.latent_dimensions))
        z, log_q = self._latent([ops.repeat(part, times, axis=0) for part in posterior], noise)
        log_p = self._likelihood(self._location(z)).log_prob(ops.repeat(x, times, axis=0))
        weights = ops.reshape(log_p + self._log_prior(z) - log_q, (-1, times))
        weights = ops.where(ops.arange(times, dtype="int32") < used, weights, -np.inf)
        return ops.logaddexp(total, ops.logsumexp(weights, axis=1) - ops.log(count))

    def _as_data(self, x):
        if self.is_image_flow:
            return ops.cast(ops.round(ops.clip(x, 0.0, 255.0)), "uint8")
        return x

    def _drawn_noise(self, key, start, count, temperature=1.0):
        shared = key, np.int32(start), np.asarray(temperature, self.variable_dtype)
        return self._noise.run((count,), shared)

    # What users call.

    @functional
    def elbo(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        *,
        seed: Seed = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """The evidence lower bound of one draw of z for each example, (batch,), in nats.

        Arguments:
            x: (batch, *event_shape).
            context: None, as for every unconditional flow.
            seed: draws z: an integer, a `keras.random.SeedGenerator` or a key of the backend.
            batch_size: how many examples are computed at a time, None for all at once.
        """
        self._check_no_context(context)
        key = self._key(seed)

        def elbo(start, x):
            return self._elbo.run((x, self._drawn_noise(key, start, one_each(x))))

        return in_batches(elbo, (self._data(x),), batch_size)

    def fixed_elbo(self, x: ArrayLike, noise: ArrayLike) -> Tensor:
        """The ELBO, (batch,), with the noise of the latent given, as `terms` takes it."""
        noise = checks.batch("noise", noise, (self.latent_dimensions,), self.variable_dtype)
        return self._elbo.run((self._data(x), noise))

    @functional
    def log_prob(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        *,
        num_importance_samples: int = 1000,
        seed: Seed = None,
        batch_size: int = DECODINGS,
    ) -> Tensor:
        """The importance-weighted estimate of log p(x), (batch,), in nats.

            log (1/K) sum_k p(x | z_k) p(z_k) / q(z_k | x),  z_k ~ q(z | x)

        On average it lies below log p(x), rises with K and is the ELBO for K = 1. At most 2,000
        latents are decoded at a time; in compiled code that does not know the number of examples, one of
        each.

        References:
            Importance Weighted Autoencoders (Burda et al., 2015, arXiv:1509.00519)

        Arguments:
            x: (batch, *event_shape).
            context: None, as for every unconditional flow.
            num_importance_samples: K.
            seed: draws the z_k: an integer, a `keras.random.SeedGenerator` or a key of the backend.
            batch_size: how many examples are computed at a time, 2,000 at most.
        """
        self._check_no_context(context)
        x = self._data(x)
        count = checks.positive_integer("num_importance_samples", num_importance_samples)
        size = min(checks.positive_integer("batch_size", batch_size), DECODINGS)
        key = self._key(seed)
        return in_batches(
            lambda start, x: self._importance_weighted(x, count, backend.fold_in(key, start)), (x,), size
        )

    def _importance_weighted(self, x, count, key):
        posterior = self._posterior.run((x,))
        n, among = x.shape[0], np.asarray(count, self.variable_dtype)
        if n is None:

            def one_more(places, total):
                noise = self._noise(x, key, places[0])[:, None]
                return (self._log_weights(x, total, noise, *posterior, 1, among),)

            nothing_yet = ops.full_like(one_each(x), -np.inf)
            return backend.repeat(count, one_more, (nothing_yet,), (ops.arange(count, dtype="int32"),))[0]
        at_once = min(count, DECODINGS // n)
        total = np.full((n,), -np.inf, self.variable_dtype)
        for done in range(0, count, at_once):
            noise = self._drawn_noise(key, done, np.zeros(n * at_once, "int8"))
            noise = ops.reshape(noise, (n, at_once, self.latent_dimensions))
            total = self._log_weights.run((x, total, noise, *posterior), (np.int32(count - done), among))
        return total

    def bits_per_dim(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        *,
        num_importance_samples: int = 1000,
        seed: Seed = None,
        batch_size: int = DECODINGS,
    ) -> Tensor:
        """-log_prob / (D ln 2), (batch,), by the importance-weighted estimate."""
        log_prob = self.log_prob(
            x, context, num_importance_samples=num_importance_samples, seed=seed, batch_size=batch_size
        )
        return bits_per_dim(log_prob, self.dimensions)

    def sample(
        self,
        n: int,
        context: ArrayLike | None = None,
        *,
        temperature: float | Sequence[float] = 1.0,
        mean: bool = True,
        seed: Seed = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """Draws `n` examples, (n, *event_shape): z from the prior, then the mean of p(x | z).

        Arguments:
            n: number of samples.
            context: None, as for every unconditional flow.
            temperature: the prior's base sample is multiplied by it; under 1, likelier samples.
            mean: False to draw x from p(x | z), with its noise, rather than to take the mean.
            seed: an integer, a `keras.random.SeedGenerator` or a key of the backend; without it, the
                model's own generator.
            batch_size: how many are drawn at a time, None for all at once.

        Returns: uint8 for pixels; for "bernoulli", the probability of a 1, or 0 and 1.
        """
        n = checks.positive_integer("n", n)
        self._check_no_context(context)
        temperature, key = (self.prior_flow or self)._temperatures(temperature), self._key(seed)

        def sample(start, count):
            if self.prior_flow is None:
                z = self._drawn_noise(key, start, count, temperature)
            else:
                w = self.prior_flow._latents.run((count,), (key, np.int32(start), temperature))
                z = ops.reshape(self._from_prior.run((w,)), (-1, self.latent_dimensions))
            if mean:
                return self._decode.run((z,))
            return self._noisy_decode.run((z,), (key, np.int32(start)))

        return in_batches(sample, (np.zeros((n,), "int8"),), batch_size, what="samples")

    @functional
    def encode(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        *,
        mean: bool = True,
        seed: Seed = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """A latent of `x`, (batch, D): that of the posterior's central noise 0, or a draw.

        Arguments:
            x: (batch, *event_shape).
            context: None, as for every unconditional flow.
            mean: False to draw z from q(z | x). Without a posterior flow, True gives its mean.
            seed: draws z.
            batch_size: how many examples are computed at a time, None for all at once.
        """
        self._check_no_context(context)
        key = self._key(seed, draws=not mean)

        def encode(start, x):
            noise = self._drawn_noise(key, start, one_each(x), 0.0 if mean else 1.0)
            return self._encode.run((x, noise))

        return in_batches(encode, (self._data(x),), batch_size)

    @functional
    def decode(
        self,
        z: ArrayLike,
        context: ArrayLike | None = None,
        *,
        batch_size: int | None = None,
        discrete: bool = True,
    ) -> Tensor:
        """The mean of p(x | z): (batch, D) -> (batch, *event_shape); uint8 for pixels.

        `discrete=False` gives pixels before they are rounded, which have a gradient with respect to `z`.
        """
        self._check_no_context(context)
        z = checks.batch("z", z, (self.latent_dimensions,), self.variable_dtype)
        decode = self._decode if discrete else self._decode_reals
        return in_batches(lambda _, z: decode.run((z,)), (z,), batch_size)

    def reconstruct(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        *,
        mean: bool = True,
        seed: Seed = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """What the decoder makes of the latents of `x`: decode(encode(x)), of the shape of `x`."""
        z = self.encode(x, context, mean=mean, seed=seed, batch_size=batch_size)
        return self.decode(z, batch_size=batch_size)

    @property
    def level_sizes(self) -> list[int]:
        """How many numbers the latent has, as a list of one level."""
        return [self.latent_dimensions]

    def _check_no_context(self, context):
        if context is not None:
            raise ValueError(f"{self.name} takes no context.")

    def endpoints(self) -> dict[str, Any]:
        """What `export` writes: name -> (function, its inputs by name, as `keras.InputSpec`)."""
        x, z, _ = data_specs(self, self.latent_dimensions)

        def sample(n, temperature, seed):
            drawn = self._noise if self.prior_flow is None else self.prior_flow._latents
            w = drawn(ops.zeros((n,)), self._key(seed), temperature=temperature)
            return self._decode(ops.reshape(self._from_prior(w), (-1, self.latent_dimensions)))

        return {
            "elbo": (self.elbo, {**x, "seed": scalar_spec("int64")}),
            "sample": (sample, {**COUNT, **draw_specs(self)}),
            "encode": (self.encode, x),
            "decode": (self.decode, z),
        }

    # Training.

    @property
    def needs_initialization(self) -> bool:
        """Whether a layer of a flow still waits for data to start from."""
        flows = [flow for flow in (self.posterior_flow, self.prior_flow) if flow is not None]
        return any(flow.needs_initialization for flow in flows)

    def initialize(self, x: ArrayLike) -> None:
        """Starts layers such as ActNorm from one batch of data; `fit` does it by itself."""
        x = ops.convert_to_tensor(self._data(x))
        posterior = self._posterior(x)
        noise = self._noise(x, self._key(None))
        mean, log_scale, *context = posterior
        if self.posterior_flow is not None:
            start = ops.reshape(mean + ops.exp(log_scale) * noise, (-1, *self.latent_shape))
            self.posterior_flow.initialize(
                start, *[ops.reshape(part, (-1, *self.posterior_flow.context_shape)) for part in context]
            )
        if self.prior_flow is not None:
            z, _ = self._latent(posterior, noise)
            self.prior_flow.initialize(ops.reshape(z, (-1, *self.latent_shape)))

    def named_parts(self) -> dict[str, Any]:
        """The networks and flows by their roles, as `flowzoo.naming` asks for them."""
        roles = ("encoder", "decoder", "posterior_flow", "prior_flow")
        return {role: getattr(self, role) for role in roles if getattr(self, role) is not None}

    # Checks of input.

    def _data(self, x):
        x = checks.array("x", x, self.event_shape)
        self._check_values(x)
        return checks.cast("x", x, self.variable_dtype)

    def _check_values(self, x, context=None):
        """Refuses data that the likelihood does not know, where their values can be seen."""
        x = values.seen(x)
        if x is None:
            return
        if self.is_image_flow:
            values.check_pixels("x", x, model=self.name, whole=self.likelihood == "discretized_logistic")
        elif self.likelihood == "bernoulli":
            values.check_within(
                "x",
                x,
                model="The likelihood 'bernoulli'",
                low=0,
                high=1,
                hint=" flowzoo.datasets.binarize makes them of pixels.",
            )

    # Keras.

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, networks and flows as Keras serializes them, and what is frozen."""
        config = {
            name: keras.saving.serialize_keras_object(value)
            if isinstance(value, keras.layers.Layer)
            else value
            for name, value in constructor_arguments(self).items()
        }
        return {**super().get_config(), **config, **frozen_config(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        config = dict(config)
        frozen = config.pop("frozen", {})
        arguments = {
            name: keras.saving.deserialize_keras_object(value)
            if isinstance(value, dict) and name != "dtype"
            else value
            for name, value in config.items()
        }
        return freeze_layers(cls(**arguments), frozen)

    def __repr__(self):
        rows = [
            f"{type(self).__name__}(event_shape={self.event_shape}, latent_shape={self.latent_shape}, "
            f"{self.count_params():,} weights)"
        ]
        for role in ("posterior_flow", "prior_flow"):
            if getattr(self, role) is not None:
                rows.append(f"  {role}: {getattr(self, role)!r}".replace("\n", "\n  "))
        return "\n".join([*rows, f"  {self.likelihood} likelihood"])


def _checked_flow(role, flow):
    if flow is not None and (not isinstance(flow, Flow) or flow.is_image_flow):
        raise ValueError(
            f"{role} must be a flowzoo.Flow on real numbers, such as flowzoo.IAF(event_shape=32); got "
            f"{flow!r}."
        )
    return flow


def _input_shape(encoder):
    """The event shape that a built functional or sequential encoder knows."""
    try:
        shape = tuple(encoder.input_shape[1:])
    except (AttributeError, TypeError):
        shape = ()
    if not shape or None in shape:
        raise ValueError("event_shape is missing: the encoder does not know the shape of its input.")
    return shape
