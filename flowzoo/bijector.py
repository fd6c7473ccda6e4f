"""The seam between Keras and TensorFlow Probability: a flow, or any flow layer, as TFP objects."""

import itertools

from keras import ops

from flowzoo.backend import tfb, tfd

_fresh = itertools.count()


class NoMemory:
    """Stands in the place of the cache that all of TFP's bijectors share, and remembers nothing.

    TFP's own hands out what it computed of a tensor before, whatever the weights have become since.
    """

    def __init__(self, bijector=None):
        self.bijector = bijector

    def __get__(self, bijector, owner=None):
        return NoMemory(bijector)

    def forward(self, x, **kwargs):
        return self.bijector._forward(x, **kwargs)

    def inverse(self, y, **kwargs):
        return self.bijector._inverse(y, **kwargs)

    def forward_attributes(self, x, **kwargs):
        return {}

    def inverse_attributes(self, y, **kwargs):
        return {}


class FlowBijector(tfb.Bijector):
    """A `tfb.Bijector`, latent to data, over the two one-pass methods of a flow or flow layer.

    Fresh or held, it gives the values and gradients of the present weights: nothing outlives a call. A
    value and its log-determinant, asked for one after the other, are two passes; `FlowDistribution`
    takes both from one.

    Arguments:
        flow: has `forward_and_log_det(z, context)`, `inverse_and_log_det(x, context)` and Keras's
            `variables`.
        latent_shape, event_shape: shapes of one latent and of one data example.
        dtype: floating dtype of both.
        context_ndims: number of dimensions of one example's context.

    Any number of leading batch dimensions is taken, also none, and those of value and context broadcast.
    A conditional flow takes its context by keyword: `bijector.forward(z, context=c)`.
    """

    _cache = NoMemory()

    def __init__(self, flow, latent_shape, event_shape, dtype, *, context_ndims=1, name="flow"):
        parameters = dict(locals())
        self._flow = flow
        self._latent_shape = tuple(latent_shape)
        self._data_shape = tuple(event_shape)
        self._context_ndims = context_ndims
        super().__init__(
            forward_min_event_ndims=len(self._latent_shape),
            inverse_min_event_ndims=len(self._data_shape),
            dtype=ops.zeros((), dtype).dtype,
            validate_args=False,
            parameters=parameters,
            name=name,
        )

    def __hash__(self):
        """A new number every time, so that TFP does not find what it cached for a chain around this."""
        return next(_fresh)

    def __eq__(self, other):
        return self is other

    @property
    def variables(self):
        """The flow's Keras variables."""
        return tuple(self._flow.variables)

    @property
    def trainable_variables(self):
        """The flow's trainable Keras variables."""
        return tuple(self._flow.trainable_variables)

    def _forward(self, x, **kwargs):
        return self.forward_and_log_det(x, **kwargs)[0]

    def _inverse(self, y, **kwargs):
        return self.inverse_and_log_det(y, **kwargs)[0]

    def _forward_log_det_jacobian(self, x, **kwargs):
        return self.forward_and_log_det(x, **kwargs)[1]

    def _inverse_log_det_jacobian(self, y, **kwargs):
        return self.inverse_and_log_det(y, **kwargs)[1]

    def forward_and_log_det(self, z, context=None):
        """x and log |det dx/dz| from one pass: (..., *latent_shape) -> (..., *event_shape), (...)."""
        return self._pass(self._flow.forward_and_log_det, z, self._latent_shape, self._data_shape, context)

    def inverse_and_log_det(self, x, context=None, **kwargs):
        """z and log |det dz/dx| from one pass: (..., *event_shape) -> (..., *latent_shape), (...)."""
        method = self._flow.inverse_and_log_det
        return self._pass(method, x, self._data_shape, self._latent_shape, context, **kwargs)

    def _pass(self, method, values, shape, result_shape, context, **kwargs):
        """Runs `method`, which knows one batch dimension, over the leading ones of values and context."""
        values = ops.convert_to_tensor(values)
        if context is not None:
            context = ops.cast(ops.convert_to_tensor(context), values.dtype)
            values, context = _broadcast(values, len(shape), context, self._context_ndims)
            context = ops.reshape(context, (-1, *context.shape[len(context.shape) - self._context_ndims :]))
        leading = ops.shape(values)[: len(values.shape) - len(shape)]
        result, log_det = method(ops.reshape(values, (-1, *shape)), context, **kwargs)
        return ops.reshape(result, (*leading, *result_shape)), ops.reshape(log_det, leading)

    def _forward_event_shape(self, input_shape):
        return tuple(input_shape[: -len(self._latent_shape)]) + self._data_shape

    def _inverse_event_shape(self, output_shape):
        return tuple(output_shape[: -len(self._data_shape)]) + self._latent_shape

    def _forward_event_shape_tensor(self, input_shape):
        return ops.convert_to_tensor(self._data_shape, "int32")

    def _inverse_event_shape_tensor(self, output_shape):
        return ops.convert_to_tensor(self._latent_shape, "int32")

    def _internal_is_increasing(self, **kwargs):
        """A bijection of the line is monotone, so that its values at two points tell."""
        if self._latent_shape != (1,) or self._data_shape != (1,):
            raise NotImplementedError(
                f"{self.name} is not a function of one number, so it is neither increasing nor decreasing."
            )
        ndims = 0 if kwargs.get("context") is None else len(kwargs["context"].shape) - self._context_ndims
        ends = ops.convert_to_tensor([-1.0, 1.0], ops.zeros((), self.dtype).dtype)
        low, high = self._forward(ops.reshape(ends, (2, *[1] * (ndims + 1))), **kwargs)
        return (high > low)[..., 0]


