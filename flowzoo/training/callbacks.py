"""What watches over a training by a recipe."""

import time

import keras

from flowzoo.divergence import StopWhenNotFinite


class StopWhenDiverged(StopWhenNotFinite):
    """Ends a training whose loss is no longer finite, before anything good is overwritten."""

    def __init__(self, work):
        super().__init__()
        self.work = work

    def advice(self):
        kept = (
            f"The state after epoch {self.epoch} is kept in {self.work}, with the best weights so far, and "
            "the same command goes on from there"
            if self.epoch
            else "It was the first epoch, so there is nothing to go on from; start again"
        )
        return (
            f"{kept}. A lower learning rate (--learning-rate), a longer warm-up or a smaller clipnorm in "
            "the recipe usually helps."
        )


class EpochSeconds(keras.callbacks.Callback):
    """Adds to the logs how long each epoch took, validation included."""

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = round(time.monotonic() - self.started, 3)
