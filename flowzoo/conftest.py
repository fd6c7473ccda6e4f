"""Names that the doctests of the package use without importing them."""

import keras
import numpy as np
import pytest

import flowzoo


@pytest.fixture(autouse=True)
def doctest_names(doctest_namespace, request):
    if request.node.name.endswith(".export") and flowzoo.backend.name != "tensorflow":
        pytest.skip("export needs TensorFlow")
    keras.utils.set_random_seed(0)
    doctest_namespace.update(
        flowzoo=flowzoo, keras=keras, np=np, Flow=flowzoo.Flow, FlowLayer=flowzoo.layers.FlowLayer
    )
