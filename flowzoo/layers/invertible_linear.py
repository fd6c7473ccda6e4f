"""An invertible linear map of the last axis."""

import keras
import numpy as np
from keras import ops

from flowzoo.layers.flow_layer import FlowLayer, positions


@keras.saving.register_keras_serializable(package="flowzoo")
class InvertibleLinear(FlowLayer):
    """z = x P L (U + diag(sign * exp(s))) on the last axis; log_det = sum(s), data to latent.

    P is a fixed permutation, L lower triangular with ones on the diagonal, U strictly upper
    triangular, so the map can never become singular and its log-determinant is free. It starts
    as a random rotation. On (batch, H, W, C) it is Glow's 1x1 convolution, and log_det counts
    H * W times.

    References:
        Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018, arXiv:1807.03039)

    Arguments:
        seed: integer that draws the rotation.

    Example:
        >>> layer = flowzoo.layers.InvertibleLinear(seed=0)
        >>> layer.build((None, 3))
        >>> float(layer.inverse_and_log_det(keras.ops.ones((1, 3)))[1][0]) < 1e-5
        True
    """

    def __init__(self, *, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, x_shape, context_shape=None):
        size = x_shape[-1]
        self.positions = positions(x_shape)
        permutation, lower, upper, diagonal = self._initial_factors(size)

        def weight(value, name, trainable=True, dtype=None):
            return self.add_weight(
                shape=value.shape,
                initializer=lambda shape, dtype: ops.cast(value, dtype),
                trainable=trainable,
                dtype=dtype,
                name=name,
            )

        self.permutation = weight(permutation, "permutation", trainable=False, dtype="int32")
        self.sign = weight(np.sign(diagonal), "sign", trainable=False)
        self.log_diagonal = weight(np.log(np.abs(diagonal)), "log_diagonal")
        self.lower = weight(lower, "lower")
        self.upper = weight(upper, "upper")

    def _initial_factors(self, size):
        """P, L, U and the diagonal of a random rotation, by elimination with row pivots."""
        normal = ops.convert_to_numpy(keras.random.normal((size, size), seed=self.seed))
        upper = np.linalg.qr(normal.astype("float64"))[0]
        lower = np.zeros((size, size))
        permutation = np.arange(size)
        for i in range(size):
            pivot = i + np.argmax(np.abs(upper[i:, i]))
            for rows in (upper, lower, permutation):
                rows[[i, pivot]] = rows[[pivot, i]]
            lower[i + 1 :, i] = upper[i + 1 :, i] / upper[i, i]
            upper[i + 1 :] -= lower[i + 1 :, i : i + 1] * upper[i]
        return permutation, lower, np.triu(upper, 1), np.diagonal(upper).copy()

    def _factors(self):
        size = self.lower.shape[0]
        strictly_lower = np.tril(np.ones((size, size)), -1)
        lower = self.lower * ops.cast(strictly_lower, self.lower.dtype)
        upper = self.upper * ops.cast(strictly_lower.T, self.upper.dtype)
        diagonal = self.sign * ops.exp(self.log_diagonal)
        return lower + ops.eye(size, dtype=lower.dtype), upper + ops.diag(diagonal)

    def _log_det(self, values):
        return self.per_example(self.positions * ops.sum(self.log_diagonal), values)

    def inverse_and_log_det(self, x, context=None):
        lower, upper = self._factors()
        x = ops.take(x, ops.convert_to_tensor(self.permutation), axis=-1)
        return ops.matmul(x, ops.matmul(lower, upper)), self._log_det(x)

    def forward_and_log_det(self, z, context=None):
        lower, upper = self._factors()
        columns = ops.transpose(ops.reshape(z, (-1, z.shape[-1])))
        columns = ops.solve_triangular(ops.transpose(upper), columns, lower=True)
        columns = ops.solve_triangular(ops.transpose(lower), columns, lower=False)
        x = ops.reshape(ops.transpose(columns), ops.shape(z))
        back = ops.argsort(ops.convert_to_tensor(self.permutation))
        return ops.take(x, back, axis=-1), -self._log_det(z)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
