"""Standardising data by the mean and the spread that they come with."""

from typing import Any

import keras
from keras import ops

from flowzoo.layers.flow_layer import FlowLayer, positions
from flowzoo.layers.statistics import Statistics
from flowzoo.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="flowzoo")
class Standardize(FlowLayer):
    """x = mean + z * exp(s), so that the data that training starts from have mean 0 and variance 1.

    One mean and one s for each place of the last axis; log_det = sum(s), times H * W for images. At the
    data end of a flow of vectors it makes training independent of the units of the data, of which it is no
    more than a change. The two are set once, by `Flow.fit` or `Flow.initialize`, are saved, and are
    not trained; before, the layer is the identity. A column that is constant keeps its place and gets for
    scale its size, or 1 where it is 0.

    Example:
        >>> layer = flowzoo.layers.Standardize()
        >>> layer.build((None, 2))
        >>> layer.initialize(keras.ops.array([[2020.0, 3.0], [2024.0, 3.0]]))
        >>> keras.ops.convert_to_numpy(layer(keras.ops.array([[2023.0, 6.0]]))).round(3).tolist()
        [[0.5, 1.0]]
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.statistics = Statistics(dtype=self.dtype_policy, name="statistics")

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        self.positions = positions(x_shape)
        self.statistics.build(x_shape)

    @property
    def needs_initialization(self) -> bool:
        return self.statistics.needs_initialization

    def initialize(self, x: Tensor, context: Tensor | None = None, noise: Tensor | None = None) -> None:
        self.statistics.initialize(x)

    def _log_det(self, values):
        return self.per_example(self.positions * ops.sum(self.statistics.log_scale), values)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        statistics = self.statistics
        return statistics.mean + z * ops.exp(statistics.log_scale), self._log_det(z)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.statistics.standardized(x), -self._log_det(x)

    def named_parts(self) -> dict[str, Any]:
        return {"statistics": self.statistics}
