"""Permutations of the last axis."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowzoo.layers.flow_layer import FlowLayer
from flowzoo.networks.initial import generator
from flowzoo.types import Seed, Shape, Tensor

NAMED_ORDERS = ("reverse", "even_odd", "random")


@keras.saving.register_keras_serializable(package="flowzoo")
class Permutation(FlowLayer):
    """z_i = x_order[i] on the last axis; log_det = 0. The order is saved with the model.

    Arguments:
        order: "reverse"; "even_odd", even places first, so that the halves which a coupling
            splits are NICE's even and odd components; "random", drawn once; or a list with the
            numbers 0 to D - 1.
        seed: integer that draws the random order.

    Example:
        >>> layer = flowzoo.layers.Permutation("even_odd")
        >>> layer.build((None, 4))
        >>> keras.ops.convert_to_numpy(layer(keras.ops.array([[0.0, 1.0, 2.0, 3.0]]))).tolist()
        [[0.0, 2.0, 1.0, 3.0]]
    """

    def __init__(self, order: str = "reverse", *, seed: Seed = None, **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(order, str):
            if order not in NAMED_ORDERS:
                raise ValueError(f"order must be one of {NAMED_ORDERS} or a list of places; got {order!r}.")
        else:
            order = [int(place) for place in order]
            if sorted(order) != list(range(len(order))):
                raise ValueError(f"order must hold each number from 0 to {len(order) - 1} once; got {order}.")
        self.order = order
        self.seed = seed

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        size = x_shape[-1]
        if not isinstance(self.order, str) and len(self.order) != size:
            raise ValueError(f"order has {len(self.order)} places, but the last axis has {size}.")
        self.places = self.add_weight(
            shape=(size,), dtype="int32", initializer=self._initial_places, trainable=False, name="places"
        )

    def _initial_places(self, shape, dtype=None):
        places = np.arange(shape[0])
        if self.order == "reverse":
            places = places[::-1].copy()
        elif self.order == "even_odd":
            places = np.concatenate([places[0::2], places[1::2]])
        elif self.order == "random":
            places = generator(self.seed).permutation(places)
        else:
            places = np.array(self.order)
        return ops.cast(places, dtype)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        back = ops.argsort(ops.convert_to_tensor(self.places))
        return ops.take(z, back, axis=-1), self.per_example(0.0, z)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return ops.take(x, ops.convert_to_tensor(self.places), axis=-1), self.per_example(0.0, x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "order": self.order, "seed": self.seed}
