"""Image data sets as arrays, through TensorFlow Datasets."""

import numpy as np


def load_arrays(name, split, *, data_dir=None):
    """A labelled TFDS image data set in memory.

    Arguments:
        name: TFDS name, such as "mnist" or "cifar10".
        split: TFDS split, such as "train", "test" or "train[:1000]".
        data_dir: TFDS folder; by default TFDS's own, $TFDS_DATA_DIR or ~/tensorflow_datasets.

    Returns: images, uint8 (n, H, W, C), and labels, integers (n,).
    Raises: RuntimeError, with what to do, if the data are neither there nor to be downloaded.
    """
    import tensorflow_datasets as tfds

    try:
        data = tfds.load(name, split=split, data_dir=data_dir, batch_size=1000)
    except tfds.core.DatasetNotFoundError:
        raise
    except Exception as error:
        folder = data_dir or tfds.core.constants.DATA_DIR
        raise RuntimeError(
            f"TFDS could not prepare {name!r} in {folder}: {error}\n"
            f"Where there is no network, run tfds.load({name!r}) on a machine that has one and copy its "
            f"folder {name}/ to {folder}, or name the folder that holds it with data_dir= or $TFDS_DATA_DIR."
        ) from error
    batches = list(tfds.as_numpy(data))
    return tuple(np.concatenate([batch[key] for batch in batches]) for key in ("image", "label"))
