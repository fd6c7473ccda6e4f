"""The model that every flow of the zoo is."""

import inspect
import math

import keras
import numpy as np
from keras import ops

from flowzoo import backend, checks, replicas, variational
from flowzoo.base import BASES, base_distribution, base_sample
from flowzoo.bijector import FlowBijector, FlowDistribution
from flowzoo.compiled import in_batches, one_each, program
from flowzoo.export import COUNT, Exported, data_specs, draw_specs, scalar_spec
from flowzoo.latent import Levels
from flowzoo.layers.chain import Chain
from flowzoo.layers.dequantize import Dequantize
from flowzoo.layers.statistics import Statistics
from flowzoo.maximum_likelihood import MaximumLikelihood
from flowzoo.metrics import bits_per_dim
from flowzoo.published import Published


def constructor_arguments(model):
    """What `model` was constructed with, by the attributes of its arguments' names."""
    names = inspect.signature(type(model).__init__).parameters.keys() - {"self", "name", "kwargs"}
    return {name: getattr(model, name) for name in sorted(names)}


@keras.saving.register_keras_serializable(package="flowzoo")
class Flow(Levels, Exported, Published, MaximumLikelihood):
    """A normalizing flow: a chain of flow layers over a base distribution, trained by `fit`.

    With x = f(z) and z from the base,  log p(x) = log p(z) + log |det dz/dx|  in nats, in the
    space of the data that the user gives.

    Arguments:
        flow_layers: list of flow layers, latent to data: sampling runs them first to last.
        event_shape: shape of one example; an integer D stands for (D,).
        context_shape: shape of one example's context for a conditional flow p(x | c), or None.
        base: "normal", "logistic" or "uniform".
        standardize_context: whether the layers see the context less its mean and over its spread, of each
            component, in the data that training starts from.

    A flow whose last layer (the data end) is `flowzoo.layers.Dequantize` is an image flow: it
    takes integers, its samples are uint8, and `fit` reports `bits_per_dim`.

    Raises: ValueError if a layer stands twice in the list, is not a flow layer, or does not fit.

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
        flow_layers,
        *,
        event_shape,
        context_shape=None,
        base="normal",
        standardize_context=False,
        name=None,
        **kwargs,
    ):
        super().__init__(name=name, autocast=False, **kwargs)
        self.event_shape = checks.shape("event_shape", event_shape)
        if context_shape is not None:  # () stands for a single number, such as a label
            context_shape = checks.shape("context_shape", context_shape, scalar=True)
        self.context_shape = context_shape
        self.base = checks.choice("base", base, BASES)
        self.standardize_context = bool(standardize_context)
        self.context_statistics = None
        if self.standardize_context and context_shape is not None:
            self.context_statistics = Statistics(name="context_statistics")
        self.chain = Chain(flow_layers, name="chain")
        self.dimensions = math.prod(self.event_shape)
        self.seed_generator = replicas.SeedGenerator()
        if self.is_image_flow:
            self.bits_per_dim_tracker = keras.metrics.Mean(name="bits_per_dim")
        self.build((None, *self.event_shape))

    def build(self, input_shape=None):
        """Builds every layer, so that nothing is left to build while `fit` traces."""
        if self.built:
            return
        context_shape = None if self.context_shape is None else (None, math.prod(self.context_shape))
        if self.context_statistics is not None:
            self.context_statistics.build(context_shape)
        self.chain.build((None, *self.event_shape), context_shape)
        self.latent_shape = self.chain.latent_shape
        if math.prod(self.latent_shape) != self.dimensions:
            raise ValueError(
                f"The layers map event shape {self.event_shape} to a latent of shape {self.latent_shape}, "
                "which has another number of dimensions; a flow must keep it."
            )
        self.built = True

    @property
    def flow_layers(self):
        """The layers of the chain, latent to data."""
        return self.chain.flow_layers

    @property
    def layers(self):
        """The same, for Keras's `summary` and `get_layer`."""
        return list(self.flow_layers)

    @property
    def latent_dimensions(self):
        """The length D of the flat latent, which is that of the data."""
        return self.dimensions

    @property
    def is_image_flow(self):
        """Whether the data are integers (pixels), by a Dequantize layer at the data end."""
        return bool(self.flow_layers) and isinstance(self.flow_layers[-1], Dequantize)

    @property
    def data_dtype(self):
        """The dtype of samples: "uint8" for 8-bit image flows, that of the weights for others."""
        if self.is_image_flow and self.flow_layers[-1].bins * self.flow_layers[-1].step <= 256:
            return "uint8"
        return self.variable_dtype

    # One pass each way; the latent is one flat vector. What is marked as a program also runs compiled; one
    # that draws reads no weights, and runs without XLA on TensorFlow, whose random numbers are others.

    def forward_and_log_det(self, z, context=None):
        """x = f(z) and log |det dx/dz|: (batch, D) -> (batch, *event_shape), (batch,)."""
        return self._forward.run((z, context))

    def inverse_and_log_det(self, x, context=None, noise=None, *, seed=None):
        """z = f^-1(x) and log |det dz/dx|: (batch, *event_shape) -> (batch, D), (batch,).

        Arguments:
            noise: for an image flow, numbers between 0 and 1 of the shape of x, which make its integers
                real; or
            seed: draws them. Without either they are 1/2, the middle of each pixel.
        """
        if noise is None and seed is not None:
            noise = self._drawn_noise(backend.random_key(seed), 0, x)
        return self._inverse.run((x, context, noise))

    @program
    def _forward(self, z, context=None, **call):
        z = ops.reshape(z, (-1, *self.latent_shape))
        return self.chain(z, self._flat_context(context), forward=True, log_det=True, **call)

    @program
    def _inverse(self, x, context=None, noise=None, **call):
        z, log_det = self.chain(x, self._flat_context(context), noise, log_det=True, **call)
        return ops.reshape(z, (-1, self.dimensions)), log_det

    def _flat_context(self, context):
        if context is None:
            return None
        context = ops.reshape(context, (-1, math.prod(self.context_shape)))
        return context if self.context_statistics is None else self.context_statistics(context)

    @program
    def _log_density(self, x, context=None, noise=None, unit=1.0, **call):
        z, log_det = self._inverse(x, context, noise, **call)
        return unit * (self.base_distribution.log_prob(z) + log_det)

    @program
    def _decode(self, z, context):
        return ops.cast(self._forward(z, context)[0], self.data_dtype)

    @program(draws=True)
    def _noise(self, count, key, start=0):
        """What makes the integers of `count` images real, from the middles of equal parts of (0, 1)."""
        shape = (ops.shape(count)[0], *self.chain.noise_shape)
        key = backend.key_for("noise", key, start)
        uniform = backend.uniform(key, shape, self.variable_dtype)
        return (ops.floor(uniform * self.noise_parts) + 0.5) / self.noise_parts

    @program(draws=True)
    def _latents(self, count, key, start=0, temperature=1.0):
        """`count` draws of the base distribution times the temperature."""
        key = backend.key_for("latent", key, start)
        n = ops.shape(count)[0]
        return temperature * base_sample(self.base, n, self.dimensions, key, self.variable_dtype)

    @program
    def _log_dets(self, x, context, noise):
        z, log_dets = self.chain.inverse_and_log_dets(x, self._flat_context(context), noise)
        return ops.reshape(z, (-1, self.dimensions)), log_dets

    def _drawn_noise(self, key, start, x):
        """The noise of a batch of images that starts at `start`; None for a flow that takes none."""
        if self.chain.noise_shape is None:
            return None
        return self._noise.run((one_each(x),), (key, np.int32(start)))

    # What users call.

    def log_prob(self, x, context=None, *, seed=None, batch_size=None):
        """Log-density of `x` in nats, in the space of the data (pixels for image flows).

        Arguments:
            x: (batch, *event_shape).
            context: (batch, *context_shape), for a conditional flow.
            seed: draws the dequantisation noise of an image flow: an integer, a
                `keras.random.SeedGenerator` or a key of the backend; without it, the flow's own generator.
            batch_size: how many examples are computed at a time, None for all at once.

        Returns: tensor (batch,).
        Raises: ValueError or TypeError for input of a wrong kind, shape, or with NaN.
        """
        return self._density(1.0, x, context, seed, batch_size)

    def bits_per_dim(self, x, context=None, *, seed=None, batch_size=None):
        """-log_prob(x) / (D ln 2), shape (batch,); for image flows alone (ValueError otherwise)."""
        if not self.is_image_flow:
            raise ValueError(
                f"bits_per_dim is for image flows, whose data are integers; {self.name} models real "
                "numbers, for which bits depend on the unit. Use log_prob, in nats."
            )
        return self._density(bits_per_dim(1.0, self.dimensions), x, context, seed, batch_size)

    def _density(self, unit, x, context, seed, batch_size):
        key, unit = self._noise_key(seed), np.asarray(unit, self.variable_dtype)

        def density(start, x, context):
            return self._log_density.run((x, context, self._drawn_noise(key, start, x)), (unit,))

        return in_batches(density, self._examples(x, context), batch_size)

    def fixed_log_prob(self, x, context=None, noise=None):
        """log_prob with the dequantisation noise given, of the shape of `x`, or 1/2; nothing is drawn."""
        noise = None if noise is None else checks.batch("noise", noise, self.event_shape, self.variable_dtype)
        return self._log_density.run((*self._examples(x, context), noise))

    def inverse_and_log_dets(self, x, context=None, *, seed=None, batch_size=None):
        """The latent (batch, D) and each layer's log-determinant (batch,), from the data end."""
        key = self._noise_key(seed)

        def log_dets(start, x, context):
            return self._log_dets.run((x, context, self._drawn_noise(key, start, x)))

        return in_batches(log_dets, self._examples(x, context), batch_size)

    def sample(self, n, context=None, *, temperature=1.0, seed=None, batch_size=None):
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
        """
        n = checks.positive_integer("n", n)
        if context is not None and self.context_shape is not None:
            context = context if ops.is_tensor(context) else np.asarray(context)
            if tuple(context.shape) == self.context_shape:
                context = ops.broadcast_to(context, (n, *self.context_shape))
        key, temperature = self._key(seed), self._temperatures(temperature)

        def sample(start, count, context):
            z = self._latents.run((count,), (key, np.int32(start), temperature))
            return self._decode.run((z, context))

        examples = np.zeros((n,), "int8"), self._context(context, examples=n)
        return in_batches(sample, examples, batch_size, what="samples")

    def encode(self, x, context=None, *, seed=None, batch_size=None):
        """The latent of `x`: (batch, *event_shape) -> (batch, D)."""
        key = self._noise_key(seed)

        def encode(start, x, context):
            return self._inverse.run((x, context, self._drawn_noise(key, start, x)))[0]

        return in_batches(encode, self._examples(x, context), batch_size)

    def decode(self, z, context=None, *, batch_size=None):
        """The data of latent `z`: (batch, D) -> (batch, *event_shape); inverse of `encode`."""
        z = checks.batch("z", z, (self.dimensions,), self.variable_dtype)
        context = self._context(context, examples=z.shape[0])
        return in_batches(lambda _, *batch: self._decode.run(batch), (z, context), batch_size)

    def round_trip_error(self, x, context=None, *, seed=None, batch_size=None):
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
        return backend.random_key(0) if self.chain.noise_shape is None else self._key(seed)

    def _draw(self, n, temperature, seed):
        """`n` latents, (n, D), from the base times the temperature."""
        shared = (self._key(seed), np.int32(0), self._temperatures(temperature))
        return self._latents.run((np.zeros((n,), "int8"),), shared)

    @property
    def base_distribution(self):
        """The distribution of the flat latent, a `tfd.Distribution` made afresh."""
        return base_distribution(self.base, self.dimensions, self.variable_dtype)

    @property
    def bijector(self):
        """The flow as a `tfb.Bijector`, flat latent to data; held, it follows the flow's weights."""
        return FlowBijector(
            self,
            (self.dimensions,),
            self.event_shape,
            self.variable_dtype,
            context_ndims=0 if self.context_shape is None else len(self.context_shape),
            name=self.name,
        )

    @property
    def distribution(self):
        """The flow as a `tfd.TransformedDistribution`; held, it follows the flow's weights.

        A conditional flow's takes the context flat: `flow.distribution.log_prob(x, context=c)`.
        """
        seed = None if self.chain.noise_shape is None else self.seed_generator
        return FlowDistribution(self.base_distribution, self.bijector, seed)

    # Training.

    def initialize(self, x, context=None):
        """Starts layers such as ActNorm from one batch of data; `fit` does it by itself."""
        x, context = (
            None if part is None else ops.convert_to_tensor(part) for part in self._examples(x, context)
        )
        noise = self._drawn_noise(self._noise_key(None), 0, x)
        if self.context_statistics is not None:
            self.context_statistics.initialize(ops.reshape(context, (-1, math.prod(self.context_shape))))
        self.chain.initialize(x, self._flat_context(context), noise)
        replicas.spread(self)

    @property
    def needs_initialization(self):
        """Whether a layer still waits for data to start from."""
        statistics = self.context_statistics
        return self.chain.needs_initialization or (statistics is not None and statistics.needs_initialization)

    def fit_variational(self, target_log_prob_fn, *, steps, **kwargs):
        """Fits the flow to an unnormalised density; see `flowzoo.variational.fit_variational`."""
        return variational.fit_variational(self, target_log_prob_fn, steps=steps, **kwargs)

    def call(self, inputs, training=False):
        """log_prob of a batch: `inputs` is x, or (x, context) for a conditional flow."""
        if self.context_shape is None:
            x, context = self._examples(inputs)
        elif not isinstance(inputs, (tuple, list)) or len(inputs) != 2:
            raise ValueError(f"{self.name} is conditional: give (x, context), not x alone.")
        else:
            x, context = self._examples(*inputs)
        noise = None
        if self.chain.noise_shape is not None:
            noise = self._noise(x, self._key(None))
        return self._log_density(x, context, noise, training=training)

    def endpoints(self):
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

    def onnx_endpoints(self):
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
        """x and context, checked and of the flow's floating dtype."""
        x = checks.batch("x", x, self.event_shape, self.variable_dtype)
        return x, self._context(context)

    def _context(self, context, examples=None):
        if self.context_shape is None:
            if context is not None:
                raise ValueError(f"{self.name} takes no context; build it with context_shape= to use one.")
            return None
        context = checks.batch("context", context, self.context_shape, self.variable_dtype)
        if examples is not None and context.shape[0] not in (None, examples):
            raise ValueError(f"context has {context.shape[0]} examples, but there are {examples} of z.")
        return context

    # Keras.

    def get_config(self):
        """The constructor's arguments, which every model keeps as attributes of the same names."""
        config = constructor_arguments(self)
        if "flow_layers" in config:
            config["flow_layers"] = [keras.saving.serialize_keras_object(layer) for layer in self.flow_layers]
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config):
        if "flow_layers" in config:
            layers = [keras.saving.deserialize_keras_object(layer) for layer in config["flow_layers"]]
            config = {**config, "flow_layers": layers}
        return cls(**config)

    def __repr__(self):
        rows = [f"{type(self).__name__}(event_shape={self.event_shape}, {self.count_params():,} weights)"]
        if self.context_shape is not None:
            rows[0] = rows[0][:-1] + f", context_shape={self.context_shape})"
        rows.append(f"  {self.base} latent ({self.dimensions},)")
        rows += self.chain.describe()
        return "\n".join(rows) + f"\n  -> data {self.event_shape}"
