"""Maximum likelihood training by Keras's own `fit`."""

import math
from typing import Any

import keras
from keras import ops

from flowzoo import backend, checks, replicas, values
from flowzoo.divergence import watched
from flowzoo.intake import Intake, first_batches, joined
from flowzoo.metrics import bits_per_dim
from flowzoo.types import ArrayLike, Tensor

MOST_EXAMPLES = 1024  # that layers such as ActNorm start from
MOST_NUMBERS = 2**20  # in these: of images fewer suffice


class MaximumLikelihood(keras.Model):
    """What `Flow` adds to Keras's training: loss = -mean(log_prob), and data that are only x.

    `call` gives the log-density of a batch; the loss is its negative mean and image flows also
    report bits/dim. Layers that start from data do so before the first step.
    """

    trains_by = "by maximum likelihood"

    def compile(
        self,
        optimizer: str | keras.Optimizer = "adam",
        loss: Any = None,
        loss_weights: None = None,
        metrics: None = None,
        weighted_metrics: None = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: str | bool = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Keras's `compile`, without a loss and without metrics, which compare predictions with targets.

        `jit_compile="auto"` uses XLA on JAX, on GPUs, and on TensorFlow's CPU for models without
        convolutions.

        Raises: ValueError for a loss or metrics; the model stays as it was.
        """
        if loss is not None or loss_weights is not None:
            raise ValueError(
                f"{self.name} trains {self.trains_by} and takes no loss: call compile(optimizer=...)."
            )
        if metrics or weighted_metrics:
            raise ValueError(
                f"{self.name} takes no metrics, which compare predictions with targets: it has no targets. "
                "It reports its loss in nats; for other figures give fit a callback that calls the model's "
                "methods, such as keras.callbacks.LambdaCallback(on_epoch_end=...)."
            )
        super().compile(
            optimizer=optimizer,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=self.prefers_xla if jit_compile == "auto" else jit_compile,
            auto_scale_loss=auto_scale_loss,
        )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model as it was; Keras leaves a class with a `compile` of its own to do so."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self._build_optimizer()

    def _build_optimizer(self):
        """Before the first step: built within the traced step, it would have TensorFlow trace that twice."""
        if self.compiled and self.optimizer is not None and not self.optimizer.built:
            with backend.variable_scope(self):
                self.optimizer.build(self.trainable_variables)

    def fit(
        self,
        x: Any = None,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: ArrayLike | None = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
    ) -> keras.callbacks.History:
        """`keras.Model.fit` by maximum likelihood: loss = -mean(weight * log_prob), in nats per example.

        Data are arrays, frames of pandas, lists of rows, a `tf.data.Dataset`, a `keras.utils.PyDataset` or
        a generator of batches. A conditional flow takes pairs: `fit(x, c)`, `fit((x, c))`, or a dataset of
        (x, c). Weights go into `sample_weight`, or into the data (`validation_data` too) as
        (x, None, weights) or (x, c, weights); or all by name, {"x": x, "context": c, "sample_weight": w}.
        `class_weight` weighs by a context that is a label. All other arguments are those of Keras.

        Raises: ValueError or TypeError for data that do not fit the model; RuntimeError, with the epoch
            and the batch, when the loss is no longer finite, unless `callbacks` hold Keras's
            `TerminateOnNaN`, which ends the training without an error.
        """
        x = self._initialize_from(self._taken(x, y, sample_weight, class_weight), batch_size or 32)
        if validation_data is not None:
            validation_data = self._taken(validation_data)
        self._build_optimizer()
        return super().fit(
            x,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=watched(callbacks),
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle and not hasattr(x, "__next__") and not hasattr(x, "element_spec"),
            class_weight=class_weight if hasattr(x, "element_spec") else None,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
            validation_freq=validation_freq,
        )

    def evaluate(
        self,
        x: Any = None,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: ArrayLike | None = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """`keras.Model.evaluate`: the loss, mean(-weight * log_prob) in nats, of data as `fit` takes them."""
        if not kwargs.get("_use_cached_eval_dataset"):  # fit has taken its validation data
            x = self._taken(x, y, sample_weight)
        return super().evaluate(
            x,
            batch_size=batch_size,
            verbose=verbose,
            steps=steps,
            callbacks=callbacks,
            return_dict=return_dict,
            **kwargs,
        )

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """`keras.Model.predict`: what calling the model gives, of data as `fit` takes them."""
        return super().predict(self._taken(x), batch_size, verbose, steps, callbacks)

    def train_on_batch(
        self,
        x: Any,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """`keras.Model.train_on_batch`, of one batch as `fit` takes it."""
        batch = self._taken(x, y, sample_weight, class_weight)
        self._initialize_from(batch, None)
        self._build_optimizer()
        return super().train_on_batch(batch, return_dict=return_dict)

    def test_on_batch(
        self,
        x: Any,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        return_dict: bool = False,
    ) -> Any:
        """`keras.Model.test_on_batch`, of one batch as `fit` takes it."""
        return super().test_on_batch(self._taken(x, y, sample_weight), return_dict=return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """`keras.Model.predict_on_batch`, of one batch as `fit` takes it."""
        return super().predict_on_batch(self._taken(x))

    def __sklearn_tags__(self):
        """What scikit-learn's pipelines ask estimators for."""
        raise NotImplementedError(
            f"{self.name} is a Keras model and no estimator of scikit-learn, so no step of its Pipeline. Fit "
            "the steps before it, and the model on what they give: x = pipeline.fit_transform(data); "
            "flow.fit(x)."
        )

    @property
    def _intake(self):
        """How the model takes data."""
        return Intake(self.name, self.event_shape, self.context_shape)

    def _taken(self, x, y=None, sample_weight=None, class_weight=None):
        """Data as `Intake.take` gives them, of values that the model knows."""
        data = self._intake.take(x, y, sample_weight, class_weight)
        if isinstance(data, dict):
            self._check_values(data["x"], data.get("context"))
        return data

    def _check_values(self, x, context=None):
        """Refuses checked arrays of values that the model does not know."""

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing, for a flow is built: under a strategy Keras would average the replicas' parts of a batch
        here, which fails where their sizes differ."""

    def _initialize_from(self, data, batch_size):
        """Checks the data, of a dataset the first batches, and initializes from them; loses nothing."""
        most = batch_size or 1
        if self.needs_initialization:
            most = max(most, min(MOST_EXAMPLES, MOST_NUMBERS // math.prod(self.event_shape)))
        first, data = first_batches(data, most)
        whole = all(
            hasattr(part, "__array__") for part in keras.tree.flatten(first)
        )  # not in replicas' parts
        if not whole and not self.needs_initialization:
            return data
        found = joined([self._intake.batch(replicas.first_batch(batch)) for batch in first])
        if whole:
            self._check_training(data if isinstance(data, dict) else found)
        batch = [found[key] for key in ("x", "context") if key in found]
        if self.needs_initialization:
            self.initialize(*batch)
        if whole:
            self._check_start(*batch)
        return data

    @property
    def needs_initialization(self) -> bool:
        """Whether a layer still waits for data to start from."""
        return self.chain.needs_initialization

    def _key(self, seed, draws=True):
        """The key of random numbers that a seed gives; without one, the model's own generator.

        Where nothing is drawn no generator moves on.
        """
        if not draws and (seed is None or isinstance(seed, keras.random.SeedGenerator)):
            seed = 0
        return backend.random_key(self.seed_generator if seed is None else seed)

    @property
    def prefers_xla(self) -> bool:
        """Whether it runs faster compiled by XLA: TensorFlow's own convolutions are the faster on a CPU.

        TensorFlow compiles no program whose variables lie on several devices.
        """
        if backend.name == "tensorflow" and self.distribute_strategy.num_replicas_in_sync > 1:
            return False
        return backend.prefers_xla(convolutions=any(len(weight.shape) == 4 for weight in self.weights))

    def compute_loss(
        self,
        x: Any = None,
        y: ArrayLike | None = None,
        y_pred: Any = None,
        sample_weight: ArrayLike | None = None,
        training: bool = True,
    ) -> Tensor:
        return self._share(replicas.global_mean(weighted(-y_pred, sample_weight), 0))

    def _share(self, loss):
        """A replica's share of `loss` and the regularizers: Keras adds up the gradients of all replicas."""
        return sum(self.losses, start=loss) / replicas.count()

    def compute_metrics(
        self, x: Any, y: ArrayLike, y_pred: Any, sample_weight: ArrayLike | None = None
    ) -> dict[str, Any]:
        if self.is_image_flow:
            self.bits_per_dim_tracker.update_state(bits_per_dim(y_pred, self.dimensions), sample_weight)
        return super().compute_metrics(x, y, None, sample_weight)

    def train_step(self, *state_and_data: Any) -> Any:
        return replicas.reducible(super().train_step(*state_and_data[:-1], self._packed(state_and_data[-1])))

    def test_step(self, *state_and_data: Any) -> Any:
        return replicas.reducible(super().test_step(*state_and_data[:-1], self._packed(state_and_data[-1])))

    def predict_step(self, *state_and_data: Any) -> Any:
        return super().predict_step(*state_and_data[:-1], self._packed(state_and_data[-1]))

    def _packed(self, data):
        """(inputs of `call`, None, sample_weight) from what a dataset gives.

        As tensors, whose values nobody looks at: NaN is found in the loss, with its epoch and batch.
        """
        found = keras.tree.map_structure(ops.convert_to_tensor, self._intake.batch(data))
        inputs = (found["x"], found["context"]) if "context" in found else found["x"]
        return inputs, None, found.get("sample_weight")

    def _check_training(self, data):
        """Refuses data, a dict as `Intake` makes it, that the model should not train on."""
        x, context = values.seen(data["x"]), data.get("context")
        if x is None:
            return
        x = checks.array("x", x, self.event_shape)
        if context is not None:
            context = checks.array("context", values.seen(context), self.context_shape)
        self._check_values(x, context)
        self._check_training_values(x)

    def _check_training_values(self, x):
        """For a model that does not take all values that it computes with."""

    def _check_start(self, x, context=None):
        """For a model that can find out from its first batch that training is in vain."""


def weighted(values, sample_weight):
    """Each value (batch,) times its weight, if there are weights."""
    if sample_weight is None:
        return values
    return ops.reshape(ops.cast(sample_weight, values.dtype), ops.shape(values)) * values
