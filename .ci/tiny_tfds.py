"""Makes TFDS data sets MNIST and CIFAR-10 of a few images of the tests: python .ci/tiny_tfds.py FOLDER."""

import pathlib
import sys

import numpy as np
import tensorflow_datasets as tfds

TESTS = pathlib.Path(__file__).resolve().parents[1] / "tests"
EXAMPLES = {"train": 600, "test": 200}


def prepare(name, file, folder):
    base = tfds.builder_cls(name)
    images, labels = (np.load(TESTS / file)[key] for key in ("images", "labels"))

    def examples(count):
        for i in range(count):
            example = {"image": images[i % len(images)], "label": int(labels[i % len(labels)])}
            yield i, example | ({"id": str(i)} if name == "cifar10" else {})

    def split_generators(self, *arguments):
        return {split: examples(count) for split, count in EXAMPLES.items()}

    # The class keeps its module and name, and with them its TFDS identity.
    attributes = {"_split_generators": split_generators, "__module__": base.__module__}
    with tfds.core.registered.skip_registration():
        builder = type(base.__name__, (base,), attributes)
    builder(data_dir=folder).download_and_prepare()


if __name__ == "__main__":
    prepare("mnist", "mnist_digits.npz", sys.argv[1])
    prepare("cifar10", "cifar10_images.npz", sys.argv[1])
