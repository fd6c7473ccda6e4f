"""The ways in which Keras takes data and weights, each with the result that it must have."""

import functools

import keras
import numpy as np
import pandas as pd
import pytest
from cases import VAES
from helpers import data_for, numpy

import flowzoo
from flowzoo.intake import Intake
from flowzoo.testing import perturb

N, BATCH = 32, 8


class Batches(keras.utils.PyDataset):
    """What `form` makes of each batch of arrays, any of which may be None."""

    def __init__(self, form, *arrays, **kwargs):
        super().__init__(**kwargs)
        self.form, self.arrays = form, arrays

    def __len__(self):
        return N // BATCH

    def __getitem__(self, index):
        part = slice(index * BATCH, (index + 1) * BATCH)
        return self.form(*(None if array is None else array[part] for array in self.arrays))


def by_name(x, c, w):
    named = {"x": x, "context": c, "sample_weight": w}
    return {key: value for key, value in named.items() if value is not None}


def batches(form, x, c, w):
    return (batch for batch in Batches(form, x, c, w))


def tf_data(form, x, c, w):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(by_name(x, c, w)).batch(BATCH)
    return data.map(lambda batch: form(batch["x"], batch.get("context"), batch["sample_weight"]))


def triple(x, c, w):
    return x, c, w


def nested(x, c, w):
    return ((x, c), None, w) if c is not None else (x, None, w)


def framed(x, c, w):
    return pd.DataFrame(x), None if c is None else pd.DataFrame(c), pd.Series(w)


# name -> what makes of x, context (or None) and weights the data and what else fit and evaluate are given.
FORMS = {
    "arrays": lambda x, c, w: (x, {"y": c, "sample_weight": w}),
    "weights as a column": lambda x, c, w: (x, {"y": c, "sample_weight": w[:, None]}),
    "tuple and weights": lambda x, c, w: ((x,) if c is None else (x, c), {"sample_weight": w}),
    "list and weights": lambda x, c, w: ([x] if c is None else [x, c], {"sample_weight": w}),
    "tuple of all": lambda x, c, w: ((x, c, w), {}),
    "nested tuple": lambda x, c, w: (nested(x, c, w), {}),
    "dict": lambda x, c, w: (by_name(x, c, w), {}),
    "dict and weights": lambda x, c, w: (by_name(x, c, None), {"sample_weight": w}),
    "lists of rows": lambda x, c, w: (
        x.tolist(),
        {"y": None if c is None else c.tolist(), "sample_weight": w.tolist()},
    ),
    "list of arrays": lambda x, c, w: (list(x), {"y": None if c is None else list(c), "sample_weight": w}),
    "frames": lambda x, c, w: (
        framed(x, c, w)[0],
        dict(zip(("y", "sample_weight"), framed(x, c, w)[1:], strict=True)),
    ),
    "nullable frames": lambda x, c, w: (
        pd.DataFrame(x).convert_dtypes(),
        {
            "y": None if c is None else pd.DataFrame(c).astype(object),
            "sample_weight": pd.Series(w, dtype="Float64"),
        },
    ),
    "PyDataset": lambda x, c, w: (Batches(triple, x, c, w), {}),
    "PyDataset, nested": lambda x, c, w: (Batches(nested, x, c, w), {}),
    "PyDataset of dicts": lambda x, c, w: (Batches(by_name, x, c, w), {}),
    "PyDataset of frames": lambda x, c, w: (Batches(framed, x, c, w), {}),
    "PyDataset of two threads": lambda x, c, w: (Batches(triple, x, c, w, workers=2), {}),
    "generator": lambda x, c, w: (batches(triple, x, c, w), {}),
    "generator, nested": lambda x, c, w: (batches(nested, x, c, w), {}),
    "generator of dicts": lambda x, c, w: (batches(by_name, x, c, w), {}),
    "generator of lists": lambda x, c, w: (batches(lambda *parts: list(parts), x, c, w), {}),
    "tf.data": lambda x, c, w: (tf_data(triple, x, c, w), {}),
    "tf.data, nested": lambda x, c, w: (tf_data(nested, x, c, w), {}),
    "tf.data of dicts": lambda x, c, w: (tf_data(by_name, x, c, w), {}),
}
DATASETS = ("PyDataset", "generator", "tf.data")


