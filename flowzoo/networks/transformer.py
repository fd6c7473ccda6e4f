"""Transformer layers, and a vision transformer for couplings."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from flowzoo import backend, checks
from flowzoo.types import Shape, Tensor

HEAD_SIZE = 64
EPSILON = 1e-6


@keras.saving.register_keras_serializable(package="flowzoo")
class TransformerLayer(keras.layers.Layer):
    """One pre-LayerNorm layer of a transformer, (batch, T, d) -> (batch, T, d).

        h <- h + W_o attention(norm(h)),   h <- h + W_2 gelu(W_1 norm(h))

    Attention has heads of 64 numbers, or as near as divides d; the inner width is 4 d; the GELU is the exact
    one, and both LayerNorms compute in float32 also under mixed precision.

    References:
        Attention Is All You Need (Vaswani et al., 2017, arXiv:1706.03762)
        On Layer Normalization in the Transformer Architecture (Xiong et al., 2020, arXiv:2002.04745)

    Arguments:
        heads: number of heads, which divides d; None for heads of 64.
        causal: whether each token sees itself and those before it alone.

    Example:
        >>> layer = flowzoo.networks.TransformerLayer(causal=True)
        >>> tuple(layer(keras.ops.ones((2, 5, 128))).shape), layer.heads
        ((2, 5, 128), 2)
    """

    def __init__(self, heads: int | None = None, *, causal: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.given_heads = None if heads is None else checks.positive_integer("heads", heads)
        self.causal = bool(causal)

    def build(self, input_shape: Shape) -> None:
        self.size = size = input_shape[-1]
        self.heads = self.given_heads or default_heads(size)
        if size % self.heads:
            raise ValueError(f"heads must divide the width of a transformer, {size}; got {self.heads}.")
        policy = self.dtype_policy
        self.attention_norm = keras.layers.LayerNormalization(
            epsilon=EPSILON, dtype=policy, name="attention_norm"
        )
        self.mlp_norm = keras.layers.LayerNormalization(epsilon=EPSILON, dtype=policy, name="mlp_norm")
        widths = {"queries_keys_values": 3 * size, "attention_output": size, "mlp_in": 4 * size}
        self.projection, self.attention_output, self.mlp_in = (
            keras.layers.Dense(width, dtype=policy, name=name) for name, width in widths.items()
        )
        self.mlp_out = keras.layers.Dense(size, dtype=policy, name="mlp_out")
        norms = self.attention_norm, self.mlp_norm
        for layer in (*norms, self.projection, self.attention_output, self.mlp_in):
            layer.build((None, size))
        self.mlp_out.build((None, 4 * size))

    def call(self, hidden: Tensor) -> Tensor:
        """All tokens at once."""
        length = hidden.shape[1]
        queries, keys, values = self._projected(hidden)
        seen = np.tri(length, dtype=bool) if self.causal else None
        return self._rest(hidden, _attention(queries, keys, values, seen))

    def extend(
        self, hidden: Tensor, place: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Some tokens after others, whose keys and values are kept: what `call` gives for these tokens.

        Arguments:
            hidden: of n tokens, (batch, n, d).
            place: of the first of them, an integer tensor; those before it have been here.
            keys, values: of all T tokens, (batch * heads, T, d / heads), as `nothing_kept` and the last call
                give them.

        Returns: hidden, keys, values.
        """
        count, length = hidden.shape[1], keys.shape[1]
        queries, new_keys, new_values = self._projected(hidden)
        keys, values = backend.put(keys, place, new_keys), backend.put(values, place, new_values)
        seen = ops.arange(length, dtype="int32")[None, :] <= place + ops.arange(count, dtype="int32")[:, None]
        return self._rest(hidden, _attention(queries, keys, values, seen)), keys, values

    def nothing_kept(self, batch: int, length: int) -> tuple[Tensor, Tensor]:
        """Keys and values before the first token: zeros, two tensors (batch * heads, length, d / heads)."""
        zeros = ops.zeros((batch * self.heads, length, self.size // self.heads), self.compute_dtype)
        return zeros, zeros

    def _projected(self, hidden):
        """Queries, keys and values, each (batch * heads, n, d / heads)."""
        count, head_size = hidden.shape[1], self.size // self.heads
        found = self.projection(self._normed(self.attention_norm, hidden))
        found = ops.reshape(found, (-1, count, 3, self.heads, head_size))
        found = ops.transpose(found, (2, 0, 3, 1, 4))
        return tuple(ops.reshape(found[i], (-1, count, head_size)) for i in range(3))

    def _rest(self, hidden, attended):
        """The residual sums, from what the heads give, (batch * heads, n, d / heads)."""
        count = hidden.shape[1]
        attended = ops.reshape(attended, (-1, self.heads, count, self.size // self.heads))
        attended = ops.reshape(ops.transpose(attended, (0, 2, 1, 3)), (-1, self.size))
        hidden = hidden + ops.reshape(self.attention_output(attended), (-1, count, self.size))
        inner = _gelu(self.mlp_in(self._normed(self.mlp_norm, hidden)))
        return hidden + ops.reshape(self.mlp_out(inner), (-1, count, self.size))

    def _normed(self, norm, hidden):
        """Normalised tokens in a row, (batch * n, d), for one matrix product."""
        return norm(ops.reshape(hidden, (-1, self.size)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "heads": self.given_heads, "causal": self.causal}


def default_heads(size):
    """The number of heads whose size is nearest to 64, from below, among those that divide `size`.

    Example:
        >>> default_heads(128), default_heads(16), default_heads(192), default_heads(100)
        (2, 1, 3, 2)
    """
    return next(heads for heads in range(-(-size // HEAD_SIZE), size + 1) if size % heads == 0)


def _attention(queries, keys, values, seen):
    """softmax(Q K^T / sqrt(size)) V for tensors (batch * heads, n, size); the softmax in float32.

    `seen`, a mask (n, T), tells which keys a query sees, None for all.
    """
    if keys.shape[1] == 1:
        return values  # there is no choice
    scores = ops.matmul(queries * queries.shape[-1] ** -0.5, ops.transpose(keys, (0, 2, 1)))
    scores = ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))
    if seen is not None:
        scores = ops.where(seen, scores, -1e30)
    return ops.matmul(ops.cast(ops.softmax(scores, axis=-1), values.dtype), values)


def _gelu(x):
    """The exact GELU by erf; `keras.ops.gelu` has JAX train by erfc, which takes twice as long on a CPU."""
    return 0.5 * x * (1 + ops.erf(x * math.sqrt(0.5)))


def position_embedding(layer, length, size):
    """A new weight of `layer`, (length, size), one learned vector for each place of a row of tokens."""
    start = keras.initializers.RandomNormal(stddev=0.02)
    return layer.add_weight(shape=(length, size), initializer=start, name="position_embedding")


@keras.saving.register_keras_serializable(package="flowzoo")
class VisionTransformer(keras.layers.Layer):
    """A small vision transformer, (batch, ..., C) -> (batch, ..., hidden_size): a conditioner of couplings.

    All places of an image, or tokens of a row, see one another: a linear map of each, a learned position
    embedding, `layers` transformer layers and a LayerNorm. A coupling's head starts at zero after it.

    References:
        An Image is Worth 16x16 Words (Dosovitskiy et al., 2020, arXiv:2010.11929)
        Jet: A Modern Transformer-Based Normalizing Flow (Kolesnikov et al., 2024, arXiv:2412.15129)

    Arguments:
        hidden_size: width of the transformer.
        layers: number of its layers.
        heads: number of heads of each, None for heads of 64.

    Example:
        >>> network = flowzoo.networks.VisionTransformer(64, layers=1)
        >>> tuple(network(keras.ops.ones((2, 4, 4, 12))).shape)
        (2, 4, 4, 64)
    """

    def __init__(self, hidden_size: int = 128, *, layers: int = 2, heads: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.hidden_size = checks.positive_integer("hidden_size", hidden_size)
        self.layers = checks.positive_integer("layers", layers)
        self.heads = heads
        policy = self.dtype_policy
        self.embedding = keras.layers.Dense(self.hidden_size, dtype=policy, name="embedding")
        self.transformer_layers = [
            TransformerLayer(heads, dtype=policy, name=f"layer_{i}") for i in range(self.layers)
        ]
        self.norm = keras.layers.LayerNormalization(epsilon=EPSILON, dtype=policy, name="norm")

    def build(self, input_shape: Shape) -> None:
        self.length = math.prod(input_shape[1:-1])
        self.embedding.build((None, input_shape[-1]))
        self.positions = position_embedding(self, self.length, self.hidden_size)
        for layer in self.transformer_layers:
            layer.build((None, self.length, self.hidden_size))
        self.norm.build((None, self.length, self.hidden_size))

    def call(self, inputs: Tensor) -> Tensor:
        hidden = self.embedding(ops.reshape(inputs, (-1, inputs.shape[-1])))
        positions = ops.cast(self.positions, self.compute_dtype)
        hidden = ops.reshape(hidden, (-1, self.length, self.hidden_size)) + positions
        for layer in self.transformer_layers:
            hidden = layer(hidden)
        return ops.reshape(self.norm(hidden), (-1, *inputs.shape[1:-1], self.hidden_size))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.hidden_size)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden_size": self.hidden_size,
            "layers": self.layers,
            "heads": self.heads,
        }
