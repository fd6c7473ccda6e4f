"""The model that every flow of the zoo is."""

import functools
import inspect
import math

import keras
from keras import ops

from flowzoo import backend, checks, replicas, variational
from flowzoo.backend import tfd
from flowzoo.base import BASES, base_distribution
from flowzoo.bijector import FlowBijector
from flowzoo.latent import LatentSpace
from flowzoo.layers.chain import (
    build_chain,
    checked_layers,
    describe_chain,
    forward_chain,
    initialize_chain,
    inverse_chain,
    no_log_det,
)
from flowzoo.layers.dequantize import Dequantize, VariationalDequantize
from flowzoo.layers.remat import Run
from flowzoo.maximum_likelihood import MaximumLikelihood
from flowzoo.metrics import bits_per_dim
from flowzoo.published import Published


def constructor_arguments(model):
    """What `model` was constructed with, by the attributes of its arguments' names."""
    names = inspect.signature(type(model).__init__).parameters.keys() - {"self", "name", "kwargs"}
    return {name: getattr(model, name) for name in sorted(names)}


@keras.saving.register_keras_serializable(package="flowzoo")
class Flow(Published, LatentSpace, MaximumLikelihood):
    """A normalizing flow: a chain of flow layers over a base distribution, trained by `fit`.

    With x = f(z) and z from the base,  log p(x) = log p(z) + log |det dz/dx|  in nats, in the
    space of the data that the user gives.

    Arguments:
        flow_layers: list of flow layers, latent to data: sampling runs them first to last.
        event_shape: shape of one example; an integer D stands for (D,).
        context_shape: shape of one example's context for a conditional flow p(x | c), or None.
        base: "normal", "logistic" or "uniform".

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

    def __init__(self, flow_layers, *, event_shape, context_shape=None, base="normal", name=None, **kwargs):
        super().__init__(name=name, autocast=False, **kwargs)
        self.event_shape = checks.shape("event_shape", event_shape)
        if context_shape is not None:  # () stands for a single number, such as a label
            context_shape = checks.shape("context_shape", context_shape, scalar=True)
        self.context_shape = context_shape
        self.base = checks.choice("base", base, BASES)
        self.flow_layers = checked_layers(flow_layers)
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
        self.latent_shape = build_chain(self.flow_layers, (None, *self.event_shape), context_shape)[1:]
        if math.prod(self.latent_shape) != self.dimensions:
            raise ValueError(
                f"The layers map event shape {self.event_shape} to a latent of shape {self.latent_shape}, "
                "which has another number of dimensions; a flow must keep it."
            )
        self.built = True

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

    # One pass each way, on checked tensors; the latent is one flat vector.

    def forward_and_log_det(self, z, context=None):
        """x = f(z) and log |det dx/dz|: (batch, D) -> (batch, *event_shape), (batch,)."""
        z = ops.reshape(z, (-1, *self.latent_shape))
        return forward_chain(self.flow_layers, z, self._flat_context(context))

    def inverse_and_log_det(self, x, context=None):
        """z = f^-1(x) and log |det dz/dx|: (batch, *event_shape) -> (batch, D), (batch,)."""
        z, log_dets = self._inverse(x, context)
        return z, sum(log_dets, start=no_log_det(z))

    def inverse_and_log_dets(self, x, context=None, *, seed=None):
        """The latent (batch, D) and each layer's log-determinant (batch,), from the data end."""
        x, context = self._data(x), self._context(context)
        if seed is not None:
            for layer in self.flow_layers:
                layer.reseed(seed)
        return self._fast_inverse(x, context)

    @functools.cached_property
    def _fast_inverse(self):
        return backend.compiled_where_slow(self, self._inverse)

    def _inverse(self, x, context=None):
        z, log_dets = inverse_chain(self.flow_layers, x, self._flat_context(context))
        return ops.reshape(z, (-1, self.dimensions)), log_dets

    def _flat_context(self, context):
        return None if context is None else ops.reshape(context, (-1, math.prod(self.context_shape)))

    # What users call.

    def log_prob(self, x, context=None, *, seed=None):
        """Log-density of `x` in nats, in the space of the data (pixels for image flows).

        Arguments:
            x: (batch, *event_shape).
            context: (batch, *context_shape), for a conditional flow.
            seed: integer that fixes the dequantisation noise of an image flow.

        Returns: tensor (batch,). For many examples, `predict` does the same in batches.
        Raises: ValueError or TypeError for input of a wrong kind, shape, or with NaN.
        """
        return self._log_prob(*self.inverse_and_log_dets(x, context, seed=seed))

    def _log_prob(self, z, log_dets):
        return self.base_distribution.log_prob(z) + sum(log_dets, start=no_log_det(z))

    def bits_per_dim(self, x, context=None, *, seed=None):
        """-log_prob(x) / (D ln 2), shape (batch,); for image flows alone (ValueError otherwise)."""
        if not self.is_image_flow:
            raise ValueError(
                f"bits_per_dim is for image flows, whose data are integers; {self.name} models real "
                "numbers, for which bits depend on the unit. Use log_prob, in nats."
            )
        return bits_per_dim(self.log_prob(x, context, seed=seed), self.dimensions)

    def sample(self, n, context=None, *, temperature=1.0, seed=None):
        """Draws `n` examples, (n, *event_shape); uint8 for 8-bit image flows.

        Arguments:
            n: number of samples.
            context: for a conditional flow, (n, *context_shape), or one example of
                `context_shape` for all samples.
            temperature: the base's sample is multiplied by it; under 1, likelier samples. For a
                flow of several scales it may be a list, one for each of `level_sizes`.
            seed: integer or `keras.random.SeedGenerator`; without it, the flow's own generator.
        """
        n = checks.positive_integer("n", n)
        if context is not None and self.context_shape is not None:
            context = ops.convert_to_tensor(context)
            if tuple(context.shape) == self.context_shape:
                context = ops.broadcast_to(context, (n, *self.context_shape))
        return self.decode(self._draw(n, temperature, seed), context)

    def _draw(self, n, temperature, seed):
        """`n` latents, (n, D), from the base times the temperature."""
        key = backend.random_key(self.seed_generator if seed is None else seed)
        z = self.base_distribution.sample(n, seed=key)
        return ops.cast(self._temperatures(temperature), z.dtype) * z

    def encode(self, x, context=None, *, seed=None):
        """The latent of `x`: (batch, *event_shape) -> (batch, D)."""
        return self.inverse_and_log_dets(x, context, seed=seed)[0]

    def decode(self, z, context=None):
        """The data of latent `z`: (batch, D) -> (batch, *event_shape); inverse of `encode`."""
        z = checks.batch("z", z, (self.dimensions,), self.variable_dtype)
        context = self._context(context, examples=z.shape[0])
        x = self._compiled_forward(z, context)
        return ops.cast(x, self.data_dtype)

    @functools.cached_property
    def _compiled_forward(self):
        return backend.compiled(self, lambda z, context: self.forward_and_log_det(z, context)[0])

    @property
    def base_distribution(self):
        """The distribution of the flat latent, a `tfd.Distribution` made afresh."""
        return base_distribution(self.base, self.dimensions, self.variable_dtype)

    @property
    def bijector(self):
        """The flow as a `tfb.Bijector`, flat latent to data, made afresh at each access."""
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
        """The flow as a `tfd.TransformedDistribution`, made afresh at each access.

        A conditional flow's takes the context flat: `flow.distribution.log_prob(x, context=c)`.
        """
        return tfd.TransformedDistribution(
            self.base_distribution,
            self.bijector,
            kwargs_split_fn=lambda kwargs: ({}, kwargs),
            name=self.name,
        )

    # Training.

    def initialize(self, x, context=None):
        """Starts layers such as ActNorm from one batch of data; `fit` does it by itself."""
        x, context = self._data(x), self._flat_context(self._context(context))
        initialize_chain(self.flow_layers, x, context)
        replicas.spread(self)

    def fit_variational(self, target_log_prob_fn, *, steps, **kwargs):
        """Fits the flow to an unnormalised density; see `flowzoo.variational.fit_variational`."""
        return variational.fit_variational(self, target_log_prob_fn, steps=steps, **kwargs)

    def call(self, inputs, training=False):
        """log_prob of a batch: `inputs` is x, or (x, context) for a conditional flow."""
        if self.context_shape is None:
            inputs = [self._data(inputs)]
        elif not isinstance(inputs, (tuple, list)) or len(inputs) != 2:
            raise ValueError(f"{self.name} is conditional: give (x, context), not x alone.")
        else:
            inputs = [self._data(inputs[0]), self._context(inputs[1])]
        return self._log_prob(*Run()(inputs, function=self._inverse, training=training))

    def export(
        self, filepath, format="tf_saved_model", verbose=None, input_signature=None, *, opset_version=None
    ):
        """Writes the flow for serving, as a TensorFlow SavedModel or as ONNX, which need no flowzoo.

        The SavedModel has four endpoints, each a signature too, for any number of examples:

            log_prob(x[, context][, seed])             (batch,), nats
            sample(n or context, temperature, seed)    (n, *event_shape)
            encode(x[, context][, seed])               (batch, D)
            decode(z[, context])                       (batch, *event_shape)

        They give what the methods of the flow give, and always the same for the same inputs. `x`
        has the dtype of samples, uint8 for 8-bit images; z, context (class labels too) and
        temperature that of the weights. `n` is an int32 and `seed` an int64 number. `seed` draws
        the sample and the dequantisation noise of an image flow. A conditional flow has `context`
        and no `n`: it draws one sample for each row. Called as methods of what
        `tf.saved_model.load` gives, temperature is 1 and seed 0 unless given; signatures need them.

        ONNX has log_prob(x[, context][, noise]) and decode(z[, context]), in log_prob.onnx and
        decode.onnx. `noise`, for image flows, has the shape of x and is drawn from Uniform[0, 1);
        0.5 stands for the middle of each pixel. Mixtures of Gaussians have operations that ONNX lacks.

        A `FlowVAE` exports as a SavedModel: elbo(x, seed), sample(n, temperature, seed), encode(x)
        and decode(z).

        Arguments:
            filepath: a local folder. What it holds stays, but for files of the same names; nothing
                is there before all of it is.
            format: "tf_saved_model" or "onnx"; the latter needs `pip install "flowzoo[onnx]"`.
            verbose: False to print nothing.
            input_signature: None; it is a keyword of `keras.Model.export`, whose models have one
                endpoint.
            opset_version: of ONNX; by default that of tf2onnx.

        Raises: ValueError for another format or an input_signature, on the JAX backend (save the
            flow, and load and export it with KERAS_BACKEND=tensorflow), and for a flow that ONNX
            cannot express; ImportError where tf2onnx is missing.

        Example:
            >>> import tempfile, tensorflow as tf
            >>> flow = flowzoo.RealNVP(event_shape=2, couplings=2)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     flow.export(folder, verbose=False)
            ...     served = tf.saved_model.load(folder)
            >>> tuple(served.log_prob(np.zeros((5, 2), "float32")).shape)
            (5,)
            >>> tuple(served.sample(3, temperature=0.9, seed=1).shape)
            (3, 2)
        """
        from flowzoo.export import export  # it takes flows itself

        if input_signature is not None:
            raise ValueError(f"The endpoints of {self.name} have input signatures of their own; give none.")
        export(self, filepath, format, verbose, opset_version)

    # Stand-in for the core's one path with noise given, which takes its place.

    def fixed_log_prob(self, x, context=None, noise=None):
        """Log-density (batch,) in nats for given noise, numbers of Uniform[0, 1) of the shape of `x`."""
        x, context, layers = self._data(x), self._flat_context(self._context(context)), self.flow_layers
        log_det = 0.0
        if noise is not None:
            last, layers = layers[-1], layers[:-1]
            if isinstance(last, VariationalDequantize):
                x, log_det = last.dequantize(x, ops.convert_to_tensor(noise))
            else:
                x = last._integers(x) + noise
        inverse = backend.compiled_where_slow(self, functools.partial(inverse_chain, layers))
        z, log_dets = inverse(x, context)
        z = ops.reshape(z, (-1, self.dimensions))
        return self.base_distribution.log_prob(z) + sum(log_dets) + log_det

    # Checks of input.

    def _data(self, x):
        return checks.batch("x", x, self.event_shape, self.variable_dtype)

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
        rows += describe_chain(self.flow_layers)
        return "\n".join(rows) + f"\n  -> data {self.event_shape}"