def data(conditional):
    x = data_for((3,), n=N)
    context = data_for((2,), n=N, seed=1) if conditional else None
    weights = np.random.default_rng(2).uniform(0, 2, N).astype("float32")
    return x, context, weights


@functools.cache
def trained(conditional):
    """A flow, its weights, and those after an epoch with sample weights, whose losses are computed here."""
    flow = flowzoo.RealNVP(
        standardize=False,
        event_shape=3,
        couplings=2,
        hidden_units=(8,),
        normalization=None,
        context_shape=2 if conditional else None,
    )
    perturb(flow)
    flow.compile(optimizer=keras.optimizers.SGD(0.05))
    start = flow.get_weights()
    x, context, weights = data(conditional)
    losses = []
    for i in range(0, N, BATCH):
        part = slice(i, i + BATCH)
        log_prob = numpy(flow.log_prob(x[part], None if context is None else context[part]))
        losses.append(-(weights[part] * log_prob).mean())
        inputs = x[part] if context is None else (x[part], context[part])
        flow.train_on_batch(inputs, sample_weight=weights[part])
    return flow, start, flow.get_weights(), np.mean(losses)


# Without a context, those forms that differ then.
ALONE = (
    "arrays",
    "list and weights",
    "nested tuple",
    "dict",
    "list of arrays",
    "PyDataset, nested",
    "generator",
)
CASES = [*((form, True) for form in FORMS), *((form, False) for form in ALONE)]


@pytest.mark.parametrize(("form", "conditional"), CASES)
def test_weights_count_in_every_form_of_data(form, conditional):
    flow, start, expected, loss = trained(conditional)
    x, context, weights = data(conditional)
    arrays = {} if form.startswith(DATASETS) else {"batch_size": BATCH}

    flow.set_weights(start)
    given, rest = FORMS[form](x, context, weights)
    found = flow.evaluate(given, **rest, **arrays, verbose=0)
    plain = flow.log_prob(x, context)
    np.testing.assert_allclose(found, -(weights * numpy(plain)).mean(), rtol=1e-5)

    # Validation data are one thing, which holds all.
    whole = "tuple of all" if set(rest) - {"y"} or rest.get("y") is not None else form
    validation = FORMS[whole](x, context, weights)[0]
    given, rest = FORMS[form](x, context, weights)
    history = flow.fit(given, **rest, **arrays, shuffle=False, validation_data=validation, verbose=0).history
    np.testing.assert_allclose(history["loss"], [loss], rtol=1e-5)
    for weight, wanted in zip(flow.get_weights(), expected, strict=True):
        np.testing.assert_allclose(weight, wanted, atol=1e-5)
    after = -(weights * numpy(flow.log_prob(x, context))).mean()
    np.testing.assert_allclose(history["val_loss"], [after], rtol=1e-5)


@pytest.mark.parametrize(("form", "conditional"), CASES)
def test_predict_takes_every_form_of_data(form, conditional):
    flow, start, _, _ = trained(conditional)
    flow.set_weights(start)
    x, context, weights = data(conditional)
    given, rest = FORMS[form](x, context, weights)
    given = given if rest.get("y") is None else (given, rest["y"])
    expected = numpy(flow.log_prob(x, context))
    np.testing.assert_allclose(flow.predict(given, verbose=0), expected, rtol=1e-5)