class FlowDistribution(tfd.TransformedDistribution.__bases__[0]):
    """A flow as a `tfd.TransformedDistribution`, whose density and samples are one pass of the flow each.

    Its methods take `context` by keyword where the flow is conditional, and `log_prob` of an image flow
    a `seed` of its noise.

    Arguments:
        distribution: that of the latent.
        bijector: a `FlowBijector` of a flow.
        seed: what draws the noise of an image flow where no seed is given, or None.
        pixels: an image flow's `flowzoo.layers.Dequantize`, which makes real samples whole, or None.
        name: for TFP's joint distributions, or None.
    """

    def __init__(self, distribution, bijector, seed=None, pixels=None, name=None):
        parameters = dict(locals())
        self._seed = seed
        self._pixels = pixels
        super().__init__(
            distribution,
            bijector,
            kwargs_split_fn=lambda kwargs: ({}, kwargs),
            parameters=parameters,
            name=name or bijector.name,
        )

    @property
    def distribution(self):
        """That of the latent, with the present weights of a flow whose base has some."""
        return getattr(self.bijector._flow, "base_distribution", self._distribution)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return super()._parameter_properties(dtype, num_classes)

    @property
    def variables(self):
        """The flow's Keras variables."""
        return self.bijector.variables

    @property
    def trainable_variables(self):
        """The flow's trainable Keras variables."""
        return self.bijector.trainable_variables

    def experimental_local_measure(self, y, backward_compat=False, seed=None, **kwargs):
        seed = self._seed if seed is None else seed
        noise = {} if seed is None else {"seed": seed}
        z, log_det = self.bijector.inverse_and_log_det(y, **noise, **kwargs)
        log_prob, space = self.distribution.experimental_local_measure(z, backward_compat=backward_compat)
        return log_prob + log_det, space

    def _whole(self, y):
        return y if self._pixels is None else self._pixels.whole(y)

    def _call_sample_n(self, sample_shape, seed, **kwargs):
        return self._whole(super()._call_sample_n(sample_shape, seed, **kwargs))

    def _sample_and_log_prob(self, sample_shape, seed, **kwargs):
        z = self.distribution.sample(sample_shape, seed=seed)
        y, log_det = self.bijector.forward_and_log_det(z, **kwargs)
        log_volume = 0.0 if self._pixels is None else self._pixels.log_volume
        return self._whole(y), self.distribution.log_prob(z) - log_det + log_volume

    def _quantile(self, value, **kwargs):
        increasing = self.bijector._internal_is_increasing(**kwargs)
        value = ops.expand_dims(ops.where(increasing, value, 1 - value), -1)
        y = self.bijector.forward(self.distribution.distribution.quantile(value), **kwargs)
        return self._whole(y)


def _broadcast(values, values_ndims, context, context_ndims):
    """Values and context with the same leading dimensions, by NumPy's rules, known or not."""

    def zeros(tensor, ndims, wanted):
        """Zeros of the leading shape of `tensor`, followed by `wanted` ones."""
        first = tensor[(..., *[0] * ndims)]
        return ops.zeros_like(ops.reshape(first, (*ops.shape(first), *[1] * wanted)))

    return (
        values + zeros(context, context_ndims, values_ndims),
        context + zeros(values, values_ndims, context_ndims),
    )
