"""Keras networks within a `model.json`: which are trusted, and how large they would be."""

import itertools
import math

import keras

from flowzoo.models.sizes import sizes

LAYERS = (
    *("Activation", "Dense", "Dropout", "Embedding", "Flatten", "Rescaling", "Reshape"),
    *(
        "AveragePooling2D",
        "Conv2D",
        "Conv2DTranspose",
        "GlobalAveragePooling2D",
        "MaxPooling2D",
        "UpSampling2D",
    ),
    *("GroupNormalization", "LayerNormalization"),
)
OWN = ("MLP", "ResidualMLP", "ConvNet", "ResNet")
LARGEST_INTEGER = 2**14
LARGEST_NUMBER = 1000
MOST_LAYERS = 64


def is_network(value):
    """Whether a JSON value is a `keras.Sequential` or one layer, of kinds that do no more than arithmetic.

    Example:
        >>> is_network(keras.saving.serialize_keras_object(keras.layers.Dense(8, "gelu")))
        True
        >>> is_network(keras.saving.serialize_keras_object(keras.layers.Lambda(len)))
        False
    """
    network = trusted(value)
    return network is not None and 0 < len(_layers(network)) <= MOST_LAYERS


def trusted(value, depth=0):
    """The JSON value of a network without all that is not needed to make it anew, such as the shapes that
    Keras built it for; None for one that is not trusted."""
    if not isinstance(value, dict) or not isinstance(value.get("config"), dict) or depth > 8:
        return None
    module, name, config = value.get("module"), value.get("class_name"), value["config"]
    registered = value.get("registered_name")
    found = {"module": module, "class_name": name, "registered_name": registered, "config": config}
    if (module, name) == ("keras", "Sequential") and registered in (None, name):
        layers = config.get("layers")
        if not isinstance(layers, list) or not isinstance(config.get("name"), str):
            return None
        layers = [trusted(layer, depth + 1) for layer in layers if not _is_input(layer)]
        return None if None in layers else {**found, "config": {"name": config["name"], "layers": layers}}
    of_keras = module == "keras.layers" and name in LAYERS and registered in (None, name)
    own = name in OWN and registered == f"flowzoo>{name}" and _is_own_module(module)
    return found if (of_keras or own) and all(map(_is_plain, config.values())) else None


def _is_input(layer):
    return isinstance(layer, dict) and layer.get("class_name") == "InputLayer"


def _layers(network):
    """The layers of a trusted network in a row."""
    if network["class_name"] != "Sequential":
        return [network]
    return list(itertools.chain(*map(_layers, network["config"]["layers"])))


def _is_own_module(module):
    return module in ("flowzoo.networks.mlp", "flowzoo.networks.convnet", "flowzoo.networks.resnet")


def _is_plain(value):
    """Whether an argument of a layer is a number, a name, a shape, or an object such as an initializer."""
    if isinstance(value, (list, tuple)):
        return len(value) <= 8 and all(
            isinstance(entry, (int, float, str)) and _is_plain(entry) for entry in value
        )
    if isinstance(value, dict):
        return (
            value.get("module") in ("keras", "keras.initializers", "keras.regularizers")
            and value.get("class_name") != "Sequential"
            and isinstance(value.get("config"), dict)
            and all(not isinstance(entry, dict) and _is_plain(entry) for entry in value["config"].values())
        )
    if isinstance(value, str):
        return len(value) <= 100
    if isinstance(value, int):
        return abs(value) <= LARGEST_INTEGER
    return value is None or (isinstance(value, float) and abs(value) <= LARGEST_NUMBER)


def network_size(value, context_shape):
    """Layers and weights of a trusted network, found without making any of the latter.

    Raises: ValueError where the layers do not fit one another.

    Example:
        >>> network = keras.Sequential([keras.layers.Dense(8), keras.layers.Dense(4)])
        >>> network_size(keras.saving.serialize_keras_object(network), (16,))
        (2, 172)
    """
    shape, total = (None, *sizes(context_shape)), 0
    layers = _layers(trusted(value))
    for entry in layers:
        layer = keras.saving.deserialize_keras_object(entry)
        given, shape = shape, layer.compute_output_shape(shape)
        total += _weights(layer, given, shape)
    return len(layers), total


def _weights(layer, given, made):
    name = type(layer).__name__
    if name == "MLP":
        widths = [given[-1], *layer.hidden_units]
        return sum((a + 1) * b for a, b in itertools.pairwise(widths))
    if name == "Embedding":
        return layer.input_dim * layer.output_dim
    if name in OWN:
        return 9 * made[-1] * (given[-1] + 2 * getattr(layer, "blocks", 1) * made[-1])
    if name in ("Dense", "Conv2D", "Conv2DTranspose"):
        return (math.prod(getattr(layer, "kernel_size", (1,))) * given[-1] + 1) * made[-1]
    return 2 * given[-1] if name.endswith("Normalization") else 0
