"""Any ready TFP bijector as a flow layer."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowzoo.backend import tfb
from flowzoo.layers.flow_layer import FlowLayer
from flowzoo.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="flowzoo")
class TFPBijector(FlowLayer):
    """The bijector `tfp.bijectors.<kind>(**arguments)`, latent to data.

    It is named by plain data, so the layer saves and loads, and made afresh at each use. Its
    arguments are fixed; what must be trained is a flow layer with weights of its own. Where the bijector
    gives no finite latent or log-determinant, as "Exp" for x <= 0, the density is 0: log_det is -inf.

    Arguments:
        kind: name of a class in `tfp.bijectors`, such as "Softplus".
        arguments: its constructor's arguments, as numbers, lists, strings.

    Example:
        >>> layer = flowzoo.layers.TFPBijector("Softplus", {"hinge_softness": 0.5})
        >>> layer.build((None, 3))
        >>> tuple(layer.inverse_and_log_det(keras.ops.ones((5, 3)))[1].shape)
        (5,)
    """

    def __init__(self, kind: str, arguments: dict[str, Any] | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.kind = kind
        self.arguments = dict(arguments or {})
        bijector_class = getattr(tfb, kind, None) if isinstance(kind, str) else None
        if not (isinstance(bijector_class, type) and issubclass(bijector_class, tfb.Bijector)):
            raise ValueError(f"kind must name a class of tfp.bijectors, such as 'Softplus'; got {kind!r}.")
        self._bijector_class = bijector_class
        self._make()

    def _make(self):
        try:
            return self._bijector_class(**self.arguments)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"tfp.bijectors.{self.kind} does not take the arguments {self.arguments}: {error}"
            ) from error

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        bijector = self._make()
        x = bijector.forward(z)
        return x, bijector.forward_log_det_jacobian(z, event_ndims=len(z.shape) - 1) + self.per_example(
            0.0, z
        )

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        outside = self.outside(x)
        if outside is not None:  # others in the place, so that no NaN comes into gradients
            latent_shape = self.compute_output_shape(tuple(x.shape))[1:]
            inner = self._make().forward(ops.full((1, *latent_shape), 0.5, x.dtype))
            x = ops.where(outside, inner, x)
        bijector = self._make()
        z = bijector.inverse(x)
        log_det = bijector.inverse_log_det_jacobian(x, event_ndims=len(x.shape) - 1)
        log_det = log_det + self.per_example(0.0, x)
        if outside is not None:
            log_det = ops.where(ops.any(outside, axis=tuple(range(1, len(x.shape)))), -np.inf, log_det)
        return z, log_det

    def outside(self, x: Tensor) -> Tensor | None:
        bijector = self._make()
        return _undefined(
            bijector, x, bijector.inverse, bijector.inverse_log_det_jacobian, bijector.inverse_min_event_ndims
        )

    def outside_latent(self, z: Tensor) -> Tensor | None:
        bijector = self._make()
        return _undefined(
            bijector, z, bijector.forward, bijector.forward_log_det_jacobian, bijector.forward_min_event_ndims
        )

    def compute_output_shape(self, x_shape: Shape, context_shape: Shape | None = None) -> Shape:
        return (x_shape[0], *self._make().inverse_event_shape(x_shape[1:]))

    def data_shape(self, z_shape: Shape) -> Shape:
        return (z_shape[0], *self._make().forward_event_shape(z_shape[1:]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind, "arguments": self.arguments}


def _undefined(bijector, values, transform, log_det_jacobian, ndims):
    """Where one direction of a bijector gives no finite number or log-determinant, for `outside`."""
    if bijector.is_constant_jacobian:
        return None
    result = transform(values)
    finite = ops.isfinite(log_det_jacobian(values, event_ndims=ndims))
    if ndims == 0:
        return ops.logical_not(ops.logical_and(ops.isfinite(result), finite))
    finite = ops.all(ops.reshape(finite, (ops.shape(values)[0], -1)), axis=1)
    finite = ops.logical_and(finite, ops.all(ops.isfinite(result), axis=tuple(range(1, len(result.shape)))))
    return ops.reshape(ops.logical_not(finite), (-1, *[1] * (len(values.shape) - 1)))
