"""The base class of every flow layer."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowzoo import backend
from flowzoo.bijector import FlowBijector
from flowzoo.layers.remat import rematerialize
from flowzoo.types import Bijector, Shape, Tensor


class FlowLayer(keras.layers.Layer):
    """An invertible Keras layer that knows the log-determinant of its Jacobian.

    As everywhere in flowzoo, *forward* maps latent z to data x. A subclass writes two methods,
    each a single pass, with `keras.ops` alone:

        forward_and_log_det(z, context=None) -> x, log_det      log |det dx/dz|
        inverse_and_log_det(x, context=None) -> z, log_det      log |det dz/dx|

    with tensors of shape (batch, ...) and `log_det` of shape (batch,), in nats. A pass depends on the
    weights and its arguments alone: it draws nothing, and assigns nothing but running averages in
    training. Weights are made in `build(x_shape, context_shape=None)`, where `x_shape` is the shape on
    the *data* side, batch included: (None, ...). A layer that changes the shape also overrides
    `compute_output_shape`, which maps the data shape to the latent shape; one whose weights start from
    data, `needs_initialization` and `initialize`. A layer whose way from data to latent is random says
    in `noise_shape` how many numbers of Uniform[0, 1) it wants for each example, and takes them as a
    third argument, `inverse_and_log_det(x, context=None, noise=None)`; without them it takes x for real.
    A context is flat, (batch, c), or, in a flow of images, an image of whatever size the user gives:
    `flowzoo.layers.context.context_at` brings it to the places of a layer's values. A layer that does not
    make every number says in `outside` which it does not; there the density is 0, so that data to latent
    log_det is -inf, and z that of some other data.

    As a Keras layer, `layer(x, context)` is z; `forward=True` goes from latent to data, `log_det=True`
    gives the log-determinant too, and `training=True` tells the networks within.

    Arguments:
        remat: whether a flow that trains keeps of this layer its input and output alone, and makes
            what lies between again in the backward pass.

    Under a mixed precision policy the nested networks compute in 16 bits; a flow layer's own
    weights, its outputs and its log-determinants stay in float32. Both methods run in
    `flowzoo.backend.full_precision`.

    Example:
        >>> class Scale(FlowLayer):
        ...     def build(self, x_shape, context_shape=None):
        ...         self.log_scale = self.add_weight(shape=(), initializer="zeros")
        ...     def forward_and_log_det(self, z, context=None):
        ...         return z * keras.ops.exp(self.log_scale), self.per_example(self.log_scale * 2, z)
        ...     def inverse_and_log_det(self, x, context=None):
        ...         return x * keras.ops.exp(-self.log_scale), self.per_example(self.log_scale * -2, x)
        >>> tuple(Flow([Scale()], event_shape=2).log_prob([[0.0, 0.0]]).shape)
        (1,)
    """

    noise_shape = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name in ("forward_and_log_det", "inverse_and_log_det"):
            if name in vars(cls):
                setattr(cls, name, backend.full_precision()(vars(cls)[name]))

    def __init__(self, *, remat: bool = False, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.remat = bool(remat)

    def add_weight(self, *args: Any, **kwargs: Any) -> keras.Variable:
        kwargs.setdefault("autocast", False)
        return super().add_weight(*args, **kwargs)

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        """Makes the weights; a layer without any needs none."""

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    @property
    def needs_initialization(self) -> bool:
        """Whether `initialize` still has something to do."""
        return False

    def initialize(self, x: Tensor, context: Tensor | None = None, noise: Tensor | None = None) -> None:
        """Sets weights that start from data, given one batch at the layer's data side."""

    def outside(self, x: Tensor) -> Tensor | None:
        """Where `x` lies outside of what the layer makes, (batch, ...); None where nothing does."""

    def outside_latent(self, z: Tensor) -> Tensor | None:
        """Where `z` lies outside of what data to latent makes, for `Invert`; None where nothing does."""

    @property
    def takes_every_latent(self) -> bool:
        """Whether no latent lies outside of what data to latent makes."""
        return type(self).outside_latent is FlowLayer.outside_latent

    def forward_on_support(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`forward_and_log_det` for `Invert`: outside of what data to latent makes, log_det is -inf.

        x is there that of some other latent.
        """
        outside = self.outside_latent(z)
        if outside is None:
            return self(z, context, forward=True, log_det=True)
        # Others in the place, so that no NaN comes into gradients.
        inner = self(ops.full((1, *self.data_shape(tuple(z.shape))[1:]), 0.5, z.dtype))
        x, log_det = self(ops.where(outside, inner, z), context, forward=True, log_det=True)
        return x, ops.where(ops.any(outside, axis=tuple(range(1, len(z.shape)))), -np.inf, log_det)

    def call(
        self,
        x: Tensor,
        context: Tensor | None = None,
        noise: Tensor | None = None,
        forward: bool = False,
        log_det: bool = False,
        remat: bool | None = None,
        training: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        if self.remat if remat is None else remat:
            result = rematerialize(self, x, context, noise, forward=forward, training=training)
        elif forward:
            result = self.forward_and_log_det(x, context)
        else:
            result = self.inverse_and_log_det(x, context, *([] if noise is None else [noise]))
        return result if log_det else result[0]

    def compute_output_shape(self, x_shape: Shape, context_shape: Shape | None = None) -> Shape:
        return x_shape

    def data_shape(self, z_shape: Shape) -> Shape:
        """The shape of the data of latents of this shape, for a layer that has `outside_latent`."""
        return z_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "remat": self.remat}

    def per_example(self, log_det: Tensor | float, values: Tensor) -> Tensor:
        """A log-determinant that is the same for all examples, as a tensor (batch,) of their precision."""
        log_det = ops.cast(log_det, keras.backend.result_type(values.dtype, "float32"))
        return ops.broadcast_to(log_det, (ops.shape(values)[0],))

    @property
    def bijector(self) -> Bijector:
        """This built layer as a `tfb.Bijector`, latent to data; held, it follows the layer's weights."""
        shapes = self.get_build_config()
        data_shape = tuple(
            shapes["input_shape"] if "input_shape" in shapes else shapes["shapes_dict"]["x_shape"]
        )
        latent_shape = self.compute_output_shape(data_shape)
        return FlowBijector(self, latent_shape[1:], data_shape[1:], self.variable_dtype, name=self.name)


def positions(shape):
    """How many places share the last axis's weights: 1 for (batch, D), H * W for images."""
    count = 1
    for size in shape[1:-1]:
        count *= size
    return count


def sum_event(values):
    """The sum over all axes but the batch."""
    return ops.sum(values, axis=tuple(range(1, len(values.shape))))
