"""Maximum likelihood training by Keras's own `fit`."""

import itertools
import math

import keras
import numpy as np
from keras import ops

from flowzoo import backend, checks, replicas
from flowzoo.metrics import bits_per_dim

MOST_EXAMPLES = 1024  # that layers such as ActNorm start from
MOST_NUMBERS = 2**20  # in these: of images fewer suffice
MOST_BATCHES = 32


class MaximumLikelihood(keras.Model):
    """What `Flow` adds to Keras's training: loss = -mean(log_prob), and data that are only x.

    `call` gives the log-density of a batch; the loss is its negative mean and image flows also
    report bits/dim. Layers that start from data do so before the first step.
    """

    def compile(self, optimizer="adam", *, jit_compile="auto", **kwargs):
        """Keras's `compile`, without a loss.

        `jit_compile="auto"` uses XLA on JAX, on GPUs, and on TensorFlow's CPU for models without
        convolutions.
        """
        if jit_compile == "auto":
            jit_compile = self.prefers_xla
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)

    def compile_from_config(self, config):
        """Compiles a loaded model as it was; Keras leaves a class with a `compile` of its own to do so."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self._build_optimizer()

    def _build_optimizer(self):
        if self.optimizer is not None and not self.optimizer.built:
            with backend.variable_scope(self):
                self.optimizer.build(self.trainable_variables)

    def fit(self, x=None, y=None, **kwargs):
        """`keras.Model.fit` by maximum likelihood: loss = -mean(log_prob), in nats per example.

        Data are arrays, a `tf.data.Dataset`, a `keras.utils.PyDataset` or a generator of
        batches. A conditional flow takes pairs: `fit((x, c))`, `fit(x, c)`, or a dataset of
        (x, c). All other arguments are those of Keras.
        """
        if hasattr(x, "__next__") or hasattr(x, "element_spec"):  # a generator, a tf.data.Dataset
            kwargs.setdefault("shuffle", False)  # Keras cannot, and warns that it does not
        x = self._initialize_from(x, y, kwargs.get("batch_size") or 32)
        if self.compiled:
            # Built within the traced step, it would have TensorFlow trace that step twice.
            self._build_optimizer()
        return super().fit(x, y, **kwargs)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing, for a flow is built: under a strategy Keras would average the replicas' parts of a batch
        here, which fails where their sizes differ."""

    def _initialize_from(self, x, y, batch_size):
        """Initializes from some of the data; gives back the data, nothing of them lost."""
        if x is None:
            raise ValueError("fit needs data: x is None.")
        needed = self.needs_initialization
        most = max(batch_size, min(MOST_EXAMPLES, MOST_NUMBERS // math.prod(self.event_shape)))
        if _is_arrays(x):
            data = (x,) if y is None else (x, y)
            self._check_arrays(self._packed(data)[0])
            batches = [keras.tree.map_structure(lambda a: _spread_over(a, most), data)]
        elif not needed:
            return x
        elif isinstance(x, keras.utils.PyDataset):
            places = itertools.count() if x.num_batches is None else range(x.num_batches)
            batches = _first((x[i] for i in places), most)
        elif hasattr(x, "__next__"):
            batches = _first(x, most)
            x = (batch for batch in itertools.chain(batches, x))
        else:
            batches = _first(iter(x), most)
        if needed:
            inputs = [self._packed(batch)[0] for batch in batches]
            inputs = replicas.first_batch(keras.tree.map_structure(_joined, *inputs))
            self.initialize(*(inputs if self.context_shape is not None else [inputs]))
        return x

    @property
    def needs_initialization(self):
        """Whether a layer still waits for data to start from."""
        return self.chain.needs_initialization

    def _key(self, seed):
        """The key of random numbers that a seed gives; without one, the model's own generator."""
        return backend.random_key(self.seed_generator if seed is None else seed)

    @property
    def prefers_xla(self):
        """Whether it runs faster compiled by XLA: TensorFlow's own convolutions are the faster on a CPU.

        TensorFlow compiles no program whose variables lie on several devices.
        """
        if backend.name == "tensorflow" and self.distribute_strategy.num_replicas_in_sync > 1:
            return False
        return backend.prefers_xla(convolutions=any(len(weight.shape) == 4 for weight in self.weights))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if self.loss is not None:
            raise ValueError(
                "A flow trains by maximum likelihood and takes no loss: call compile(optimizer=...)."
            )
        negative_log_prob = -y_pred
        if sample_weight is not None:
            negative_log_prob = ops.cast(sample_weight, y_pred.dtype) * negative_log_prob
        return self._share(replicas.global_mean(negative_log_prob, 0))

    def _share(self, loss):
        """A replica's share of `loss` and the regularizers: Keras adds up the gradients of all replicas."""
        return sum(self.losses, start=loss) / replicas.count()

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        if self.is_image_flow:
            self.bits_per_dim_tracker.update_state(bits_per_dim(y_pred, self.dimensions), sample_weight)
        return super().compute_metrics(x, y, None, sample_weight)

    def train_step(self, *state_and_data):
        return replicas.reducible(super().train_step(*state_and_data[:-1], self._packed(state_and_data[-1])))

    def test_step(self, *state_and_data):
        return replicas.reducible(super().test_step(*state_and_data[:-1], self._packed(state_and_data[-1])))

    def predict_step(self, *state_and_data):
        return super().predict_step(*state_and_data[:-1], self._packed(state_and_data[-1]))

    def _packed(self, data):
        """(inputs of `call`, None, sample_weight) from what a dataset gives."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if self.context_shape is None:
            if y is not None or isinstance(x, (tuple, list)):
                raise ValueError(
                    f"{self.name} takes no context, but the data are pairs. Give x alone, or build the "
                    "flow with context_shape=."
                )
            inputs = x
        else:
            inputs = (x, y) if y is not None else x
            if not isinstance(inputs, (tuple, list)) or len(inputs) != 2:
                raise ValueError(
                    f"{self.name} is conditional and needs pairs (x, context); the data hold x alone. "
                    f"Give fit((x, context)), with context of shape (batch, {self.context_shape})."
                )
        return inputs, None, sample_weight

    def _check_arrays(self, inputs):
        if self.context_shape is None:
            checks.array("x", inputs, self.event_shape)
        else:
            checks.array("x", inputs[0], self.event_shape)
            checks.array("context", inputs[1], self.context_shape)


def _is_arrays(x):
    return all(
        isinstance(part, np.ndarray) or ops.is_tensor(part) or np.isscalar(part)
        for part in keras.tree.flatten(x)
    )


def _spread_over(values, most):
    """At most so many of `values`, evenly over their first axis, for they may be sorted."""
    if values.shape[0] <= most:
        return values
    places = np.linspace(0, values.shape[0] - 1, most).astype("int32")
    return ops.take(values, places, axis=0) if ops.is_tensor(values) else values[places]


def _first(batches, most):
    """The first of `batches`, with so many examples together, or fewer where they are small."""
    taken, count = [], 0
    for batch in itertools.islice(batches, MOST_BATCHES):
        taken.append(batch)
        count += keras.tree.flatten(batch)[0].shape[0]
        if count >= most:
            break
    return taken


def _joined(*parts):
    return parts[0] if len(parts) == 1 else np.concatenate([ops.convert_to_numpy(part) for part in parts])
