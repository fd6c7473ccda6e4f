"""Data to train and test flows on."""

from flowzoo.datasets import tables
from flowzoo.datasets.batches import Batches, ImageBatches
from flowzoo.datasets.binarize import binarize
from flowzoo.datasets.image import from_directory, load, load_arrays
from flowzoo.datasets.toy import (
    TOY_DENSITIES,
    Checkerboard,
    EightGaussians,
    Rings,
    Spiral,
    ToyDensity,
    TwoMoons,
    midpoint_grid,
)

__all__ = [
    "TOY_DENSITIES",
    "Batches",
    "Checkerboard",
    "EightGaussians",
    "ImageBatches",
    "Rings",
    "Spiral",
    "ToyDensity",
    "TwoMoons",
    "binarize",
    "from_directory",
    "load",
    "load_arrays",
    "midpoint_grid",
    "tables",
]