def test_one_batch_takes_weights():
    for conditional in (False, True):
        flow, start, _, _ = trained(conditional)
        x, context, weights = data(conditional)
        for form in (
            "arrays",
            "tuple and weights",
            "nested tuple",
            "dict",
            "lists of rows",
            "nullable frames",
        ):
            flow.set_weights(start)
            expected = -(weights * numpy(flow.log_prob(x, context))).mean()
            given, rest = FORMS[form](x, context, weights)
            np.testing.assert_allclose(flow.test_on_batch(given, **rest), expected, rtol=1e-5)
            np.testing.assert_allclose(flow.train_on_batch(given, **rest), expected, rtol=1e-5)
            assert not np.array_equal(flow.get_weights()[0], start[0])


def test_the_last_part_of_data_and_weights_validates():
    flow, start, _, _ = trained(True)
    flow.set_weights(start)
    x, context, weights = data(True)
    history = flow.fit(x, context, sample_weight=weights, validation_split=0.25, verbose=0).history
    expected = -(weights[24:] * numpy(flow.log_prob(x[24:], context[24:]))).mean()
    np.testing.assert_allclose(history["val_loss"], [expected], rtol=1e-5)


def test_arguments_stand_where_keras_has_them():
    flow, start, expected, loss = trained(True)
    flow.set_weights(start)
    x, context, weights = data(True)
    given = (x, context, BATCH, 1, 0, None, 0.0, None, False, None, weights)
    np.testing.assert_allclose(flow.fit(*given).history["loss"], [loss], rtol=1e-5)
    np.testing.assert_allclose(flow.get_weights()[0], expected[0], atol=1e-5)
    zeros = np.zeros(N)
    assert flow.evaluate(x, context, BATCH, 0, zeros) == 0
    assert flow.train_on_batch(x, context, zeros) == 0


def test_weights_decide_between_two_components():
    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(-3, 0.5, (200, 1)), rng.normal(3, 0.5, (200, 1))]
    weights = np.r_[np.full(200, 1.75), np.full(200, 0.25)]
    flow = flowzoo.MAF(
        event_shape=1, autoregressive_layers=1, hidden_units=(8,), components=2, standardize=False
    )
    flow.compile(optimizer=keras.optimizers.Adam(0.03))
    flow.fit(x, sample_weight=weights, epochs=60, batch_size=100, verbose=0)
    share = (numpy(flow.sample(4000, seed=0)) < 0).mean()
    np.testing.assert_allclose(share, 7 / 8, atol=0.04)


# Classes.


@pytest.mark.parametrize("labels", ["integers", "a column", "one-hot", "PyDataset", "generator", "tf.data"])
def test_class_weights_are_those_of_the_context(labels):
    x, classes = data_for((3,), n=N), np.arange(N) % 3
    shape = {"a column": (1,), "one-hot": (3,)}.get(labels, ())
    context = {"a column": classes[:, None], "one-hot": np.eye(3)[classes]}.get(labels, classes)
    context = context.astype("float32")
    weights = np.array([2.0, 1.0, 0.0])[classes]
    losses = []
    flow = flowzoo.NICE(event_shape=3, couplings=2, hidden_units=(4,), context_shape=shape)
    flow.initialize(x, context)
    flow.compile(optimizer="sgd")
    start = flow.get_weights()
    for rest in ({"sample_weight": weights}, {"class_weight": {0: 2.0, 2: 0.0}}):
        flow.set_weights(start)
        given, y = x, context
        if "class_weight" in rest and labels in DATASETS:
            pairs = [(x[i : i + BATCH], context[i : i + BATCH]) for i in range(0, N, BATCH)]
            given, y = (pair for pair in pairs), None
            if labels == "PyDataset":
                given = Batches(lambda x, c: (x, c), x, context)
            if labels == "tf.data":
                import tensorflow as tf

                given = tf.data.Dataset.from_tensor_slices((x, context)).batch(BATCH)
        batch_size = None if y is None else BATCH
        losses.append(flow.fit(given, y, batch_size, shuffle=False, verbose=0, **rest).history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_class_weights_without_classes_are_explained():
    x, context, weights = data(True)
    plain, conditional = trained(False)[0], trained(True)[0]
    with pytest.raises(ValueError, match="whose context they are"):
        plain.fit(x, class_weight={0: 1.0})
    with pytest.raises(ValueError, match="class_weight needs labels"):
        conditional.fit(x, context, class_weight={0: 1.0})
    with pytest.raises(ValueError, match=r"sample_weight \(by class_weight\) is given twice"):
        conditional.fit(x, np.eye(2)[np.zeros(N, int)], class_weight={0: 1.0}, sample_weight=weights)
    with pytest.raises(ValueError, match="class_weight needs a dataset of pairs"):
        conditional.fit(tf_data(triple, x, context, weights), class_weight={0: 1.0})


# Data that do not fit.


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(5), "x has 32 examples, but sample_weight has 5"),
        (np.ones((N, 2)), r"sample_weight must have shape \(batch,\); got shape \(32, 2\)"),
        (np.full(N, np.nan), "sample_weight has NaN"),
        (1.0, "sample_weight must have shape"),
    ],
)
def test_weights_that_do_not_fit_are_explained(method, weights, message):
    x, context, _ = data(True)
    with pytest.raises(ValueError, match=message):
        getattr(trained(False)[0], method)(x, sample_weight=weights)
    with pytest.raises(ValueError, match=message):
        getattr(trained(True)[0], method)(x, context, sample_weight=weights)


