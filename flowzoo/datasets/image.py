"""Image data sets: through TensorFlow Datasets, from a folder, or from arrays."""

import pathlib
from typing import Any

import keras
import numpy as np

from flowzoo import checks
from flowzoo.datasets.batches import ImageBatches
from flowzoo.types import PathLike, Seed

CELEBA_CROP = (35, 15, 148, 148)  # top, left, height, width of 218 x 178: the central square
FLIPPED = ("celeb_a", "cifar10")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def load(
    name: str,
    split: str = "train",
    *,
    batch_size: int = 64,
    size: int = 64,
    labels: bool | str | None = None,
    shuffle: bool | None = None,
    flip: bool | None = None,
    binarize: bool = False,
    data_dir: str | None = None,
    seed: Seed = None,
) -> Any:
    """A TFDS image data set, cached, shuffled, batched and prefetched, ready for `fit`.

    CelebA is cut to its central 148 x 148 pixels and resized with antialiasing to `size`; other
    data keep their size. TensorFlow must be installed; the batches train on any backend.

    Arguments:
        name: TFDS name, such as "mnist", "cifar10" or "celeb_a".
        split: TFDS split, such as "train", "test" or "train[:1000]"; the splits are the official ones.
        batch_size: images a batch.
        size: height and width of CelebA's images, 64 or 32.
        labels: None for images alone; True for pairs (images, class labels); for CelebA the name of
            an attribute, such as "Smiling", for pairs with 0 or 1.
        shuffle: whether each epoch has an order of its own; by default for training splits.
        flip: whether images are mirrored at random; by default for training splits of CelebA
            and CIFAR-10.
        binarize: whether each pixel is 1 with probability pixel / 255, else 0, drawn anew in each
            epoch: batches are float32 then. For one fixed draw see `flowzoo.datasets.binarize`.
        data_dir: TFDS folder; by default TFDS's own, $TFDS_DATA_DIR or ~/tensorflow_datasets.
        seed: integer that fixes order, mirroring and binarisation.

    Returns: a `tf.data.Dataset` of uint8 batches (batch, H, W, C), or of pairs.
    Raises: RuntimeError, with what to do, if the data are neither there nor to be downloaded;
        ValueError for an unknown data set, split or label.
    """
    import tensorflow as tf

    checks.positive_integer("batch_size", batch_size)
    training = split.startswith("train")
    shuffle = training if shuffle is None else shuffle
    flip = training and name in FLIPPED if flip is None else flip
    data = _examples(name, split, size=size, labels=labels, data_dir=data_dir)
    count = int(data.cardinality())
    if count == 0:
        raise ValueError(f"The split {split!r} of {name!r} holds no images.")
    data = data.cache()
    if shuffle:
        data = data.shuffle(count, seed=seed)
    if flip:
        mirror = tf.image.random_flip_left_right
        if labels is None:
            data = data.map(lambda image: mirror(image, seed), num_parallel_calls=tf.data.AUTOTUNE)
        else:
            data = data.map(
                lambda image, label: (mirror(image, seed), label), num_parallel_calls=tf.data.AUTOTUNE
            )
    data = data.batch(batch_size)
    if binarize:
        data = _binarized(data, seed)
    return data.prefetch(tf.data.AUTOTUNE)


def _binarized(data, seed):
    """Batches of images, or of pairs, with a draw of 0s and 1s for images, another one in each epoch."""
    import tensorflow as tf

    def draw(images, number):
        uniform = tf.random.stateless_uniform(tf.shape(images), [number, 0], 0.0, 255.0)
        return tf.cast(uniform < tf.cast(images, "float32"), "float32")

    numbers = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    return tf.data.Dataset.zip(data, numbers).map(
        lambda batch, number: (
            (draw(batch[0], number), *batch[1:]) if isinstance(batch, tuple) else draw(batch, number)
        )
    )


def load_arrays(
    name: str, split: str, *, size: int = 64, labels: bool | str | None = True, data_dir: str | None = None
) -> Any:
    """A TFDS image data set in memory, as `load` gives it, in the order it is stored.

    Arguments: those of `load`.

    Returns: images, uint8 (n, H, W, C), and labels, integers (n,), or None with `labels=None`.
    Raises: RuntimeError, with what to do, if the data are neither there nor to be downloaded;
        ValueError for an unknown data set, split or label.
    """
    data = _examples(name, split, size=size, labels=labels, data_dir=data_dir)
    batches = list(data.batch(1000).as_numpy_iterator())
    if labels is None:
        return np.concatenate(batches), None
    return tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))


