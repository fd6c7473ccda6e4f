"""The model that every flow of the zoo is."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from flowzoo import backend, checks, replicas, values, variational
from flowzoo.base import get as get_base
from flowzoo.base import serialized as serialized_base
from flowzoo.bijector import FlowBijector, FlowDistribution
from flowzoo.compiled import in_batches, one_each, program
from flowzoo.export import COUNT, Exported, data_specs, draw_specs, scalar_spec
from flowzoo.freezing import freeze_layers, frozen_config
from flowzoo.labels import Labels
from flowzoo.latent import Levels
from flowzoo.layers.chain import Chain
from flowzoo.layers.dequantize import Dequantize
from flowzoo.layers.statistics import Statistics
from flowzoo.maximum_likelihood import MaximumLikelihood
from flowzoo.metrics import bits_per_dim
from flowzoo.presets import Presets
from flowzoo.published import Published
from flowzoo.support import check_support
from flowzoo.symbolic import functional
from flowzoo.types import ArrayLike, BaseLike, Bijector, Distribution, Network, Seed, Shape, Tensor


def constructor_arguments(model):
    """What `model` was constructed with, by the attributes of its arguments' names."""
    names = inspect.signature(type(model).__init__).parameters.keys() - {"self", "name", "kwargs"}
    return {name: getattr(model, name) for name in sorted(names)}


def broadcast(name, values, context):
    """Values (batch, ...) and their context, of which one example stands for as many as the other has."""
    if context is None:
        return values, None
    n, contexts = values.shape[0], context.shape[0]
    if contexts == 1:
        return values, _repeated(context, ops.shape(values)[0] if n is None else n)
    if n == 1:
        return _repeated(values, ops.shape(context)[0] if contexts is None else contexts), context
    if None not in (n, contexts) and n != contexts:
        raise ValueError(
            f"{name} has {n} examples, but context has {contexts} examples: give as many, or one of either."
        )
    return values, context


def _repeated(values, n):
    """One example (1, ...) as (n, ...); n of them as they are."""
    if values.shape[0] != 1:
        return values
    shape = (n, *values.shape[1:])
    return ops.broadcast_to(values, shape) if ops.is_tensor(values) else np.broadcast_to(values, shape)


