import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib
import numpy as np
import pytest

import flowzoo

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def fixed_seed():
    keras.utils.set_random_seed(0)
