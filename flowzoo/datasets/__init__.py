"""Data to train and test flows on."""

from flowzoo.datasets.binarize import binarize
from flowzoo.datasets.image import ImageBatches, from_directory, load, load_arrays
from flowzoo.datasets.toy import Checkerboard, EightGaussians, ToyDensity, TwoMoons, midpoint_grid

__all__ = [
    "Checkerboard",
    "EightGaussians",
    "ImageBatches",
    "ToyDensity",
    "TwoMoons",
    "binarize",
    "from_directory",
    "load",
    "load_arrays",
    "midpoint_grid",
]