@keras.saving.register_keras_serializable(package="flowzoo")
class Flow(Levels, Labels, Exported, Presets, Published, MaximumLikelihood):
    """A normalizing flow: a chain of flow layers over a base distribution, trained by `fit`.

    With x = f(z) and z from the base,  log p(x) = log p(z) + log |det dz/dx|  in nats, in the
    space of the data that the user gives.

    Arguments:
        flow_layers: list of flow layers, latent to data: sampling runs them first to last.
        event_shape: shape of one example; an integer D stands for (D,).
        context_shape: shape of one example's context for a conditional flow p(x | c), or None. In a flow
            of images (H, W, C), a context that is an image stays one: coupling layers see it resized to
            their scale, see `flowzoo.layers.context.context_at`. Any other is flattened.
        context_network: a Keras layer or model in front of the context, (batch, *context_shape) ->
            (batch, ...), or None. What it gives is the context that the layers see. It trains with the
            flow, and runs once a pass.
        base: "normal", "logistic", "uniform", "student_t" for heavy tails, "mixture" of Gaussians, the
            last two learned; a tuple with a name for each dimension of the latent; a `flowzoo.base.Base`;
            or a TFP distribution of event shape (D,), with which the flow cannot be saved.
        standardize_context: whether the layers see the context less its mean and over its spread, of each
            component or channel, in the data that training starts from; not with a context network, which
            sees the context as it is.

    A flow whose last layer (the data end) is `flowzoo.layers.Dequantize` is an image flow: it
    takes integers, its samples are uint8, and `fit` reports `bits_per_dim`.

    Raises: ValueError if a layer stands twice in the list, is not a flow layer, or does not fit, also
        in dtype: a flow of float64 has layers, and networks in them, of dtype="float64".

    Example:
        >>> layers = [
        ...     flowzoo.layers.AffineCoupling(flowzoo.networks.MLP((32, 32)), swap=i % 2 == 1)
        ...     for i in range(4)
        ... ]
        >>> flow = Flow(layers, event_shape=2)
        >>> flow.compile(optimizer="adam")
        >>> history = flow.fit(np.random.normal(size=(256, 2)), epochs=2, verbose=0)
        >>> tuple(flow.log_prob(np.zeros((5, 2))).shape)
        (5,)
        >>> tuple(flow.sample(3, seed=0).shape)
        (3, 2)
    """

    noise_parts = 64  # of a pixel: its noise keeps a distance from the next integer, for float32

    def __init__(
        self,
        flow_layers: Sequence[keras.layers.Layer],
        *,
        event_shape: int | Sequence[int],
        context_shape: int | Sequence[int] | None = None,
        context_network: Network | None = None,
        base: BaseLike = "normal",
        standardize_context: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, autocast=False, **kwargs)
        self.event_shape = checks.shape("event_shape", event_shape)
        if context_shape is not None:  # () stands for a single number, such as a label
            context_shape = checks.shape("context_shape", context_shape, scalar=True)
        self.context_shape = context_shape
        self.context_network = self._checked_network(context_network)
        self.base_layer = get_base(base, dtype=self.dtype_policy)
        self.base = base if isinstance(base, (str, tuple)) else self.base_layer
        self.standardize_context = bool(standardize_context)
        self.context_statistics = None
        if self.standardize_context and context_shape is not None and context_network is None:
            self.context_statistics = Statistics(name="context_statistics")
        self.chain = Chain(flow_layers, name="chain")
        self.dimensions = math.prod(self.event_shape)
        self.seed_generator = replicas.SeedGenerator()
        if self.is_image_flow:
            self.bits_per_dim_tracker = keras.metrics.Mean(name="bits_per_dim")
        self.build((None, *self.event_shape))

    def build(self, input_shape: Shape | None = None) -> None:
        """Builds every layer, so that nothing is left to build while `fit` traces."""
        if self.built:
            return
        self.seen_context_shape = self._built_context_shape()
        if self.context_statistics is not None:
            self.context_statistics.build(self.seen_context_shape)
        self.chain.build((None, *self.event_shape), self.seen_context_shape)
        checks.one_dtype(self)
        self.latent_shape = self.chain.latent_shape
        if any(isinstance(layer, Dequantize) for layer in self.flow_layers[:-1]):
            raise ValueError("A Dequantize layer must be the last of the flow layers, at the data end.")
        if math.prod(self.latent_shape) != self.dimensions:
            raise ValueError(
                f"The layers map event shape {self.event_shape} to a latent of shape {self.latent_shape}, "
                "which has another number of dimensions; a flow must keep it."
            )
        if not self.base_layer.built:
            self.base_layer.build((None, self.dimensions))
        self.built = True

    @property
    def flow_layers(self) -> list[keras.layers.Layer]:
        """The layers of the chain, latent to data."""
        return self.chain.flow_layers

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The same, for Keras's `summary` and `get_layer`."""
        return [*([] if self.context_network is None else [self.context_network]), *self.flow_layers]

    def named_parts(self) -> dict[str, Any]:
        """What stands before the context, the layers by place, and the base, for `flowzoo.naming`."""
        of_context = {name: getattr(self, name) for name in ("context_network", "context_statistics")}
        of_context = {name: part for name, part in of_context.items() if part is not None}
        layers = {str(place): layer for place, layer in enumerate(self.flow_layers)}
        return of_context | layers | {"base": self.base_layer}

    @property
    def latent_dimensions(self) -> int:
        """The length D of the flat latent, which is that of the data."""
        return self.dimensions

    @property
    def is_image_flow(self) -> bool:
        """Whether the data are integers (pixels), by a Dequantize layer at the data end."""
        return bool(self.flow_layers) and isinstance(self.flow_layers[-1], Dequantize)

    @property
    def data_dtype(self) -> str:
        """The dtype of samples: "uint8" for 8-bit image flows, that of the weights for others."""
        if self.is_image_flow and self.flow_layers[-1].bins * self.flow_layers[-1].step <= 256:
            return "uint8"
        return self.variable_dtype

    # One pass each way; the latent is one flat vector. What is marked as a program also runs compiled; one
    # that draws reads no weights, and runs without XLA on TensorFlow, whose random numbers are others.

    def forward_and_log_det(self, z: ArrayLike, context: ArrayLike | None = None) -> tuple[Tensor, Tensor]:
        """x = f(z) and log |det dx/dz|: (batch, D) -> (batch, *event_shape), (batch,).

        Images are real: the pixel p is the middle of the reals from p - 1/2 to p + 1/2, see `decode`.
        One latent, or one context, stands for as many as the other has.
        """
        return self._forward.run(broadcast("z", z, context))

    def inverse_and_log_det(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        noise: ArrayLike | None = None,
        *,
        seed: Seed = None,
    ) -> tuple[Tensor, Tensor]:
        """z = f^-1(x) and log |det dz/dx|: (batch, *event_shape) -> (batch, D), (batch,).

        Arguments:
            noise: for an image flow, numbers between 0 and 1 of the shape of x, which make its integers
                real; or
            seed: draws them. Without either x is real, as `forward_and_log_det` gives it, and whole
                pixels stand for their middles.
        """
        x, context = broadcast("x", x, context)
        if noise is None and seed is not None:
            noise = self._drawn_noise(backend.random_key(seed), 0, x)
        return self._inverse.run((x, context, noise))

    @program
    def _forward(self, z, context=None, **call):
        z = ops.reshape(z, (-1, *self.latent_shape))
        return self.chain(z, self._seen_context(context, **call), forward=True, log_det=True, **call)

    @program
    def _inverse(self, x, context=None, noise=None, **call):
        z, log_det = self.chain(x, self._seen_context(context, **call), noise, log_det=True, **call)
        return ops.reshape(z, (-1, self.dimensions)), log_det

    @backend.full_precision()
    def _seen_context(self, context, training=False):
        """What the layers see of a context: of the network, if there is one; flat unless it is an image."""
        if context is None:
            return None
        if self.context_network is not None:
            context = self.context_network(context, training=training)
        context = ops.cast(ops.reshape(context, (-1, *self.seen_context_shape[1:])), self.variable_dtype)
        return context if self.context_statistics is None else self.context_statistics(context)

    def _built_context_shape(self):
        """The shape of what the layers see of a context, (None, ...), or None; builds the network."""
        if self.context_shape is None:
            return None
        shape = (None, *self.context_shape)
        if self.context_network is not None:
            if not self.context_network.built:
                self.context_network.build(shape)
            shape = self.context_network.compute_output_shape(shape)
            if not all(size is None or isinstance(size, int) for size in shape) or None in shape[1:]:
                raise ValueError(
                    f"context_network must give one tensor of a fixed shape; it gives {shape} for contexts "
                    f"of shape {self.context_shape}."
                )
        is_image = len(shape) == 4 and len(self.event_shape) == 3
        return tuple(shape) if is_image else (None, math.prod(shape[1:]))

    @program
    def _log_density(self, x, context=None, noise=None, unit=1.0, **call):
        z, log_det = self._inverse(x, context, noise, **call)
        return unit * (self.base_layer.log_prob(z) + log_det)

    @program
    def _decode(self, z, context):
        return self._as_data(self._forward(z, context)[0])

    @program
    def _decode_reals(self, z, context):
        return self._forward(z, context)[0]

    def _as_data(self, x):
        return ops.cast(self.flow_layers[-1].whole(x), self.data_dtype) if self.is_image_flow else x

    @program(draws=True)
    def _noise(self, count, key, start=0):
        """What makes the integers of `count` images real, from the middles of equal parts of (0, 1)."""
        shape = (ops.shape(count)[0], *self.chain.noise_shape)
        key = backend.key_for("noise", key, start)
        uniform = backend.uniform(key, shape, self.variable_dtype)
        return (ops.floor(uniform * self.noise_parts) + 0.5) / self.noise_parts

    @program(draws=True, weights=lambda model: model.base_layer.weights)
    def _latents(self, count, key, start=0, temperature=1.0):
        """`count` draws of the base distribution times the temperature."""
        key = backend.key_for("latent", key, start)
        n = ops.shape(count)[0]
        return temperature * self.base_layer.sample(n, key)

    @program
    def _log_dets(self, x, context, noise):
        z, log_dets = self.chain.inverse_and_log_dets(x, self._seen_context(context), noise)
        return ops.reshape(z, (-1, self.dimensions)), log_dets

    def _drawn_noise(self, key, start, x):
        """The noise of a batch of images that starts at `start`; None for a flow that takes none."""
        if self.chain.noise_shape is None:
            return None
        return self._noise.run((one_each(x),), (key, np.int32(start)))

    def _encoded_noise(self, key, start, x):
        """The same for `encode`, of which `decode` is the inverse."""
        return self._drawn_noise(key, start, x)

    # What users call.

    @functional
    def log_prob(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        *,
        num_importance_samples: int | None = None,
        seed: Seed = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """Log-density of `x` in nats, in the space of the data (pixels for image flows).

        For an image flow it is that of the integers made real by one draw of the dequantisation noise, on
        average a lower bound of their log-probability. With K importance samples it is

            log (1/K) sum_k p(x + u_k) / q(u_k | x),  u_k ~ q(u | x)

        of K draws, which on average lies above the bound, below the log-probability, and rises with K; q is
        learned, or uniform. The draws take a pass each, one after the other.

        References:
            Importance Weighted Autoencoders (Burda et al., 2015, arXiv:1509.00519)
            Flow++ (Ho et al., 2019, arXiv:1902.00275), section 3.1

        Arguments:
            x: (batch, *event_shape).
            context: (batch, *context_shape), for a conditional flow.
            num_importance_samples: K, or None for the bound.
            seed: draws the dequantisation noise of an image flow: an integer, a
                `keras.random.SeedGenerator` or a key of the backend; without it, the flow's own generator.
            batch_size: how many examples are computed at a time, None for all at once.

        Returns: tensor (batch,).
        Raises: ValueError or TypeError for input of a wrong kind, shape, or with NaN; ValueError for
            importance samples of a flow whose noise, if any, makes no bound.
        """
        return self._density(1.0, x, context, num_importance_samples, seed, batch_size)

    @functional
    def bits_per_dim(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        *,
        num_importance_samples: int | None = None,
        seed: Seed = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """-log_prob(x) / (D ln 2), shape (batch,); for image flows alone (ValueError otherwise)."""
        if not self.is_image_flow:
            raise ValueError(
                f"bits_per_dim is for image flows, whose data are integers; {self.name} models real "
                "numbers, for which bits depend on the unit. Use log_prob, in nats."
            )
        unit = bits_per_dim(1.0, self.dimensions)
        return self._density(unit, x, context, num_importance_samples, seed, batch_size)

    def _density(self, unit, x, context, count, seed, batch_size):
        self._check_importance_samples(count)
        key = self._noise_key(seed)
        return in_batches(
            lambda start, *batch: self._density_of_batch(unit, *batch, key, start, count),
            self._examples(x, context),
            batch_size,
        )

    def _density_of_batch(self, unit, x, context, key, start, count):
        """`unit` times the log-density by one draw of the noise, or by `count` of them."""

        def density(unit, key):
            unit = np.asarray(unit, self.variable_dtype)
            return self._log_density.run((x, context, self._drawn_noise(key, start, x)), (unit,))

        if count is None:
            return density(unit, key)
        log_weights = ops.stack([density(1.0, backend.fold_in(key, draw)) for draw in range(count)])
        return unit * (ops.logsumexp(log_weights, axis=0) - math.log(count))

    def _check_importance_samples(self, count):
        if count is None:
            return
        checks.positive_integer("num_importance_samples", count)
        if not self.is_image_flow or not self.flow_layers[-1].bounds_integers:
            why = "Gaussian noise, which makes no bound" if self.is_image_flow else "no dequantisation noise"
            raise ValueError(
                f"num_importance_samples averages over the noise that makes integers real; {self.name} has "
                f"{why}. Leave it out."
            )

    def fixed_log_prob(
        self, x: ArrayLike, context: ArrayLike | None = None, noise: ArrayLike | None = None
    ) -> Tensor:
        """log_prob with the dequantisation noise given, of the shape of `x`, or 1/2; nothing is drawn."""
        x, context = self._examples(x, context)
        if noise is not None:
            noise = checks.batch("noise", noise, self.event_shape, self.variable_dtype)
        elif self.chain.noise_shape is not None:
            noise = 0.5 * ops.ones_like(x)
        return self._log_density.run((x, context, noise))

    def inverse_and_log_dets(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        *,
        seed: Seed = None,
        batch_size: int | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """The latent (batch, D) and each layer's log-determinant (batch,), from the data end."""
        key = self._noise_key(seed)

        def log_dets(start, x, context):
            return self._log_dets.run((x, context, self._drawn_noise(key, start, x)))

        return in_batches(log_dets, self._examples(x, context), batch_size)

    def sample(
        self,
        n: int,
        context: ArrayLike | None = None,
        *,
        temperature: float | Sequence[float] = 1.0,
        seed: Seed = None,
        batch_size: int | None = None,
        discrete: bool = True,
    ) -> Tensor:
        """Draws `n` examples, (n, *event_shape); uint8 for 8-bit image flows.

        Arguments:
            n: number of samples.
            context: for a conditional flow, (n, *context_shape), or one example of
                `context_shape` for all samples.
            temperature: the base's sample is multiplied by it; under 1, likelier samples. For a
                flow of several scales it may be a list, one for each of `level_sizes`.
            seed: an integer, a `keras.random.SeedGenerator` or a key of the backend; without it, the
                flow's own generator.
            batch_size: how many are drawn at a time, None for all at once.
            discrete: False for the real images of an image flow, as in `decode`.
        """
        return self._samples(
            n, context, temperature, seed, batch_size, lambda *latents: self._decoded(*latents, discrete)
        )

    def _samples(self, n, context, temperature, seed, batch_size, decode):
        """`n` examples that `decode(z, context)` makes of draws of the base."""
        n = checks.positive_integer("n", n)
        context = self._context(context)
        if context is not None:
            if context.shape[0] not in (None, 1, n):
                raise ValueError(
                    f"context has {context.shape[0]} examples, but n is {n}. Give n of them, or one for all; "
                    "for k samples of each, np.repeat(context, k, axis=0)."
                )
            context = _repeated(context, n)
        key, temperature = self._key(seed), self._temperatures(temperature)

        def sample(start, count, context):
            return decode(self._latents.run((count,), (key, np.int32(start), temperature)), context)

        examples = np.zeros((n,), "int8"), context
        return in_batches(sample, examples, batch_size, what="samples")

    @functional
    def encode(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        *,
        seed: Seed = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """The latent of `x`: (batch, *event_shape) -> (batch, D).

        `decode` undoes it but for the rounding of float32, which a flow that stretches its data much makes
        larger, so that not every trained flow gives every pixel back: `round_trip_error` tells of yours.

        Raises: ValueError also for data that no latent gives, see `flowzoo.layers.FlowLayer.outside`; within
            compiled code, where they are not seen, they get the latent of others.
        """
        key = self._noise_key(seed)

        def encode(start, x, context):
            return self._inverse.run((x, context, self._encoded_noise(key, start, x)))[0]

        examples = self._examples(x, context)
        if (given := values.seen(examples[0])) is not None:
            check_support(self, given)
        return in_batches(encode, examples, batch_size)

    @functional
    def decode(
        self,
        z: ArrayLike,
        context: ArrayLike | None = None,
        *,
        batch_size: int | None = None,
        discrete: bool = True,
    ) -> Tensor:
        """The data of latent `z`: (batch, D) -> (batch, *event_shape); inverse of `encode`.

        Arguments:
            z: (batch, D).
            context: (batch, *context_shape), for a conditional flow.
            batch_size: how many examples are computed at a time, None for all at once.
            discrete: whether an image flow gives whole pixels, as it is trained on. False gives the real
                images of which these are the nearest whole ones (with fewer bits, those below), floats that
                may lie a little outside of 0 ... 255 and have a gradient with respect to `z`.

        Example:
            >>> flow = flowzoo.NICE(event_shape=(4, 4, 1), couplings=2, hidden_units=(8,))
            >>> z = flow.encode(np.full((1, 4, 4, 1), 100), seed=0)
            >>> whole, real = np.asarray(flow.decode(z)), np.asarray(flow.decode(z, discrete=False))
            >>> bool(np.all(np.round(real) == whole)), bool(np.any(real != whole))
            (True, True)
        """
        z = checks.batch("z", z, (self.dimensions,), self.variable_dtype)
        examples = broadcast("z", z, self._context(context))
        return in_batches(lambda _, *batch: self._decoded(*batch, discrete), examples, batch_size)

    def _decoded(self, z, context, discrete):
        return (self._decode if discrete else self._decode_reals).run((z, context))

    def round_trip_error(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        *,
        seed: Seed = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """How far each example is from decode(encode(x)): the largest difference, (batch,).

        Exact arithmetic would give 0. That of float32 errs in the seventh digit, and each layer can stretch
        what the last one erred by as much as it stretches its data: a look at some examples tells whether
        the latents of a trained flow are to be relied on. For image flows the differences are of whole
        pixel values, so that 0 stands for an image that comes back as it was (less the bits that the
        flow drops). Should they not be 0, then a smaller `log_scale_bound`, fewer layers, a lower learning
        rate or 64-bit floats help.

        Arguments: those of `encode`.
        """
        back = self.decode(
            self.encode(x, context, seed=seed, batch_size=batch_size), context, batch_size=batch_size
        )
        x, _ = self._examples(x, context)
        if self.is_image_flow:
            step = self.flow_layers[-1].step
            x = step * ops.floor(x / step)
        difference = ops.abs(ops.cast(back, self.variable_dtype) - x)
        return ops.max(ops.reshape(difference, (-1, self.dimensions)), axis=1)

    def _noise_key(self, seed):
        """The key of the noise; one that nobody uses where the flow takes none."""
        return self._key(seed, draws=self.chain.noise_shape is not None)

    def _draw(self, n, temperature, seed):
        """`n` latents, (n, D), from the base times the temperature."""
        shared = (self._key(seed), np.int32(0), self._temperatures(temperature))
        return self._latents.run((np.zeros((n,), "int8"),), shared)

    @property
    def base_distribution(self) -> Distribution:
        """The distribution of the flat latent, a `tfd.Distribution` made afresh."""
        return self.base_layer.distribution

    @property
    def bijector(self) -> Bijector:
        """The flow as a `tfb.Bijector`, flat latent to data; held, it follows the flow's weights.

        Of an image flow it is the map between latents and real images, `forward_and_log_det` and
        `inverse_and_log_det`: no pixels are rounded, and no noise is drawn.
        """
        return FlowBijector(
            self,
            (self.dimensions,),
            self.event_shape,
            self.variable_dtype,
            context_ndims=0 if self.context_shape is None else len(self.context_shape),
            name=self.name,
        )

    @property
    def distribution(self) -> Distribution:
        """The flow as a `tfd.TransformedDistribution`; held, it follows the flow's weights.

        A conditional flow's takes the context as it is: `flow.distribution.log_prob(x, context=c)`. That
        of an image flow is one of whole pixels.
        """
        seed = None if self.chain.noise_shape is None else self.seed_generator
        pixels = self.flow_layers[-1] if self.is_image_flow else None
        return FlowDistribution(self.base_distribution, self.bijector, seed, pixels)

    # Training.

    def initialize(self, x: ArrayLike, context: ArrayLike | None = None) -> None:
        """Starts layers such as ActNorm from one batch of data; `fit` does it by itself."""
        x, context = (
            None if part is None else ops.convert_to_tensor(part) for part in self._examples(x, context)
        )
        noise = self._drawn_noise(self._noise_key(None), 0, x)
        if self.context_statistics is not None:
            self.context_statistics.initialize(ops.reshape(context, (-1, *self.seen_context_shape[1:])))
        self.chain.initialize(x, self._seen_context(context), noise)
        replicas.spread(self)

    @property
    def needs_initialization(self) -> bool:
        """Whether a layer still waits for data to start from."""
        statistics = self.context_statistics
        return self.chain.needs_initialization or (statistics is not None and statistics.needs_initialization)

    def fit_variational(
        self, target_log_prob_fn: Callable[..., Tensor], *, steps: int, **kwargs: Any
    ) -> keras.callbacks.History:
        """Fits the flow to an unnormalised density; see `flowzoo.variational.fit_variational`."""
        return variational.fit_variational(self, target_log_prob_fn, steps=steps, **kwargs)

    def call(self, inputs: ArrayLike, training: bool = False) -> Tensor:
        """log_prob of a batch: `inputs` is x, or (x, context) for a conditional flow."""
        x, context, _ = self._intake.parts(inputs)
        x, context = self._examples(x, context)
        noise = None
        if self.chain.noise_shape is not None:
            noise = self._noise(x, self._key(None))
        return self._log_density(x, context, noise, training=training)

    def endpoints(self) -> dict[str, Any]:
        """What `export` writes: name -> (function, its inputs by name, as `keras.InputSpec`)."""
        x, z, context = data_specs(self, self.dimensions)
        seed = {} if self.chain.noise_shape is None else {"seed": scalar_spec("int64")}

        def sample(temperature, seed, n=None, context=None):
            count = ops.zeros((ops.shape(context)[0] if n is None else n,))
            return self._decode(self._latents(count, self._key(seed), temperature=temperature), context)

        return {
            "log_prob": (self.log_prob, {**x, **context, **seed}),
            "sample": (sample, {**(context or COUNT), **draw_specs(self)}),
            "encode": (self.encode, {**x, **context, **seed}),
            "decode": (self.decode, {**z, **context}),
        }

    def onnx_endpoints(self) -> dict[str, Any]:
        """The same for ONNX, which draws nothing by seed: the noise of an image flow is an input."""
        x, z, context = data_specs(self, self.dimensions)
        noise = {}
        if self.chain.noise_shape is not None:
            noise = {"noise": keras.InputSpec(shape=(None, *self.event_shape), dtype=self.variable_dtype)}
        return {
            "log_prob": (self.fixed_log_prob, {**x, **context, **noise}),
            "decode": (self.decode, {**z, **context}),
        }

    # Checks of input.

    def _examples(self, x, context=None):
        """x and context, checked, as many of one as of the other, and of the flow's floating dtype."""
        x, context = self._checked(x, context)
        return checks.cast("x", x, self.variable_dtype), context

    def _check_values(self, x, context=None):
        """Refuses pixels that are none, and contexts that are not known, where values can be seen."""
        if self.is_image_flow and (x := values.seen(x)) is not None:
            layer = self.flow_layers[-1]
            values.check_pixels("x", x, model=self.name, bins=layer.bins, step=layer.step)
        if context is not None:
            self._check_context(context)

    def _check_training_values(self, x):
        """Refuses training data without a density, and warns of those that a flow of reals takes badly."""
        if self.is_image_flow or (x := values.seen(x)) is None:
            return
        checks.fits("x", x, self.variable_dtype)
        check_support(self, x)
        values.warn_of_integers("x", x, model=self.name)
        values.warn_of_coarse_columns("x", x, self.variable_dtype, model=self.name)

    def _check_start(self, x, context=None):
        if not self.base_layer.bounded:
            return
        z = ops.convert_to_numpy(self.encode(x, context))
        outside = np.isneginf(ops.convert_to_numpy(self.base_layer.log_prob(z)))
        if outside.any():
            raise ValueError(
                f"The base {self.base_layer.describe()!r} of {self.name} is bounded, but of the first batch "
                f"{outside.sum()} of {len(outside)} latents lie outside; they go from {z.min():.3g} to "
                f"{z.max():.3g}. There the density is 0 and has no gradient, so that no training brings them "
                "in. For 'uniform', on [0, 1), use base='logistic', the same but for a sigmoid, or 'normal', "
                "or let the layers map the data into the unit interval. Angles lie in [-pi, pi)."
            )

    def _checked_network(self, network):
        if network is None:
            return None
        if not isinstance(network, keras.layers.Layer):
            raise ValueError(f"context_network must be a Keras layer or model; got {network!r}.")
        if self.context_shape is None:
            raise ValueError("context_network needs context_shape, the shape of what goes into it.")
        return network

    def _checked(self, x, context=None):
        """The same with x in a dtype of its own."""
        x = checks.array("x", x, self.event_shape)
        self._check_values(x)
        return broadcast("x", x, self._context(context))

    def _context(self, context):
        """The context, checked: (batch, *context_shape), also where the context of one example is given."""
        if self.context_shape is None:
            if context is not None:
                raise ValueError(f"{self.name} takes no context; build it with context_shape= to use one.")
            return None
        context = checks.numbers("context", context)
        if getattr(context.shape, "rank", 0) is not None and tuple(context.shape) == self.context_shape:
            context = context[None]
        context = checks.array("context", context, self.context_shape)
        self._check_context(context)
        return checks.cast("context", context, self.variable_dtype)

    # Keras.

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, kept as attributes of the same names, and which layers are frozen."""
        config = constructor_arguments(self)
        if "base" in config:
            config["base"] = serialized_base(self.base)
        if self.context_network is not None:
            config["context_network"] = keras.saving.serialize_keras_object(self.context_network)
        if "flow_layers" in config:
            config["flow_layers"] = [keras.saving.serialize_keras_object(layer) for layer in self.flow_layers]
        return {**super().get_config(), **config, **frozen_config(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        config = dict(config)
        frozen = config.pop("frozen", {})
        if "flow_layers" in config:
            layers = [keras.saving.deserialize_keras_object(layer) for layer in config["flow_layers"]]
            config["flow_layers"] = layers
        if config.get("context_network") is not None:
            config["context_network"] = keras.saving.deserialize_keras_object(config["context_network"])
        return freeze_layers(cls(**config), frozen)

    def __repr__(self):
        rows = [f"{type(self).__name__}(event_shape={self.event_shape}, {self.count_params():,} weights)"]
        if self.context_shape is not None:
            rows[0] = rows[0][:-1] + f", context_shape={self.context_shape})"
        if self.context_network is not None:
            rows.append(f"  context -> {self.context_network.name} {type(self.context_network).__name__}")
        rows.append(f"  {self.base_layer.describe()} latent ({self.dimensions},)")
        rows += self.chain.describe()
        return "\n".join(rows) + f"\n  -> data {self.event_shape}"
