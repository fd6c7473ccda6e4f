"""What watches over a training by a recipe."""

import math
import time

import keras


class StopWhenDiverged(keras.callbacks.Callback):
    """Ends a training whose loss is no longer finite, before anything good is overwritten."""

    def __init__(self, work):
        super().__init__()
        self.work = work

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = float(logs["loss"])
        if math.isfinite(loss):
            return
        kept = (
            f"The state after epoch {self.epoch} is kept in {self.work}, with the best weights so far, and "
            "the same command goes on from there"
            if self.epoch
            else "It was the first epoch, so there is nothing to go on from; start again"
        )
        raise RuntimeError(
            f"Training diverged: the loss became {loss} in epoch {self.epoch + 1}, batch {batch + 1}. "
            f"{kept}. A lower learning rate (--learning-rate), a longer warm-up or a smaller clipnorm in "
            "the recipe usually helps."
        )


class EpochSeconds(keras.callbacks.Callback):
    """Adds to the logs how long each epoch took, validation included."""

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = round(time.monotonic() - self.started, 3)
