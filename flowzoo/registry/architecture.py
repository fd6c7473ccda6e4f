"""From the class and config in a `model.json` to a bare flow, refusing what is not to be trusted."""

import inspect
import itertools
import math
import re

from flowzoo import models
from flowzoo.registry.errors import RegistryError

INTEGERS = (
    "autoregressive_layers",
    "blocks",
    "bits",
    "classes",
    "components",
    "couplings",
    "hidden_channels",
    "levels",
    "steps",
)
NUMBERS = ("alpha", "dropout", "log_scale_bound")
WORDS = ("activation", "base", "coupling", "dequantization", "linear", "normalization", "order")
SHAPES = ("context_shape", "event_shape", "hidden_units")
FLAGS = ("learned_prior",)
LARGEST_INTEGER = 2**16
MOST_LAYERS = 1024
MOST_WEIGHTS = 2**31


def build(facts):
    """The bare architecture that a `model.json` describes, with new weights.

    Raises: RegistryError for a class that is not in the catalogue, an argument that its
        constructor does not take, a value of a wrong type, or an absurd size.
    """
    check_config(facts)
    try:
        return getattr(models, facts["class"])(**facts["config"], name=re.sub(r"\W", "_", facts["name"]))
    except Exception as error:  # whatever a strange value makes Keras raise
        raise RegistryError(
            f"{facts['class']} cannot be built from the config of {facts['name']}: {error}"
        ) from error


def check_config(facts):
    name, config = facts["name"], facts["config"]
    if facts["class"] not in models.__all__:
        raise RegistryError(
            f"Model {name!r} is of class {facts['class']!r}, which this flowzoo does not have; "
            f"it has {', '.join(models.__all__)}."
        )
    parameters = inspect.signature(getattr(models, facts["class"])).parameters
    known = [key for key, parameter in parameters.items() if parameter.kind != parameter.VAR_KEYWORD]
    for key, value in config.items():
        if key not in known:
            raise RegistryError(
                f"Model {name!r} gives {facts['class']} an argument {key!r}, which it does not take; it "
                f"takes {', '.join(known)}."
            )
        nothing = value is None and (parameters[key].default is None or key in ("alpha", "normalization"))
        if not nothing and not is_kind(key, value):
            raise RegistryError(
                f"Model {name!r} gives {facts['class']} {key}={value!r}, which is of a wrong type or size."
            )
    if "event_shape" not in config:
        raise RegistryError(f"Model {name!r} lacks 'event_shape' in its config.")
    full = {key: parameter.default for key, parameter in parameters.items()} | config
    layers, weights = largest_size(full)
    most = MOST_WEIGHTS
    if "weights" in facts:  # a weight takes two bytes at least; the estimate is several times too high
        most = min(most, max(5 * 10**7, 8 * facts["weights"]["bytes"]))
    if layers > MOST_LAYERS or weights > most:
        raise RegistryError(
            f"Model {name!r} would be absurdly large: up to {layers:,} layers and {weights:,} weights, where "
            f"at most {MOST_LAYERS:,} and {most:,} are expected."
        )


def is_kind(key, value):
    """Whether a JSON value is of the type and of a sensible size for the argument `key`."""
    if key in INTEGERS:
        return type(value) is int and 0 < value <= LARGEST_INTEGER
    if key == "seed":
        return type(value) is int and 0 <= value < 2**31
    if key in NUMBERS:
        return type(value) in (int, float) and 0 <= value <= 1000
    if key in WORDS:
        return isinstance(value, str) and re.fullmatch("[a-z0-9_]{1,40}", value) is not None
    if key in SHAPES:
        sizes = value if isinstance(value, list) else [value]
        return len(sizes) <= 64 and all(type(size) is int and 0 < size <= LARGEST_INTEGER for size in sizes)
    return key in FLAGS and isinstance(value, bool)


def largest_size(config):
    """Upper estimates of the numbers of layers and weights that a full config makes."""

    def number(key, default=1):
        return config.get(key) or default

    def sizes(key, default):
        value = number(key, default)
        return list(value) if isinstance(value, (list, tuple)) else [value]

    shape = sizes("event_shape", 1)
    context = math.prod(sizes("context_shape", 1)) + number("classes")
    is_image = len(shape) == 3
    levels = number("levels", 3)
    if levels > 16:
        return MOST_LAYERS + 1, 0
    if "autoregressive_layers" in config:
        depth, widths = number("autoregressive_layers") + 1, sizes("hidden_units", 64)
    elif "steps" in config:
        depth, widths = levels * number("steps"), [number("hidden_channels")]
    elif is_image and "levels" in config:
        depth, widths = 6 * levels * number("blocks", 4), [number("hidden_channels", 32) * 2**levels]
    else:
        depth, widths = number("couplings", 8), sizes("hidden_units", 64)
    convolutional = is_image and ("steps" in config or "levels" in config)
    ends = shape[-1] * 4**levels if convolutional else math.prod(shape)
    per_output = 3 * number("components") if config.get("components") else 2
    inner = sum(a * b for a, b in itertools.pairwise(widths))
    if convolutional:
        inner += 9 * widths[0] ** 2
    kernel = 9 if convolutional else 1
    network = inner + kernel * (ends + context) * widths[0] + kernel * per_output * ends * widths[-1]
    linear = ends**2 if "linear" in config else 0
    return depth * (len(widths) + 1), depth * (network + linear) + math.prod(shape) * context