@pytest.mark.parametrize("form", ["PyDataset", "generator", "tf.data"])
def test_weights_of_a_batch_that_do_not_fit_stop_fit(form):
    x, _, weights = data(False)
    given, _ = FORMS[form](x, None, np.repeat(weights[:, None], 2, axis=1))
    flow = flowzoo.NICE(event_shape=3, couplings=1, hidden_units=(4,))
    flow.compile("adam")
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(batch,\)"):
        flow.fit(given, verbose=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda flow, x: flow.fit(x, x), r"takes no context.*\(x, None, sample_weight\)"),
        (lambda flow, x: flow.fit((x, np.ones(N))), "takes no context"),
        (lambda flow, x: flow.fit(x, validation_data=(x, np.ones(N))), "takes no context"),
        (lambda flow, x: flow.evaluate(batches(triple, x, x, None)), "takes no context"),
        (
            lambda flow, x: flow.fit((x, None, np.ones(N)), sample_weight=np.ones(N)),
            "sample_weight is given twice",
        ),
        (
            lambda flow, x: flow.fit(Batches(triple, x, None, None), sample_weight=np.ones(N)),
            "leave y and sample_",
        ),
        (lambda flow, x: flow.fit((x, None, None, None)), "got 4 parts"),
        (lambda flow, x: flow.fit({"a": x[:, 0], "b": x[:, 1]}), "has the keys \"x\".*got 'a', 'b'"),
        (lambda flow, x: flow.fit(batch for batch in ()), "gives no batch"),
        (lambda flow, x: flow.fit([[1.0, 2.0, 3.0], [1.0, 2.0]]), "rows differ in length"),
    ],
)
def test_data_that_do_not_fit_are_explained(call, message):
    flow = flowzoo.RealNVP(event_shape=3, couplings=2, normalization="actnorm")
    flow.compile(optimizer="adam")
    with pytest.raises(ValueError, match=message):
        call(flow, data_for((3,), n=N))


def test_contexts_of_another_number_are_explained():
    flow = trained(True)[0]
    x, context, _ = data(True)
    with pytest.raises(ValueError, match="x has 32 examples, but context has 5"):
        flow.fit(x, context[:5])
    with pytest.raises(ValueError, match="needs pairs"):
        flow.predict(x)
    with pytest.raises(ValueError, match="context is given twice"):
        flow.fit((x, context), context)


