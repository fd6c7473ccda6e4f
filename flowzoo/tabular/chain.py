"""Distributions of any columns given any others, column after column."""

import keras
import numpy as np
from keras import ops

from flowzoo import backend
from flowzoo.compiled import program
from flowzoo.networks.initial import he_normal
from flowzoo.tabular import conditionals
from flowzoo.tabular.blocks import in_blocks
from flowzoo.tabular.features import Features, class_count, classes_of
from flowzoo.tabular.schema import Schema

MASKED = -1e9  # a logit of no class


@keras.saving.register_keras_serializable(package="flowzoo")
class ColumnChain(keras.Model):
    """p(x_T | x_G) = prod_k p(x_k | x_G, those of x_T that stand before k), for any columns T and G.

    Each target column has a network of its own, all alike and computed together. It sees the columns of G
    and the earlier ones of T through a mask that is a part of its input; so one chain, trained on random
    G and T, is the conditional distribution of any columns given any others. The distributions are those of
    `flowzoo.tabular.conditionals`.

    References:
        MADE: Masked Autoencoder for Distribution Estimation (Germain et al., 2015, arXiv:1502.03509)
        Variational Autoencoder with Arbitrary Conditioning (Ivanov et al., 2018, arXiv:1806.02382)

    Arguments:
        columns: list of `Column`, in order: categories, narrow integers, other integers, reals; then those
            that are only given. Or dicts of them.
        targets: how many of them, the first, have distributions.
        width: of the hidden layers.
        blocks: of each network, of two layers that add to what comes in.
        components: logistics in a mixture.
    """

    def __init__(self, columns, targets, *, width=64, blocks=1, components=8, **kwargs):
        super().__init__(**kwargs)
        self.columns = Schema.from_dicts(columns).columns if isinstance(columns[0], dict) else columns
        self.targets, self.width, self.blocks, self.components = targets, width, blocks, components
        self.features = Features(self.columns)
        wanted = self.columns[:targets]
        self.classes = np.array([class_count(c) for c in wanted if class_count(c)], "int32")
        self.first_mixture = sum(c.kind == "category" for c in wanted)
        self.units = np.array(
            [1 / c.scale if c.kind == "integer" else 0.0 for c in wanted[self.first_mixture :]], "float32"
        )
        self.build()

    def build(self, input_shape=None):
        if self.built:
            return
        features, targets, width = len(self.features.column_of), self.targets, self.width
        earlier = self.features.column_of[:, None] < np.arange(targets)
        self.earlier = np.repeat(earlier, width, axis=1).astype("float32")
        self.first = self._weight("first", (features, targets * width), he_normal)
        self.first_bias = self._weight("first_bias", (targets * width,))
        start = keras.initializers.RandomNormal(stddev=(2 / width) ** 0.5)
        self.inner = [
            (
                self._weight(f"in_{i}", (targets, width, width), start),
                self._weight(f"in_bias_{i}", (targets, 1, width)),
                self._weight(f"out_{i}", (targets, width, width)),
            )
            for i in range(self.blocks)
        ]
        softmaxes, mixtures = len(self.classes), targets - self.first_mixture
        self.class_kernel = self.mixture_kernel = None
        if softmaxes:
            most = int(self.classes.max()) + 1  # the last class of an integer is the mixture
            self.class_kernel = self._weight("class_kernel", (softmaxes, width, most))
            self.class_bias = self._weight("class_bias", (softmaxes, 1, most))
            allowed = np.arange(most) < self.classes[:, None]
            allowed[self.first_mixture :, -1] = True
            self.class_mask = np.where(allowed, 0, MASKED).astype("float32")[:, None, :]
        if mixtures:
            self.mixture_kernel = self._weight("mixture_kernel", (mixtures, width, 3 * self.components))
            self.mixture_bias = self._weight("mixture_bias", (mixtures, 1, 3 * self.components))
        self.built = True

    def _weight(self, name, shape, start="zeros"):
        return self.add_weight(shape=shape, initializer=start, name=name)

    def start(self, encoded):
        """Sets the heads' biases, so that before training each column has about its own distribution."""
        for i, column in enumerate(self.columns[: self.targets]):
            values = encoded[:, i][np.isfinite(encoded[:, i])]
            if class_count(column):
                bias = np.array(ops.convert_to_numpy(self.class_bias))
                places = classes_of(column, values)
                places = places[(places >= 0) & (places < class_count(column))].astype(int)
                counts = 0.5 + np.bincount(places, minlength=bias.shape[-1])
                bias[i, 0] = np.log(counts / counts.sum())
                self.class_bias.assign(bias)
            if column.kind != "category":
                bias = np.array(ops.convert_to_numpy(self.mixture_bias))
                bias[i - self.first_mixture, 0] = conditionals.start(values, self.components)
                self.mixture_bias.assign(bias)

    def call(self, inputs):
        """Log-density of a batch, (n,), of the inputs that `inputs` makes."""
        return ops.sum(self._by_column(*inputs) * inputs[3][:, : self.targets], axis=1)

    def inputs(self, encoded, given, target):
        """What `call` takes: features, numbers without gaps, and the masks of G and T, as float32."""
        numbers = np.nan_to_num(encoded[:, : self.targets]).astype("float32")
        return self.features(encoded), numbers, given.astype("float32"), target.astype("float32")

    def log_prob(self, encoded, given, target, progress=True):
        """log p(x_T | x_G) of encoded columns (n, columns), with boolean masks of G and T; nats, (n,)."""

        def density(*block):
            return self._log_prob.run(self.inputs(*block))

        return in_blocks(density, (encoded, given, target), progress=progress)

    @property
    def prefers_xla(self):
        return backend.prefers_xla(convolutions=False)

    @program
    def _log_prob(self, *inputs):
        return self.call(inputs)

    def _by_column(self, features, numbers, given, target):
        """log p of each target column, (n, targets)."""
        of = self.features.column_of
        seen = ops.matmul(features * ops.take(given, of, axis=1), self.first)
        seen = seen + ops.matmul(features * ops.take(target, of, axis=1), self.first * self.earlier)
        hidden = ops.reshape(seen + self.first_bias, (-1, self.targets, self.width))
        hidden = ops.transpose(hidden, (1, 0, 2))
        for inside, bias, out in self.inner:
            hidden = hidden + ops.matmul(ops.relu(ops.matmul(ops.relu(hidden), inside) + bias), out)
        hidden = ops.relu(hidden)
        return self._log_probs(hidden, numbers)

    def _log_probs(self, hidden, numbers):
        parts, categories, softmaxes = [], self.first_mixture, len(self.classes)
        if softmaxes:
            logits = ops.matmul(hidden[:softmaxes], self.class_kernel) + self.class_bias + self.class_mask
            log_classes = ops.transpose(ops.log_softmax(logits, axis=-1), (1, 0, 2))
            steps, offsets = self._class_steps()
            places = ops.round(numbers[:, :softmaxes] * steps + offsets)
            inside = ops.logical_and(places >= 0, places < self.classes.astype("float32"))
            index = ops.cast(ops.where(inside, places, 0.0), "int32")
            picked = ops.take_along_axis(log_classes, index[..., None], axis=2)[..., 0]
            picked = ops.where(inside, picked, MASKED)
            parts.append(picked[:, :categories])
        if self.mixture_kernel is not None:
            y = numbers[:, categories:]
            at_low, at_high = self._edges(y)
            parameters = ops.matmul(hidden[categories:], self.mixture_kernel) + self.mixture_bias
            mixtures = conditionals.log_mixture(
                y, ops.transpose(parameters, (1, 0, 2)), self.units, at_low, at_high
            )
            narrow = softmaxes - categories
            if narrow:
                by_mixture = log_classes[:, categories:, -1] + mixtures[:, :narrow]
                parts.append(ops.logaddexp(picked[:, categories:], by_mixture))
            parts.append(mixtures[:, narrow:])
        return ops.concatenate(parts, axis=1)

    def _class_steps(self):
        """Numbers times steps plus offsets are the places among the classes."""
        columns = [c for c in self.columns[: self.targets] if class_count(c)]
        steps = [1.0 if c.kind == "category" else c.scale for c in columns]
        offsets = [0.0 if c.kind == "category" else c.center - c.values[0] for c in columns]
        return np.array(steps, "float32"), np.array(offsets, "float32")

    def _edges(self, y):
        """Whether integers y are the lowest, or the highest, that there may be."""
        columns = self.columns[self.first_mixture : self.targets]

        def edge(bound, open_end, sign):
            return np.array(
                [
                    open_end
                    if c.kind == "real" or getattr(c, bound) is None
                    else (getattr(c, bound) + 0.5 * sign - c.center) / c.scale
                    for c in columns
                ],
                "float32",
            )

        return y < edge("low", -np.inf, 1), y > edge("high", np.inf, -1)

    # One column at a time, with draws in NumPy.

    @program
    def _parameters(self, features, seen, column):
        """The logits of classes, and the parameters of the mixture, of one target column."""
        hidden = ops.matmul(
            features * ops.take(seen, self.features.column_of, axis=1),
            self._of(ops.reshape(self.first, (-1, self.targets, self.width)), column, 1),
        )
        hidden = hidden + self._of(ops.reshape(self.first_bias, (self.targets, self.width)), column)
        for inside, bias, out in self.inner:
            inner = ops.relu(ops.matmul(ops.relu(hidden), self._of(inside, column)) + self._of(bias, column))
            hidden = hidden + ops.matmul(inner, self._of(out, column))
        hidden, found = ops.relu(hidden), []
        if self.class_kernel is not None:
            place = ops.minimum(column, len(self.classes) - 1)
            found.append(
                ops.matmul(hidden, self._of(self.class_kernel, place))
                + self._of(self.class_bias, place)
                + self._of(self.class_mask, place)
            )
        if self.mixture_kernel is not None:
            place = ops.maximum(column - self.first_mixture, 0)
            found.append(
                ops.matmul(hidden, self._of(self.mixture_kernel, place)) + self._of(self.mixture_bias, place)
            )
        return found

    def _of(self, weight, column, axis=0):
        return ops.take(ops.convert_to_tensor(weight), column, axis=axis)

    def _distribution(self, encoded, seen, column):
        """Probabilities of the classes and parameters of the mixture, arrays (n, ...) or None."""

        def parameters(encoded, seen):
            inputs = self.features(encoded), seen.astype("float32")
            return self._parameters.run(inputs, (np.int32(column),))

        found = in_blocks(parameters, (encoded, seen))
        classes = found[0] if column < len(self.classes) else None
        mixture = found[-1] if column >= self.first_mixture else None
        return None if classes is None else conditionals.softmax(classes.astype("float64")), mixture

    def draw(self, encoded, given, target, rng):
        """`encoded` with the columns of T drawn from p(x_T | x_G), column after column."""
        encoded, seen = encoded.copy(), given.copy()
        for column in range(self.targets):
            rows = np.flatnonzero(target[:, column])
            if len(rows):
                found = self._distribution(encoded[rows], seen[rows], column)
                encoded[rows, column] = self._drawn(column, *found, rng)
                seen[rows, column] = True
        return encoded

    def _drawn(self, place, classes, mixture, rng):
        column = self.columns[place]
        if column.kind == "category":
            return conditionals.pick(classes, rng.uniform(size=len(classes)))
        drawn = conditionals.draw_mixture(mixture, rng)
        if column.kind == "real":
            return drawn
        drawn = column.decode(drawn)
        if classes is not None:
            chosen = conditionals.pick(classes, rng.uniform(size=len(classes)))
            drawn = np.where(chosen < classes.shape[1] - 1, column.values[0] + chosen, drawn)
        return column.encode(drawn)[0]

    def ranks(self, encoded, given, column, rng):
        """The part of p(x_k | x_G) that lies below each x_k; of what lies at it a uniform part, (n,)."""
        classes, mixture = self._distribution(encoded, given, column)
        described, y = self.columns[column], encoded[:, column]
        if described.kind == "real":
            return conditionals.mixture_below(y, mixture)
        uniform = rng.uniform(size=len(y))
        if described.kind == "category":
            return _between(np.cumsum(classes, axis=1), y.astype(int), uniform)
        half = 0.5 / described.scale
        at_low, at_high = (
            np.asarray(edge)[:, column - self.first_mixture]
            for edge in self._edges(encoded[:, self.first_mixture : self.targets].astype("float32"))
        )
        low = np.where(at_low, 0, conditionals.mixture_below(y - half, mixture))
        high = np.where(at_high, 1, conditionals.mixture_below(y + half, mixture))
        rank = low + uniform * (high - low)
        if classes is None:
            return rank
        place = classes_of(described, y)
        count = class_count(described)
        own = np.cumsum(classes[:, :count], axis=1)
        total = np.concatenate([np.zeros((len(y), 1)), own], axis=1)
        rows = np.arange(len(y))
        before = total[rows, np.clip(place, 0, count).astype(int)]
        here = np.where(
            (place >= 0) & (place < count), total[rows, np.clip(place + 1, 0, count).astype(int)] - before, 0
        )
        return before + uniform * here + classes[:, -1] * rank

    # Keras.

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """-mean(y log p), where the targets y are weights of the rows."""
        return -ops.mean(ops.reshape(y, ops.shape(y_pred)) * y_pred)

    def get_config(self):
        return {
            **super().get_config(),
            "columns": Schema(tuple(self.columns)).as_dicts(),
            "targets": self.targets,
            "width": self.width,
            "blocks": self.blocks,
            "components": self.components,
        }


def _between(cumulative, places, uniform):
    """A uniform part of the way over the step of each place of cumulative probabilities."""
    rows = np.arange(len(places))
    high = cumulative[rows, places]
    low = np.where(places > 0, cumulative[rows, places - 1], 0)
    return low + uniform * (high - low)
