"""A Gaussian prior for each class."""

from typing import Any

import keras
from keras import ops

from flowzoo import checks
from flowzoo.layers.flow_layer import FlowLayer, sum_event
from flowzoo.transformers import Affine
from flowzoo.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="flowzoo")
class ClassPrior(FlowLayer):
    """x = z * exp(s_y) + mean_y for the class y: with z standard normal, a Gaussian for each class.

    Every number of an example has its own mean and s in each class; both start at 0. The context
    is the label, an integer 0 ... classes - 1, of shape (batch, 1); log_det = sum(s_y).

    References:
        Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018, arXiv:1807.03039)

    Arguments:
        classes: number of classes.
        log_scale_bound: soft bound of |s|, in nats.

    Example:
        >>> layer = flowzoo.layers.ClassPrior(10)
        >>> layer.build((None, 2, 2, 4), (None, 1))
        >>> tuple(layer(keras.ops.ones((5, 2, 2, 4)), keras.ops.zeros((5, 1))).shape)
        (5, 2, 2, 4)
    """

    def __init__(self, classes: int, *, log_scale_bound: float = 5.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.classes = checks.positive_integer("classes", classes)
        self.log_scale_bound = log_scale_bound
        self.transformer = Affine(log_scale_bound)

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        if context_shape is None or tuple(context_shape[1:]) != (1,):
            raise ValueError(
                f"ClassPrior needs the label as context, of shape (batch, 1); got {context_shape}."
            )
        self.table = self.add_weight(
            shape=(self.classes, *x_shape[1:-1], 2 * x_shape[-1]), initializer="zeros", name="table"
        )

    def _parameters(self, context):
        labels = ops.one_hot(ops.cast(context[:, 0], "int32"), self.classes, dtype=self.table.dtype)
        return ops.tensordot(labels, self.table, axes=1)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = self.transformer.forward(z, self._parameters(context))
        return x, sum_event(log_det)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_det = self.transformer.inverse(x, self._parameters(context))
        return z, sum_event(log_det)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "classes": self.classes,
            "log_scale_bound": self.log_scale_bound,
        }
