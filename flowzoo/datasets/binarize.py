"""Black and white images, drawn from shades of grey."""

import numpy as np

from flowzoo.types import ArrayLike, Seed


def binarize(images: ArrayLike, *, seed: Seed = 0) -> np.ndarray:
    """Each pixel 1 with probability pixel / 255, else 0: one draw, fixed by the seed.

    Drawn anew in every epoch, as by `ImageBatches(images, binarize=True)`, this is the dynamically
    binarised MNIST of the literature.

    References:
        On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008)
        Importance Weighted Autoencoders (Burda et al., 2015, arXiv:1509.00519)

    Arguments:
        images: pixels 0 ... 255, any shape.
        seed: integer or `np.random.Generator`.

    Returns: float32 array of the same shape with 0s and 1s.

    Example:
        >>> flowzoo.datasets.binarize(np.array([0, 255, 0], "uint8")).tolist()
        [0.0, 1.0, 0.0]
    """
    images = np.asarray(images)
    if images.size and (images.min() < 0 or images.max() > 255):
        raise ValueError(
            f"binarize takes pixels 0 ... 255; got values from {images.min()} to {images.max()}."
        )
    uniform = np.random.default_rng(seed).random(images.shape, dtype="float32")
    return (255 * uniform < images).astype("float32")
