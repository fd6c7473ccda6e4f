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
    "context_size",
    "couplings",
    "dense_units",
    "flow_channels",
    "flow_levels",
    "hidden_channels",
    "latent_channels",
    "latent_size",
    "levels",
    "steps",
)
NUMBERS = (
    "alpha",
    "dropout",
    "forget_bias",
    "free_bits",
    "likelihood_scale",
    "log_scale_bound",
    "posterior_scale",
)
WORDS = (
    "activation",
    "base",
    "coupling",
    "dequantization",
    "linear",
    "network_normalization",
    "normalization",
    "order",
    "posterior",
    "transformer",
)
SHAPES = ("context_shape", "event_shape", "hidden_units")
FLAGS = ("learned_prior", "learned_scales", "remat")
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
    layers, weights = estimated_size(full)
    most = MOST_WEIGHTS
    if "weights" in facts:  # a weight takes two bytes at least, and the estimate may be some times too high
        most = min(most, max(5 * 10**7, 4 * facts["weights"]["bytes"]))
    if layers > MOST_LAYERS or weights > most:
        raise RegistryError(
            f"Model {name!r} would be absurdly large: about {layers:,} layers and {weights:,} weights, where "
            f"at most {MOST_LAYERS:,} and {most:,} are expected."
        )


def is_kind(key, value):
    """Whether a JSON value is of the type and of a sensible size for the argument `key`."""
    if key == "steps" and isinstance(value, list):  # one a level
        return 0 < len(value) <= 16 and all(type(each) is int and 0 < each <= MOST_LAYERS for each in value)
    if key in INTEGERS:
        return type(value) is int and 0 < value <= LARGEST_INTEGER
    if key in ("seed", "warmup_steps"):
        return type(value) is int and 0 <= value < 2**31
    if key in NUMBERS:
        return type(value) in (int, float) and 0 <= value <= 1000
    if key in WORDS:
        return isinstance(value, str) and re.fullmatch("[a-z0-9_]{1,40}", value) is not None
    if key in SHAPES:
        sizes = value if isinstance(value, list) else [value]
        return len(sizes) <= 64 and all(type(size) is int and 0 < size <= LARGEST_INTEGER for size in sizes)
    return key in FLAGS and isinstance(value, bool)


def estimated_size(config):
    """About how many layers with weights a full config makes, and how many weights.

    What is larger than an eighth and smaller than eight times the truth serves its purpose: not to
    start what would fill the memory.
    """
    shape = _sizes(config["event_shape"])
    context = math.prod(_sizes(config.get("context_shape") or 1))
    if "latent_size" in config or "latent_channels" in config:
        return _estimated_size_of_vae(config, shape)
    if "steps" in config or (len(shape) == 3 and "levels" in config):
        levels = config["levels"] or 3
        if levels > 16:
            return math.inf, math.inf
        channels = shape[-1] * 2 ** (levels + 1)
        if "steps" in config:
            width = config["hidden_channels"]
            depth = _total_steps(config["steps"], levels)
            each = width**2 + 9 * width * (2 * channels + context) + channels**2
        else:
            width = (config["hidden_channels"] or 32) * 2 ** (levels - 1)
            blocks = config["blocks"] or 4
            depth = 6 * levels * blocks
            each = 18 * width**2 + 9 * width * (2 * channels + context) // blocks
        return depth, depth * each + math.prod(shape) * (config.get("classes") or 0)
    depth = config.get("autoregressive_layers") or config.get("couplings") or 8
    widths = _sizes(config["hidden_units"] or 64)
    ends = math.prod(shape)
    outputs = ends * 3 * config["components"] if config.get("components") else 2 * ends
    inner = sum(a * b for a, b in itertools.pairwise(widths))
    return depth * len(widths), depth * (inner + (ends + context) * widths[0] + outputs * widths[-1])


def _estimated_size_of_vae(config, shape):
    levels, blocks, width = config["levels"], config["blocks"], config["hidden_channels"]
    if len(shape) != 3 or levels > 16 or config.get("flow_levels", 1) > 16:
        return math.inf, math.inf
    depth, size = 4 * blocks + 2 * levels, 9 * width**2 * (4 * blocks + 6)
    if "latent_channels" in config:
        channels = config["latent_channels"] * 2 ** config["flow_levels"]
        steps, flow_width = _total_steps(config["steps"], config["flow_levels"]), config["flow_channels"]
        flow = steps * (flow_width**2 + 9 * flow_width * channels + channels**2)
        return depth + steps, size + flow + 18 * width * config["latent_channels"]
    dense, latent, context = config["dense_units"], config["latent_size"], config["context_size"]
    cells = math.prod(shape[:2]) // 4**levels
    widths = _sizes(config["hidden_units"])
    inner = sum(a * b for a, b in itertools.pairwise(widths))
    steps = config["autoregressive_layers"] if config["posterior"] == "iaf" else 0
    flow = steps * (inner + (latent + context) * widths[0] + 2 * latent * widths[-1])
    return (
        depth + steps * len(widths),
        size + flow + 2 * cells * width * dense + dense * (3 * latent + context),
    )


def _total_steps(steps, levels):
    return sum(steps) if isinstance(steps, (list, tuple)) else steps * levels


def _sizes(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]
