"""Seeds for what Keras draws without being given one: the initial weights."""

import contextlib
import random

import keras
import numpy as np


@contextlib.contextmanager
def seeded(seed):
    """Keras draws by the seed; the generators of Python and NumPy come back to where they were."""
    states = random.getstate(), np.random.get_state()
    try:
        if seed is not None:
            keras.utils.set_random_seed(seed)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
