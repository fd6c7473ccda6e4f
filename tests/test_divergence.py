"""Training stops when its loss is no longer finite, and says where."""

import keras
import numpy as np
import pytest
from cases import VAES
from helpers import data_for

import flowzoo
from flowzoo.datasets import Batches
from flowzoo.divergence import StopWhenNotFinite, watched

BATCH = 8
MESSAGE = r"the loss became nan in epoch 2, batch 3\. Either the data of that batch hold NaN"


class Poisoned(Batches):
    """Batches of which the third of the second epoch holds one NaN."""

    begun = 0

    def on_epoch_begin(self):
        self.begun += 1

    def __getitem__(self, index):
        x = super().__getitem__(index).copy()
        if (self.begun, index) == (2, 2):
            x[0, 0] = np.nan
        return x


def poisoned(form):
    batches = Poisoned(data_for((2,), n=4 * BATCH), batch_size=BATCH, shuffle=False)

    def each():
        batches.begun = 0
        for _ in range(3):
            batches.on_epoch_begin()
            yield from (batches[i] for i in range(4))

    if form == "PyDataset":
        return batches
    if form == "generator":
        return each()
    import tensorflow as tf

    return tf.data.Dataset.from_generator(each, output_signature=tf.TensorSpec((None, 2), "float32"))


@pytest.mark.parametrize(
    ("form", "verbose", "jit_compile"),
    [("PyDataset", 0, True), ("PyDataset", 2, False), ("generator", 2, True), ("tf.data", 0, False)],
)
def test_nan_in_a_batch_stops_fit_at_that_batch(form, verbose, jit_compile):
    flow = flowzoo.NICE(event_shape=2, couplings=1, hidden_units=(4,))
    flow.compile(optimizer="adam", jit_compile=jit_compile)
    with pytest.raises(RuntimeError, match=MESSAGE):
        flow.fit(poisoned(form), epochs=3, steps_per_epoch=4, shuffle=False, verbose=verbose)


def test_nan_in_a_batch_stops_autoencoders_and_conditional_flows():
    vae = VAES["fixed width, gaussian"]()
    flow = flowzoo.NICE(event_shape=2, couplings=1, hidden_units=(4,), context_shape=())
    x = [data_for((5,)), np.full((4, 5), np.inf, "float32")]
    for model, data in ((vae, x), (flow, [(part[:, :2], part[:, 2]) for part in x])):
        model.compile(optimizer="adam")
        with pytest.raises(RuntimeError, match=r"the loss became (nan|inf|-inf) in epoch 1, batch 2"):
            model.fit((batch for batch in data), verbose=0)


def test_nan_of_validation_data_stops_fit():
    flow = flowzoo.NICE(event_shape=2, couplings=1, hidden_units=(4,))
    flow.compile(optimizer="adam")
    x = data_for((2,), n=BATCH)
    bad = Batches(np.full((4, 2), np.nan))
    with pytest.raises(RuntimeError, match="validation loss became nan in epoch 1"):
        flow.fit(x, epochs=2, validation_data=bad, verbose=0)


def test_a_target_without_a_number_stops_variational_training():
    flow = flowzoo.IAF(event_shape=2, autoregressive_layers=1, hidden_units=(4,))
    with pytest.raises(RuntimeError, match="the loss became nan in epoch 1, batch 1"):
        flow.fit_variational(lambda x: keras.ops.log(-keras.ops.abs(x[:, 0])), steps=3, verbose=0)


def test_keras_own_callback_ends_training_without_an_error():
    flow = flowzoo.NICE(event_shape=2, couplings=1, hidden_units=(4,))
    flow.compile(optimizer="adam")
    history = flow.fit(
        poisoned("PyDataset"),
        epochs=3,
        shuffle=False,
        callbacks=[keras.callbacks.TerminateOnNaN()],
        verbose=0,
    )
    assert len(history.epoch) == 2
    own = StopWhenNotFinite()
    assert watched([own]) == [own]
    assert [type(each) for each in watched(keras.callbacks.History())] == [
        StopWhenNotFinite,
        keras.callbacks.History,
    ]
    given = keras.callbacks.CallbackList([keras.callbacks.History()])
    assert watched(given) is given
    assert isinstance(given.callbacks[-1], StopWhenNotFinite)
