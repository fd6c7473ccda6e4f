"""What ends a training whose loss is no longer finite."""

import math

import keras


class StopWhenNotFinite(keras.callbacks.Callback):
    """Raises a RuntimeError with the epoch and the batch when the loss is NaN or infinite.

    The mean that Keras reports of an epoch stays NaN once a batch is, so that none is missed. It is
    looked at where Keras makes numbers of its logs, on JAX in another thread, and does not wait for
    the device. A validation loss of NaN ends the training too.
    """

    async_safe = True  # so that Keras keeps its thread

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise RuntimeError(
                f"Training diverged: the loss became {loss} in epoch {self.epoch + 1}, batch {batch + 1}. "
                f"{self.advice()}"
            )

    def on_epoch_end(self, epoch, logs=None):
        if math.isnan((logs or {}).get("val_loss", 0.0)):
            raise RuntimeError(
                f"The validation loss became nan in epoch {epoch + 1}: the validation data hold NaN, or "
                "values of which the density cannot be computed."
            )

    def advice(self):
        """What the message goes on to say."""
        return (
            "Either the data of that batch hold NaN, infinite or huge values, or the steps are too large: "
            "try a lower learning rate, or clipnorm=1.0 for the optimizer. The weights are of no use any "
            "more; make the model anew, or load weights that were saved."
        )


def watched(callbacks):
    """The callbacks of `fit` with a `StopWhenNotFinite`, unless one of them stops for NaN already."""
    is_list = isinstance(callbacks, keras.callbacks.CallbackList)
    given = callbacks.callbacks if is_list else keras.tree.flatten(callbacks or [])
    if any(isinstance(each, (StopWhenNotFinite, keras.callbacks.TerminateOnNaN)) for each in given):
        return callbacks
    if not is_list:
        return [StopWhenNotFinite(), *given]
    callbacks.callbacks.append(StopWhenNotFinite())
    return callbacks
