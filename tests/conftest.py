import os

# The tests run in one process a core, so each computes with one thread.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import keras
import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def fixed_seed():
    keras.utils.set_random_seed(0)