def test_train_on_batch_starts_actnorm():
    flow = flowzoo.Flow([flowzoo.layers.ActNorm()], event_shape=2)
    flow.compile(optimizer=keras.optimizers.SGD(0.0))
    x = 3.0 + 2.0 * data_for((2,), n=64)
    flow.train_on_batch(x)
    np.testing.assert_allclose(numpy(flow.encode(x)).mean(axis=0), 0, atol=1e-4)


# Everything that holds numbers.


NUMBERS = {
    "list of rows": lambda x: x.tolist(),
    "tuple of rows": lambda x: tuple(map(tuple, x.tolist())),
    "list of arrays": list,
    "frame": pd.DataFrame,
    "nullable frame": lambda x: pd.DataFrame(x).astype("Float64"),
    "object frame": lambda x: pd.DataFrame(x).astype(object),
    "mixed frame": lambda x: pd.DataFrame(x).astype({0: "Float64", 1: object}),
    "object array": lambda x: x.astype(object),
    "float64": lambda x: x.astype("float64"),
    "masked array without a mask": np.ma.array,
    "tensor": keras.ops.convert_to_tensor,
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_every_method_takes_whatever_holds_numbers(kind):
    flow, start, _, _ = trained(True)
    flow.set_weights(start)
    x, context, _ = data(True)
    given, of = NUMBERS[kind](x), NUMBERS[kind](context)
    z = numpy(flow.encode(x, context))
    for found, expected in (
        (flow.log_prob(given, of), flow.log_prob(x, context)),
        (flow.encode(given, of), z),
        (flow.decode(NUMBERS[kind](z), of), flow.decode(z, context)),
        (flow.sample(N, of, seed=0), flow.sample(N, context, seed=0)),
        (flow.inverse_and_log_dets(given, of)[0], z),
        (flow.reconstruct(given, context=of), x),
        (flow.anomaly_score(given, of), flow.anomaly_score(x, context)),
        (flow.mean_latent(given, context=context[0]), flow.mean_latent(x, context=context[0])),
        (flow.measure(given, of)["log_likelihood"], flow.measure(x, context)["log_likelihood"]),
    ):
        np.testing.assert_allclose(numpy(found), numpy(expected), rtol=1e-4, atol=1e-5)
    flow.initialize(given, of)


def test_nullable_integers_and_booleans_are_numbers():
    frame = pd.DataFrame(
        {"a": pd.array([1, 2], "Int64"), "b": pd.array([True, False], "boolean"), "c": [0.5, 1]}
    )
    found = Intake("flow", (3,), None).take(frame)["x"]
    np.testing.assert_array_equal(found, [[1, 1, 0.5], [2, 0, 1]])


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (
            pd.DataFrame({"a": [1.0, np.nan], "b": 1.0, "c": 1.0}),
            ValueError,
            "NaN or missing values in column 'a'",
        ),
        (
            pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": 1, "c": 1}),
            ValueError,
            "values in column 'a'",
        ),
        (
            pd.DataFrame({"a": ["x", "y"], "b": 1, "c": 1}),
            TypeError,
            "array of numbers.* in column 'a', of a DataFrame",
        ),
        (pd.DataFrame({"a": pd.to_datetime(["2020", "2021"]), "b": 1.0, "c": 1}), TypeError, "in column 'a'"),
        ([["1", "2", "3"]], TypeError, "array of numbers"),
        (np.array([["1", "2", "3"]], object), TypeError, "array of numbers"),
        ([[1.0, 2.0, None]], ValueError, "NaN"),
        (np.ma.array(np.ones((2, 3)), mask=np.eye(2, 3)), ValueError, "masked"),
        ([[1j, 2, 3]], TypeError, "array of numbers"),
        (object(), TypeError, "array of numbers"),
    ],
)
@pytest.mark.parametrize("method", ["log_prob", "encode", "fit", "evaluate", "predict", "train_on_batch"])
def test_what_holds_no_numbers_is_explained(method, x, error, message):
    with pytest.raises(error, match=message):
        getattr(trained(False)[0], method)(x)


