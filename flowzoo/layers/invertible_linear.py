"""An invertible linear map of the last axis."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowzoo import checks
from flowzoo.layers.flow_layer import FlowLayer, positions
from flowzoo.networks.initial import generator
from flowzoo.types import Seed, Shape, Tensor


@keras.saving.register_keras_serializable(package="flowzoo")
class InvertibleLinear(FlowLayer):
    """z = x W on the last axis; log_det = log |det W|, data to latent.

    With "plu", W = P L (U + diag(sign * exp(s))): P is a fixed permutation, L lower triangular
    with ones on the diagonal, U strictly upper triangular, so the map can never become singular
    and log_det = sum(s) is free. With "matrix", W is the weight itself. Both start as a random
    rotation. On (batch, H, W, C) it is Glow's 1x1 convolution, and log_det counts H * W times. The weight
    holds L, s and U in one square, or W, over `factor`.

    References:
        Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018, arXiv:1807.03039)

    Arguments:
        parametrization: "plu" or "matrix".
        factor: how far the entries of the matrices move when an optimizer such as Adam moves those of the
            weight by 1. A row of W sums over the channels, so that in wide flows of many steps those of 1 are
            many times as fast as a coupling's.
        seed: integer that draws the rotation.

    Example:
        >>> layer = flowzoo.layers.InvertibleLinear(seed=0)
        >>> layer.build((None, 3))
        >>> float(layer.inverse_and_log_det(keras.ops.ones((1, 3)))[1][0]) < 1e-5
        True
    """

    def __init__(
        self, *, parametrization: str = "plu", factor: float = 1.0, seed: Seed = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.parametrization = checks.choice("parametrization", parametrization, ("plu", "matrix"))
        self.factor = checks.positive_number("factor", factor)
        self.seed = seed

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        self.size = x_shape[-1]
        self.positions = positions(x_shape)
        rotation = self._initial_rotation()

        def weight(value, name, trainable=True, dtype=None):
            return self.add_weight(
                shape=value.shape,
                initializer=lambda shape, dtype: ops.cast(value, dtype),
                trainable=trainable,
                dtype=dtype,
                name=name,
            )

        if self.parametrization == "matrix":
            self.matrix = weight(rotation / self.factor, "matrix")
            return
        permutation, lower, upper = plu(rotation)
        diagonal = np.diagonal(upper)
        self.permutation = weight(permutation, "permutation", trainable=False, dtype="int32")
        self.sign = weight(np.sign(diagonal), "sign", trainable=False)
        # L below the diagonal, s on it, U above.
        factors = lower + np.diag(np.log(np.abs(diagonal))) + np.triu(upper, 1)
        self.lower_upper = weight(factors / self.factor, "lower_upper")

    def _initial_rotation(self):
        return np.linalg.qr(generator(self.seed).normal(size=(self.size, self.size)))[0]

    def _factors(self):
        """P, L and U with its diagonal, square matrices."""
        factors = self.factor * ops.convert_to_tensor(self.lower_upper)
        below = np.tril(np.ones((self.size, self.size)), -1)
        lower = factors * ops.cast(below, factors.dtype) + ops.eye(self.size, dtype=factors.dtype)
        diagonal = self.sign * ops.exp(ops.diagonal(factors))
        upper = factors * ops.cast(below.T, factors.dtype) + ops.diag(diagonal)
        permutation = ops.one_hot(ops.convert_to_tensor(self.permutation), self.size, dtype=factors.dtype)
        return ops.transpose(permutation), lower, upper

    def _matrix(self):
        """W of "matrix"."""
        return self.factor * ops.convert_to_tensor(self.matrix)

    def _times(self, values, matrix):
        product = ops.matmul(ops.reshape(values, (-1, self.size)), matrix)
        return ops.reshape(product, ops.shape(values))

    def _log_det(self, values):
        if self.parametrization == "matrix":
            triangle = ops.qr(self._matrix())[1]  # slogdet has no XLA on TensorFlow
            log_det = ops.sum(ops.log(ops.abs(ops.diagonal(triangle))))
        else:
            log_det = self.factor * ops.sum(ops.diagonal(self.lower_upper))
        return self.per_example(self.positions * log_det, values)

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.parametrization == "matrix":
            matrix = self._matrix()
        else:
            permutation, lower, upper = self._factors()
            matrix = ops.matmul(permutation, ops.matmul(lower, upper))
        return self._times(x, matrix), self._log_det(x)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.parametrization == "matrix":
            inverse = ops.inv(self._matrix())
        else:
            permutation, lower, upper = self._factors()
            solved = ops.solve_triangular(lower, ops.transpose(permutation), lower=True)
            inverse = ops.solve_triangular(upper, solved, lower=False)
        return self._times(z, inverse), -self._log_det(z)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "parametrization": self.parametrization,
            "factor": self.factor,
            "seed": self.seed,
        }


def plu(matrix):
    """P as places, L and U of `matrix` by elimination with row pivots: matrix[places] = L U."""
    upper = matrix.copy()
    size = len(upper)
    lower = np.zeros((size, size))
    permutation = np.arange(size)
    for i in range(size):
        pivot = i + np.argmax(np.abs(upper[i:, i]))
        for rows in (upper, lower, permutation):
            rows[[i, pivot]] = rows[[pivot, i]]
        lower[i + 1 :, i] = upper[i + 1 :, i] / upper[i, i]
        upper[i + 1 :] -= lower[i + 1 :, i : i + 1] * upper[i]
    return permutation, lower, upper
