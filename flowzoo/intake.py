"""What Keras users give to `fit` and its kin, made one thing: x, its context and its sample weights."""

import collections.abc
import dataclasses
import itertools

import keras
import numpy as np
from keras import ops

from flowzoo import checks

KEYS = ("x", "context", "sample_weight")
MOST_BATCHES = 32  # that training starts from


@dataclasses.dataclass(frozen=True)
class Intake:
    """How a model takes data: arrays, or a dataset whose batches have one of these forms.

        x    (x,)    (x, None, sample_weight)
        (x, context)    (x, context, sample_weight)    ((x, context),)    ((x, context), None, sample_weight)
        {"x": ..., "context": ..., "sample_weight": ...}

    Each becomes the dict, without what was not given. A list is one of these forms where its first entry
    has as many dimensions as a batch; else it is an array, example by example.

    Arguments:
        name: of the model, for messages.
        event_shape: shape of one example.
        context_shape: shape of one example's context, or None for a model that takes none.

    Example:
        >>> found = Intake("flow", (2,), None).take([[1, 2], [3, 4]], sample_weight=[0.5, 1.5])
        >>> found["x"].shape, found["sample_weight"].tolist()
        ((2, 2), [0.5, 1.5])
    """

    name: str
    event_shape: tuple
    context_shape: tuple | None

    def take(self, x, y=None, sample_weight=None, class_weight=None):
        """The dict of checked arrays, or a dataset.

        Raises: ValueError or TypeError for what is no data of the model, and for a context or weights
            that are missing, superfluous, or of another number of examples.
        """
        if not is_dataset(x):
            return self.arrays(x, y, sample_weight, class_weight)
        if y is not None or sample_weight is not None:
            raise ValueError(
                "A dataset gives context and sample weights with each batch, as (x, context, sample_weight) "
                'or {"x": ..., "context": ..., "sample_weight": ...}; leave y and sample_weight out.'
            )
        if isinstance(x, keras.utils.PyDataset):
            return _Arranged(x, self, class_weight)
        if hasattr(x, "__next__"):
            return ((self.batch(data, class_weight),) for data in x)
        if class_weight is not None:
            self._check_pairs(x)  # Keras makes weights of them
        return x

    def arrays(self, x, y=None, sample_weight=None, class_weight=None):
        """The dict of arrays with all examples."""
        x, context, weight = self.parts(x, y, sample_weight)
        found = {"x": checks.array("x", x, self.event_shape)}
        if context is not None:
            found["context"] = checks.array("context", context, self.context_shape)
        return self._weighted(found, weight, class_weight)

    def batch(self, data, class_weight=None):
        """The dict of what a dataset gives, as arrays or tensors of whatever values."""
        x, context, weight = self.parts(data)
        found = {"x": checks.ranked(checks.numbers("x", x), self.event_shape)}
        if context is not None:
            found["context"] = checks.ranked(checks.numbers("context", context), self.context_shape)
        return self._weighted(found, weight, class_weight)

    def parts(self, data, context=None, weight=None):
        """x, context or None, sample weights or None, of data of any form, as they are."""
        if isinstance(data, dict):
            self._check_keys(data)
            given = [data.get(key) for key in KEYS]
        elif isinstance(data, (tuple, list)) and not self._is_array(data):
            if len(data) > len(KEYS):
                raise ValueError(
                    f"Data are x, (x, context) or (x, context, sample_weight); got {len(data)} parts."
                )
            given = [*data, None, None][: len(KEYS)]
        else:
            self._check_context(data, context)
            return data, context, weight
        context = _the_one("context", given[1], context)
        return self.parts(given[0], context, _the_one("sample_weight", given[2], weight))

    def _is_array(self, data):
        """Whether a list or tuple holds examples, rather than x, context and weights."""
        if not data:
            return True
        if data[0] is None or isinstance(data[0], dict):
            return False
        shape = _shape(data[0])
        if len(shape) != len(self.event_shape):
            return len(shape) < len(self.event_shape)
        return shape == self.event_shape or set(self.event_shape) != {1}  # n single numbers may be (n,)

    def _check_keys(self, data):
        if "x" not in data or not set(data) <= set(KEYS):
            raise ValueError(
                f'A dict of data has the keys "x" and, if need be, "context" and "sample_weight"; got '
                f"{', '.join(map(repr, data)) or 'none'}. Columns under names of their own make one array: "
                "np.stack(list(columns.values()), axis=-1)."
            )

    def _check_context(self, x, context):
        if x is None:
            raise ValueError(f"{self.name} needs data: x is None.")
        if self.context_shape is None and context is not None:
            raise ValueError(
                f"{self.name} takes no context, but the data are pairs. Give x alone, with weights as "
                "sample_weight= or (x, None, sample_weight), or build the flow with context_shape=."
            )
        if self.context_shape is not None and context is None:
            raise ValueError(
                f"{self.name} is conditional and needs pairs (x, context); the data hold x alone. "
                f"The context has shape ({checks.sizes(self.context_shape)})."
            )

    def _weighted(self, found, weight, class_weight):
        """`found` with the sample weights, if any, once all are found to be of one number of examples."""
        if class_weight is not None:
            weight = _the_one("sample_weight (by class_weight)", weight, self._weights(found, class_weight))
        if weight is not None:
            found["sample_weight"] = checks.array("sample_weight", weight, ())
        for key, part in found.items():
            n, count = found["x"].shape[0], part.shape[0]
            if None not in (n, count) and n != count:
                raise ValueError(f"x has {n} examples, but {key} has {count}.")
        return found

    def _weights(self, found, class_weight):
        """The weight of each example by its label, which is its context: an integer, or one-hot."""
        if "context" not in found:
            raise ValueError(
                f"class_weight weighs the labels of a flow whose context they are; {self.name} takes none. "
                "Give sample_weight=."
            )
        context = ops.convert_to_numpy(found["context"])
        context = context.reshape(len(context), -1)
        labels = context[:, 0] if context.shape[1] == 1 else context.argmax(axis=1)
        rows = labels[:, None] if context.shape[1] == 1 else np.eye(context.shape[1])[labels]
        if (rows != context).any() or (labels != np.rint(labels)).any():
            raise ValueError(
                "class_weight needs labels for a context, integers or one-hot; these are other numbers. "
                "Give sample_weight=."
            )
        return np.array([class_weight.get(int(label), 1.0) for label in labels], "float32")

    def _check_pairs(self, data):
        spec = getattr(data, "element_spec", None)
        if not isinstance(spec, tuple) or len(spec) != 2 or isinstance(spec[1], (tuple, dict)):
            raise ValueError(
                "class_weight needs a dataset of pairs (x, label), or arrays; else give sample weights, as "
                "(x, context, sample_weight)."
            )


