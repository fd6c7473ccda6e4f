"""Data to train and test flows on."""

from flowzoo.datasets.image import load_arrays
from flowzoo.datasets.toy import Checkerboard, EightGaussians, ToyDensity, TwoMoons, midpoint_grid

__all__ = ["Checkerboard", "EightGaussians", "ToyDensity", "TwoMoons", "load_arrays", "midpoint_grid"]