def _examples(name, split, *, size, labels, data_dir):
    """Single examples, uint8 images or pairs with int64 labels, as a `tf.data.Dataset`."""
    import tensorflow as tf

    checks.positive_integer("size", size)
    data, features = _tfds(name, split, data_dir)
    if labels is not None:
        known = list(features["attributes"]) if "attributes" in features else [True] * ("label" in features)
        if labels not in known:
            raise ValueError(
                f"labels={labels!r} is not of {name!r}; choose one of {', '.join(map(repr, [None, *known]))}."
            )

    def prepare(example):
        image = example["image"]
        if name == "celeb_a":
            image = tf.image.crop_to_bounding_box(image, *CELEBA_CROP)
            image = tf.image.resize(image, (size, size), antialias=True)
            image = tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
        if labels is None:
            return image
        label = example["label"] if labels is True else example["attributes"][labels]
        return image, tf.cast(label, tf.int64)

    return data.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)


def _tfds(name, split, data_dir):
    import tensorflow_datasets as tfds

    try:
        data, info = tfds.load(name, split=split, data_dir=data_dir, with_info=True)
    except ValueError:  # an unknown data set or split, which TFDS explains
        raise
    except Exception as error:
        folder = data_dir or tfds.core.constants.DATA_DIR
        raise RuntimeError(
            f"TFDS could not prepare {name!r} in {folder}: {error}\n{_by_hand(name, folder)}"
        ) from error
    return data, info.features


def _by_hand(name, folder):
    """Which files to fetch where TFDS itself cannot, and where it looks for them."""
    import tensorflow_datasets as tfds

    try:
        files = tfds.builder_cls(name).url_infos
        lines = [f"  {info.filename} ({info.size:,} bytes) from {url}" for url, info in files.items()]
    except Exception:  # a data set whose files TFDS does not list
        lines = []
    manual = pathlib.Path(folder) / "downloads" / "manual"
    by_file = (
        f"Fetch by hand, into {manual}, under these names, and try again:\n" + "\n".join(lines) + "\nOr, "
        if lines
        else ""
    )
    return (
        f"{by_file}where there is no network, run tfds.load({name!r}) on a machine that has one and copy its "
        f"folder {name}/ to {folder}, or name the folder that holds it with data_dir= or $TFDS_DATA_DIR."
    )


def from_directory(
    folder: PathLike,
    *,
    size: int = 64,
    channels: int = 3,
    batch_size: int = 64,
    shuffle: bool = True,
    flip: bool = False,
    seed: Seed = 0,
) -> Any:
    """All images of a folder and its subfolders, as `ImageBatches` in memory.

    Each image is cut to its central square and resized with antialiasing.

    Arguments:
        folder: holds images as .png, .jpg, .jpeg, .bmp or .webp files.
        size: height and width of the result.
        channels: 3, or 1 for shades of grey.
        batch_size, shuffle, flip, seed: of the `ImageBatches`.

    Raises: ValueError if the folder holds no image, or one that cannot be read.
    """
    from PIL import Image, ImageOps

    size = checks.positive_integer("size", size)
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3; got {channels!r}.")
    paths = sorted(path for path in pathlib.Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"The folder {folder} holds no images ({', '.join(SUFFIXES)}).")
    images = np.empty((len(paths), size, size, channels), "uint8")
    progress = keras.utils.Progbar(len(paths), unit_name="image") if len(paths) > 1000 else None
    for i, path in enumerate(paths):
        try:
            with Image.open(path) as image:
                image = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
                side = min(image.size)
                left, top = (image.width - side) // 2, (image.height - side) // 2
                image = image.crop((left, top, left + side, top + side))
                image = image.resize((size, size), Image.Resampling.LANCZOS)
        except OSError as error:
            raise ValueError(f"The image {path} cannot be read: {error}") from error
        images[i] = np.asarray(image).reshape(size, size, channels)
        if progress is not None:
            progress.update(i + 1)
    return ImageBatches(images, batch_size=batch_size, shuffle=shuffle, flip=flip, seed=seed)