class _Arranged(keras.utils.PyDataset):
    """A PyDataset whose batches are dicts."""

    def __init__(self, dataset, intake, class_weight):
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self.dataset, self.intake, self.class_weight = dataset, intake, class_weight

    @property
    def num_batches(self):
        return self.dataset.num_batches

    def __getitem__(self, index):
        return (self.intake.batch(self.dataset[index], self.class_weight),)

    def on_epoch_begin(self):
        self.dataset.on_epoch_begin()

    def on_epoch_end(self):
        self.dataset.on_epoch_end()


def is_dataset(x):
    """Whether `x` gives batches: a PyDataset, a generator, a `tf.data.Dataset`, a loader of another kind."""
    if isinstance(x, keras.utils.PyDataset) or hasattr(x, "__next__") or hasattr(x, "element_spec"):
        return True
    is_array = hasattr(x, "__array__") or isinstance(x, (dict, set, collections.abc.Sequence))
    return hasattr(x, "__iter__") and not is_array


def first_batches(data, most):
    """The first batches of what `take` gave, and the data, nothing of them lost.

    The batches have `most` examples together, or fewer where they are small. Of arrays they are one, spread
    evenly over all examples, which may be sorted.
    """
    if isinstance(data, dict):
        return [keras.tree.map_structure(lambda part: _spread_over(part, most), data)], data
    if isinstance(data, keras.utils.PyDataset):
        places = itertools.count() if data.num_batches is None else range(data.num_batches)
        first = _first((data[i] for i in places), most)
    else:
        first = _first(data if hasattr(data, "__next__") else iter(data), most)
    if not first:
        raise ValueError("The dataset gives no batch: it is empty, or was used up before.")
    if hasattr(data, "__next__"):
        data = (batch for batch in itertools.chain(first, data))
    return first, data


def joined(batches):
    """One dict of the examples of several, without those from where the first not finite ones are.

    Training stops at these, and says where they are; the very first batch is left to other checks.
    """
    batches = [batches[0], *itertools.takewhile(_is_finite, batches[1:])]
    if len(batches) == 1:
        return batches[0]
    return {
        key: np.concatenate([ops.convert_to_numpy(batch[key]) for batch in batches]) for key in batches[0]
    }


def _is_finite(batch):
    return all(np.isfinite(ops.convert_to_numpy(part)).all() for part in batch.values())


def _spread_over(values, most):
    if values.shape[0] <= most:
        return values
    places = np.linspace(0, values.shape[0] - 1, most).astype("int32")
    return ops.take(values, places, axis=0) if ops.is_tensor(values) else values[places]


def _first(batches, most):
    taken, count = [], 0
    for batch in itertools.islice(batches, MOST_BATCHES):
        taken.append(batch)
        count += keras.tree.flatten(batch)[0].shape[0]
        if count >= most:
            break
    return taken


def _the_one(what, one, other):
    if one is not None and other is not None:
        raise ValueError(f"{what} is given twice; give it once.")
    return other if one is None else one


def _shape(value):
    """The shape of an array, or of nested lists by their first entries."""
    if hasattr(value, "shape"):
        return tuple(value.shape)
    if isinstance(value, (tuple, list)):
        return (len(value), *(_shape(value[0]) if value else ()))
    return ()