@pytest.mark.parametrize("shape", [(), (1,)], ids=["()", "(1,)"])
def test_single_numbers_need_no_axis_of_their_own(shape):
    flow = flowzoo.RealNVP(event_shape=2, couplings=2, hidden_units=(4,), context_shape=shape)
    flow.initialize(data_for((2,)), data_for(shape))
    perturb(flow)
    flow.compile(optimizer=keras.optimizers.SGD(0.0))
    x, labels = data_for((2,), n=8), np.arange(8)
    expected = numpy(flow.log_prob(x, labels.reshape(8, *shape)))
    column = pd.Series(labels, dtype="Int64", index=np.arange(8, 0, -1))
    for context in (labels, labels[:, None], labels.tolist(), column):
        np.testing.assert_allclose(numpy(flow.log_prob(x, context)), expected, rtol=1e-5)
        for loss in (
            flow.evaluate(x, context, verbose=0),
            flow.fit(x, context, verbose=0).history["loss"][0],
            flow.evaluate(((x, context, np.ones(8)) for _ in range(1)), verbose=0),
        ):
            np.testing.assert_allclose(loss, -expected.mean(), rtol=1e-5)
    assert tuple(flow.sample(8, column, seed=0).shape) == (8, 2)


def test_a_flow_of_one_dimension_takes_a_series():
    flow = flowzoo.MAF(event_shape=1, autoregressive_layers=1, hidden_units=(4,), standardize=False)
    flow.compile(optimizer=keras.optimizers.SGD(0.0))
    x = data_for((1,), n=8)
    series = pd.Series(x[:, 0])
    expected = numpy(flow.log_prob(x))
    np.testing.assert_allclose(numpy(flow.log_prob(series)), expected)
    weights = np.arange(8.0)
    for given in (series, (series, None, weights), x[:, 0].tolist()):
        rest = {} if isinstance(given, tuple) else {"sample_weight": weights}
        loss = flow.fit(given, verbose=0, **rest).history["loss"]
        np.testing.assert_allclose(loss, [-(weights * expected).mean()], rtol=1e-5)


# Variational autoencoders.


@pytest.mark.parametrize("form", FORMS)
def test_autoencoders_take_the_same(form):
    vae, x, weights = weighted_autoencoder()
    arrays = {} if form.startswith(DATASETS) else {"batch_size": N}
    given, rest = FORMS[form](x, None, np.zeros_like(weights))
    assert vae.evaluate(given, **rest, **arrays, verbose=0, return_dict=True)["loss"] == 0
    given, rest = FORMS[form](x, None, weights)
    history = vae.fit(given, **rest, **arrays, shuffle=False, verbose=0).history
    terms = history["kl"][0] - history["reconstruction"][0]  # weighted means
    if arrays:
        np.testing.assert_allclose(history["loss"][0] / weights.mean(), terms, rtol=1e-4)
    given, rest = FORMS[form](x, None, weights)
    assert vae.predict(given, verbose=0)["elbo"].shape == (N,)


@functools.cache
def weighted_autoencoder():
    vae = VAES["fixed width, gaussian"]()
    vae.compile(optimizer=keras.optimizers.SGD(0.0))
    return vae, data_for((5,), n=N), np.random.default_rng(0).uniform(0, 2, N).astype("float32")


def test_autoencoders_have_no_targets():
    vae, x, _ = weighted_autoencoder()
    with pytest.raises(ValueError, match="takes no context"):
        vae.fit(x, x)
    for given in (x.tolist(), pd.DataFrame(x).astype("Float64")):
        np.testing.assert_allclose(numpy(vae.elbo(given, seed=0)), numpy(vae.elbo(x, seed=0)), rtol=1e-5)
        np.testing.assert_allclose(numpy(vae.encode(given)), numpy(vae.encode(x)), rtol=1e-5)
