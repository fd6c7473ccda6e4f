"""From the class and config in a `model.json` to a bare flow, refusing what is not to be trusted."""

import contextlib
import inspect
import re

import keras

from flowzoo import models
from flowzoo.registry.errors import RegistryError
from flowzoo.registry.kinds import fits
from flowzoo.registry.networks import LAYERS, OWN, network_size, trusted

MOST_LAYERS = 1024
MOST_WEIGHTS = 2**31


def build(facts, dtype=None):
    """The bare architecture that a `model.json` describes, with new weights.

    Arguments:
        facts: of the `model.json`.
        dtype: name of the dtype policy of the model and all its layers, or None for Keras's global one.

    Raises: RegistryError for a class that is not in the catalogue, an argument that its
        constructor does not take, a value of a wrong type, or an absurd size; ValueError for an unknown
        dtype.
    """
    check_config(facts)
    with _dtype_policy(dtype):
        return _built(facts)


def _built(facts):
    try:
        name = re.sub(r"\W", "_", facts["name"])
        config = {**facts["config"], "name": name}
        if config.get("context_network") is not None:
            config["context_network"] = trusted(config["context_network"])
        return getattr(models, facts["class"]).from_config(config)
    except Exception as error:  # whatever a strange value makes Keras raise
        raise RegistryError(
            f"{facts['class']} cannot be built from the config of {facts['name']}: {error}"
        ) from error


@contextlib.contextmanager
def _dtype_policy(dtype):
    """Where layers are of a dtype policy; Keras keeps the global one for each thread."""
    if dtype is None:
        yield
        return
    try:
        policy = keras.dtype_policies.get(dtype)
    except ValueError as error:
        raise ValueError(
            f"dtype must be a policy of Keras, as 'float32', 'float64' or 'mixed_bfloat16'; got {dtype!r}."
        ) from error
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def check_config(facts):
    name, config = facts["name"], facts["config"]
    if facts["class"] not in models.__all__:
        raise RegistryError(
            f"Model {name!r} is of class {facts['class']!r}, which this flowzoo does not have; "
            f"it has {', '.join(models.__all__)}."
        )
    model_class = getattr(models, facts["class"])
    parameters = inspect.signature(model_class).parameters
    known = [key for key, parameter in parameters.items() if parameter.kind != parameter.VAR_KEYWORD]
    for key, value in config.items():
        if key not in known:
            raise RegistryError(
                f"Model {name!r} gives {facts['class']} an argument {key!r}, which it does not take; it "
                f"takes {', '.join(known)}."
            )
        if key == "context_network" and not fits(parameters[key].annotation, value):
            raise RegistryError(
                f"The context_network of model {name!r} is not of the kind that the zoo stores: a layer of "
                f"{', '.join(sorted((*LAYERS, *OWN)))}, or a keras.Sequential of these. flow.save stores any."
            )
        if not fits(parameters[key].annotation, value):
            raise RegistryError(
                f"Model {name!r} gives {facts['class']} {key}={value!r}, which is of a wrong type or size."
            )
    if "event_shape" not in config:
        raise RegistryError(f"Model {name!r} lacks 'event_shape' in its config.")
    full = {key: parameter.default for key, parameter in parameters.items()} | config
    layers, weights = model_class.estimated_size(**{key: full[key] for key in known})
    if config.get("context_network") is not None:
        network = _network_size(name, config)
        layers, weights = layers + network[0], weights + network[1]
    most = MOST_WEIGHTS
    if "weights" in facts:  # a weight takes two bytes at least, and the estimate may be some times too high
        most = min(most, max(5 * 10**7, 4 * facts["weights"]["bytes"]))
    if layers > MOST_LAYERS or weights > most:
        raise RegistryError(
            f"Model {name!r} would be absurdly large: about {layers:,} layers and {weights:,} weights, where "
            f"at most {MOST_LAYERS:,} and {most:,} are expected."
        )


def _network_size(name, config):
    try:
        return network_size(config["context_network"], config.get("context_shape") or ())
    except Exception as error:  # whatever a strange value makes Keras raise
        raise RegistryError(f"The context_network of model {name!r} cannot be built: {error}") from error
