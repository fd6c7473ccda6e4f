"""Autoregression over tokens by causal transformers."""

import math
from typing import Any

import keras
from keras import ops

from flowzoo import backend, checks, transformers
from flowzoo.layers.flow_layer import FlowLayer, sum_event
from flowzoo.networks.transformer import TransformerLayer, position_embedding
from flowzoo.types import Shape, Tensor, TransformerLike

SEGMENT = 16  # tokens that a Jacobi iteration finds together


@keras.saving.register_keras_serializable(package="flowzoo")
class TransformerAutoregressive(FlowLayer):
    """x_i = t(z_i; W h_i) for the tokens i of a row, (T, D), where h_i sees the tokens before x_i alone.

        h = layers of a causal transformer over [start, W_in x_0, ..., W_in x_(T-2)] + positions (+ class)

    The start token and the positions are learned, and W starts at zero; without a class, the mean of all
    stands in. The numbers of one token do not see one another. The Jacobian is block-triangular with
    diagonal blocks, so log_det is the sum of the transformer's log-derivatives. Data to latent is one
    parallel pass. Latent to data goes token after token, with the keys and values of those before kept.

    References:
        Normalizing Flows are Capable Generative Models (Zhai et al., 2024, arXiv:2412.06329)
        STARFlow (Gu et al., 2025, arXiv:2506.06276), for the start token, the scale and the last norm

    Arguments:
        hidden_size: width of the transformer.
        layers: number of its `flowzoo.networks.TransformerLayer`.
        heads: number of heads of each, None for heads of 64.
        transformer: t, a `flowzoo.transformers.Transformer` or the name of one.
        reverse: whether the last token comes first.
        classes: number of classes; the context is then the label, 0 ... classes - 1, or -1 for none, of
            shape (batch, 1). Of any other context all tokens see a linear map.
        final_norm: whether h is brought to a mean square of 1.

    Example:
        >>> layer = flowzoo.layers.TransformerAutoregressive(64, layers=2)
        >>> layer.build((None, 9, 16))
        >>> z, log_det = layer.inverse_and_log_det(keras.ops.ones((5, 9, 16)))
        >>> tuple(z.shape), tuple(log_det.shape)
        ((5, 9, 16), (5,))
    """

    def __init__(
        self,
        hidden_size: int = 128,
        *,
        layers: int = 4,
        heads: int | None = None,
        transformer: TransformerLike = "softplus",
        reverse: bool = False,
        classes: int | None = None,
        final_norm: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.hidden_size = checks.positive_integer("hidden_size", hidden_size)
        self.layers = checks.positive_integer("layers", layers)
        self.heads = heads
        self.given_transformer = transformer
        self.transformer = transformers.get(transformer)
        self.reverse = bool(reverse)
        self.classes = None if classes is None else checks.positive_integer("classes", classes)
        self.final_norm = bool(final_norm)
        policy = self.dtype_policy
        self.embedding = keras.layers.Dense(self.hidden_size, dtype=policy, name="embedding")
        self.transformer_layers = [
            TransformerLayer(heads, causal=True, dtype=policy, name=f"layer_{i}") for i in range(self.layers)
        ]
        self.norm = keras.layers.RMSNormalization(dtype=policy, name="norm") if self.final_norm else None

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        if len(x_shape) != 3:
            raise ValueError(
                f"TransformerAutoregressive works on rows of tokens, (T, D); got event shape "
                f"{tuple(x_shape[1:])}. Put a flowzoo.layers.Patches, or Reshape, on its data side."
            )
        _, self.length, self.size = x_shape
        width = self.hidden_size
        self.embedding.build((None, self.size))
        self.positions = position_embedding(self, self.length, width)
        small = keras.initializers.RandomNormal(stddev=0.02)
        self.start = self.add_weight(shape=(width,), initializer=small, name="start")
        for layer in self.transformer_layers:
            layer.build((None, self.length, width))
        if self.norm is not None:
            self.norm.build((None, width))
        self.head = keras.layers.Dense(
            self.transformer.parameters * self.size,
            kernel_initializer="zeros",
            dtype=self.dtype_policy,
            name="head",
        )
        self.head.build((None, width))
        self.class_embedding, self.context_map = None, None
        if self.classes is not None:
            if context_shape is None or tuple(context_shape[1:]) != (1,):
                raise ValueError(
                    "TransformerAutoregressive with classes needs the label as context, of shape (batch, 1); "
                    f"got {context_shape}."
                )
            self.class_embedding = self.add_weight(
                shape=(self.classes, width), initializer=small, name="class_embedding"
            )
        elif context_shape is not None:
            self.context_map = keras.layers.Dense(
                width, use_bias=False, dtype=self.dtype_policy, name="context_map"
            )
            self.context_map.build((None, math.prod(context_shape[1:])))

    def inverse_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self._ordered(x)
        z, log_det = self.transformer.inverse(x, self.parameters(x, context))
        return self._ordered(z), sum_event(log_det)

    def parameters(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The parameters of t for all tokens by one pass, (batch, T, numbers); x is in the layer's order."""
        hidden = ops.concatenate([self._first(x), self._embedded(x[:, :-1])], axis=1)
        hidden, condition = hidden + self._cast(self.positions), self._condition(context)
        hidden = hidden if condition is None else hidden + condition
        for layer in self.transformer_layers:
            hidden = layer(hidden)
        return self._parameters(hidden, x.dtype)

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.solve(z, context)

    def solve(self, z: Tensor, context: Tensor | None = None, *, guidance: float | None = None) -> Tensor:
        """The same token after token, with guidance.

        Arguments:
            guidance: w, of layers with classes: the parameters of t are p + w (p - q), where p are those of
                the class and q those without one. None for none.

        Returns: x (batch, T, D) and log_det (batch,).
        """
        z = self._ordered(z)
        condition = self._condition(context, guided=guidance is not None)

        def step(elements, previous, x, total, *kept):
            place, value, position = elements
            hidden = self._doubled(previous, guidance) + position
            parameters, kept = self._extend(hidden, condition, place, kept, guidance, z.dtype)
            value, log_det = self.transformer.forward(ops.expand_dims(value, 1), parameters)
            total = total + ops.cast(sum_event(log_det), total.dtype)
            return self._embedded(value), backend.put(x, place, value), total, *kept

        sequences = (
            ops.arange(self.length, dtype="int32"),
            ops.transpose(z, (1, 0, 2)),
            self._cast(self.positions),
        )
        start = (self._first(z), ops.zeros_like(z), self.per_example(0.0, z))
        kept = self._nothing_kept(z, guidance)
        _, x, total, *_ = backend.repeat(self.length, step, (*start, *kept), sequences)
        return self._ordered(x), total

    def solve_by_iteration(
        self,
        z: Tensor,
        context: Tensor | None = None,
        *,
        guidance: float | None = None,
        tolerance: float = 1e-3,
    ) -> Tensor:
        """x by parallel fixed-point iterations: segment after segment of 16 tokens, those of one together.

        A segment is done when no number changes by more than `tolerance`, or after as many iterations as it
        has tokens, which are exact.

        References:
            Jacobi iterations of TarFlow in segments (Liu and Qin, 2025, arXiv:2505.12849)

        Arguments:
            guidance: as in `solve`.
            tolerance: in the units of the tokens.

        Returns: x, (batch, T, D).
        """
        z = self._ordered(z)
        condition = self._condition(context, guided=guidance is not None)
        size = min(SEGMENT, self.length)
        count = -(-self.length // size)
        # The last segment ends with the last token: it may find some of the one before again.
        places = ops.minimum(size * ops.arange(count, dtype="int32"), self.length - size)
        first, positions = self._first(z), self._cast(self.positions)

        def segment(elements, x, *kept):
            (place,) = elements
            values = ops.slice(z, (0, place, 0), (ops.shape(z)[0], size, self.size))
            position = ops.slice(positions, (place, 0), (size, self.hidden_size))
            before = ops.slice(x, (0, ops.maximum(place - 1, 0), 0), (ops.shape(z)[0], 1, self.size))
            before = ops.where(place == 0, first, self._embedded(before))

            def unfinished(done, change, found, *kept):
                return ops.logical_and(done < size, change > tolerance)

            def iterate(done, change, found, *kept):
                hidden = ops.concatenate([before, self._embedded(found[:, :-1])], axis=1) + position
                hidden = self._doubled(hidden, guidance)
                parameters, kept = self._extend(hidden, condition, place, kept, guidance, z.dtype)
                again, _ = self.transformer.forward(values, parameters)
                return done + 1, ops.max(ops.abs(again - found)), again, *kept

            state = (0, ops.cast(float("inf"), z.dtype), values, *kept)
            _, _, found, *kept = ops.while_loop(unfinished, iterate, state, maximum_iterations=size)
            return backend.put(x, place, found), *kept

        state = (ops.zeros_like(z), *self._nothing_kept(z, guidance))
        x, *_ = backend.repeat(count, segment, state, (places,))
        return self._ordered(x)

    def _ordered(self, values):
        return ops.flip(values, axis=1) if self.reverse else values

    def _cast(self, values):
        return ops.cast(values, self.compute_dtype)

    def _first(self, x):
        """The start token for each example, (batch, 1, width)."""
        return ops.broadcast_to(self._cast(self.start), (ops.shape(x)[0], 1, self.hidden_size))

    def _embedded(self, tokens):
        """Tokens (batch, n, D) as the transformer sees them, (batch, n, width)."""
        hidden = self.embedding(ops.reshape(tokens, (-1, self.size)))
        return ops.reshape(hidden, (ops.shape(tokens)[0], tokens.shape[1], self.hidden_size))

    def _condition(self, context, guided=False):
        """What all tokens see of the context, (batch, 1, width), or None; then the same without a class."""
        if context is None:
            return None
        if self.classes is None:
            found = self.context_map(ops.reshape(context, (-1, math.prod(context.shape[1:]))))
            return ops.expand_dims(found, 1)
        labels = ops.cast(context[:, :1], "int32")
        if guided:
            labels = ops.concatenate([labels, ops.full_like(labels, -1)], axis=0)
        chosen = ops.cast(labels == ops.arange(self.classes, dtype="int32"), self.class_embedding.dtype)
        chosen = ops.where(labels < 0, 1 / self.classes, chosen)
        return ops.expand_dims(self._cast(ops.matmul(chosen, self.class_embedding)), 1)

    def _doubled(self, hidden, guidance):
        """The same tokens twice for guidance: with the class, and without."""
        return hidden if guidance is None else ops.concatenate([hidden, hidden], axis=0)

    def _nothing_kept(self, z, guidance):
        """Keys and values of no tokens yet, of every layer in turn."""
        batch = ops.shape(z)[0] * (1 if guidance is None else 2)
        return [part for layer in self.transformer_layers for part in layer.nothing_kept(batch, self.length)]

    def _extend(self, hidden, condition, place, kept, guidance, dtype):
        """The parameters of tokens from `place` on, and the keys and values kept with theirs."""
        hidden = hidden if condition is None else hidden + condition
        found = []
        for i, layer in enumerate(self.transformer_layers):
            hidden, *pair = layer.extend(hidden, place, *kept[2 * i : 2 * i + 2])
            found += pair
        parameters = self._parameters(hidden, dtype)
        if guidance is not None:
            with_class, without = ops.split(parameters, 2, axis=0)
            parameters = with_class + ops.cast(guidance, dtype) * (with_class - without)
        return parameters, found

    def _parameters(self, hidden, dtype):
        rows = ops.reshape(hidden, (-1, self.hidden_size))
        rows = rows if self.norm is None else self.norm(rows)
        return ops.cast(ops.reshape(self.head(rows), (-1, hidden.shape[1], self.head.units)), dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden_size": self.hidden_size,
            "layers": self.layers,
            "heads": self.heads,
            "transformer": transformers.serialized(self.given_transformer),
            "reverse": self.reverse,
            "classes": self.classes,
            "final_norm": self.final_norm,
        }
