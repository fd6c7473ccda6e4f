"""The seam between Keras and TensorFlow Probability: any flow layer or model as a `tfb.Bijector`."""

from keras import ops

from flowzoo.backend import tfb


class FlowBijector(tfb.Bijector):
    """A `tfb.Bijector`, latent to data, over a flow's two one-pass methods.

    Made afresh at each use: TFP caches tensors on a bijector, and one that outlived a traced
    function would hand out tensors of another graph. It remembers the pair of its last pass,
    so that a value and its log-determinant cost one run of each conditioner network.

    Arguments:
        flow: has `forward_and_log_det(z, context)` and `inverse_and_log_det(x, context)`.
        latent_shape, event_shape: shapes of one latent and of one data example.
        dtype: floating dtype of both.
        context_ndims: number of dimensions of one example's context.

    Any number of leading batch dimensions is taken, also none. A conditional flow takes its
    context by keyword: `bijector.forward(z, context=c)`.
    """

    def __init__(self, flow, latent_shape, event_shape, dtype, *, context_ndims=1, name="flow"):
        parameters = dict(locals())
        self._flow = flow
        self._latent_shape = tuple(latent_shape)
        self._data_shape = tuple(event_shape)
        self._context_ndims = context_ndims
        self._last_pass = None
        super().__init__(
            forward_min_event_ndims=len(latent_shape),
            inverse_min_event_ndims=len(event_shape),
            dtype=dtype,
            validate_args=False,
            parameters=parameters,
            name=name,
        )

    def _forward(self, x, context=None):
        return self._pass_latent(x, context)[1]

    def _inverse(self, y, context=None):
        return self._pass_data(y, context)[0]

    def _forward_log_det_jacobian(self, x, context=None):
        return self._pass_latent(x, context)[2]

    def _inverse_log_det_jacobian(self, y, context=None):
        return -self._pass_data(y, context)[2]

    def _pass_latent(self, z, context):
        """(z, x, forward log-determinant) from the latent z."""
        if self._last_pass is None or self._last_pass[0] is not z:
            method = self._flow.forward_and_log_det
            x, log_det = self._batched(method, z, self._latent_shape, self._data_shape, context)
            self._last_pass = (z, x, log_det)
        return self._last_pass

    def _pass_data(self, x, context):
        """(z, x, forward log-determinant) from the data x."""
        if self._last_pass is None or self._last_pass[1] is not x:
            method = self._flow.inverse_and_log_det
            z, log_det = self._batched(method, x, self._data_shape, self._latent_shape, context)
            self._last_pass = (z, x, -log_det)
        return self._last_pass

    def _batched(self, method, value, shape, result_shape, context):
        """Runs `method`, which knows one batch dimension, over any leading dimensions of `value`."""
        leading = ops.shape(value)[: len(value.shape) - len(shape)]
        if context is not None:
            context = ops.convert_to_tensor(context)
            context_shape = context.shape[len(context.shape) - self._context_ndims :]
            context = ops.broadcast_to(context, (*leading, *context_shape))
            context = ops.reshape(context, (-1, *context_shape))
        result, log_det = method(ops.reshape(value, (-1, *shape)), context)
        return ops.reshape(result, (*leading, *result_shape)), ops.reshape(log_det, leading)

    def _forward_event_shape(self, input_shape):
        return tuple(input_shape[: -len(self._latent_shape)]) + self._data_shape

    def _inverse_event_shape(self, output_shape):
        return tuple(output_shape[: -len(self._data_shape)]) + self._latent_shape

    def _forward_event_shape_tensor(self, input_shape):
        return ops.convert_to_tensor(self._data_shape, "int32")

    def _inverse_event_shape_tensor(self, output_shape):
        return ops.convert_to_tensor(self._latent_shape, "int32")
