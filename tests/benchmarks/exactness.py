"""Whether image flows decode what they encode, pixel for pixel.

python tests/benchmarks/exactness.py [glow-mnist glow-cifar10 glow-celeba realnvp-cifar10] [--images 500]
python tests/benchmarks/exactness.py --train 10

For each model of the zoo: of test images that were encoded with seed 0 and decoded again, how many are
other than they were, and how many of their pixel values, by how much at most. FLOWZOO_HUB names the folder
of the models, TFDS_DATA_DIR that of the data; run it on both backends, KERAS_BACKEND.

With --train, instead, the same of a Glow of the paper's depth, 3 levels of 32 steps, but of 64 channels,
after each part of so many processor minutes of training on CIFAR-10 by Adam, what compiles not counted.
"""

import argparse
import time

import keras
import numpy as np
from keras import ops

import flowzoo
from flowzoo.datasets import ImageBatches, load_arrays

NAMES = ("glow-mnist", "glow-cifar10", "glow-celeba", "realnvp-cifar10")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--train", type=float, metavar="MINUTES", help="train a deep Glow instead")
    parser.add_argument(
        "--parts", type=int, default=2, help="of the training, each followed by a measurement"
    )
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    options = parser.parse_args()
    if options.train:
        of_a_deep_glow(options)
        return
    for name in options.names:
        facts, flow = flowzoo.info(name), flowzoo.load(name)
        data = facts["data"]
        labels = None if flow.context_shape is None else True
        images, context = load_arrays(data["name"], data["test"], size=data.get("size", 64), labels=labels)
        context = None if context is None else context[: options.images]
        print(
            f"{name}, {keras.backend.backend()}: {told(flow, images[: options.images], context)}", flush=True
        )


def of_a_deep_glow(options):
    keras.utils.set_random_seed(0)
    images, test = (load_arrays("cifar10", split)[0] for split in ("train", "test"))
    test = test[: options.images]
    flow = flowzoo.Glow.cifar10(hidden_channels=options.channels)
    flow.compile(optimizer=keras.optimizers.Adam(options.learning_rate, clipnorm=100.0))
    batches = ImageBatches(images, batch_size=32, seed=0, flip=True)
    for part in range(options.parts):
        limit = TimeLimit(60 * options.train / options.parts)
        history = flow.fit(batches, epochs=1, verbose=0, callbacks=[limit]).history
        print(
            f"{(part + 1) * options.train / options.parts:g} minutes, {limit.steps} more batches of 32, "
            f"{history['bits_per_dim'][-1]:.3f} bits/dim of them: {told(flow, test, None)}",
            flush=True,
        )


class TimeLimit(keras.callbacks.Callback):
    """Ends an epoch after so many processor seconds from its first batch on, which compiles."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds, self.steps, self.start = seconds, 0, None

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        self.start = self.start or time.process_time()
        if time.process_time() - self.start > self.seconds:
            self.model.stop_training = True


def told(flow, x, context):
    """How much of the images another comes back, in words."""
    z = flow.encode(x, context, seed=0, batch_size=100)
    back = ops.convert_to_numpy(flow.decode(z, context, batch_size=100)).astype(int)
    real = ops.convert_to_numpy(flow.decode(z, context, batch_size=100, discrete=False))
    error = np.abs(back - x)
    return (
        f"{(error > 0).any(axis=(1, 2, 3)).sum()} of {len(x)} images and {(error > 0).sum()} of {error.size} "
        f"values other than they were, by {error.max()} at most; latents up to {np.abs(z).max():.1f}, real "
        f"images up to {np.abs(real).max():.1f}"
    )


if __name__ == "__main__":
    main()
