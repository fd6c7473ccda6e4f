"""Which layers of a model are frozen: a part of its config, since a catalogue model makes its own layers."""

import keras


def frozen_layers(model):
    """Where `trainable` of a layer within `model` is not that of the layer around it.

    Returns: dict from places to `trainable`, the layers around a layer first. A place tells the number of
        each layer in the one around it: "3/0" is the first layer in the fourth layer of the model.

    Example:
        >>> flow = flowzoo.NICE(event_shape=2, couplings=2, hidden_units=(8,))
        >>> flow.flow_layers[1].trainable = False
        >>> frozen_layers(flow)
        {'1': False}
    """
    found = {}

    def look(layer, prefix):
        for place, inner in enumerate(_within(layer)):
            if inner.trainable != layer.trainable:
                found[f"{prefix}{place}"] = inner.trainable
            look(inner, f"{prefix}{place}/")

    look(model, "")
    return found


def frozen_config(model):
    """The same as a part of the model's config: {"frozen": {...}}, or {} where nothing differs."""
    found = frozen_layers(model)
    return {"frozen": found} if found else {}


def freeze_layers(model, places):
    """Sets `trainable` in a built `model` as `frozen_layers` found it in one of the same config.

    The setter reaches all weights within, which the argument `trainable` of a constructor does not.
    """
    _set_trainable(model, model.trainable)
    for place, trainable in places.items():
        layer = model
        for number in place.split("/"):
            layer = _within(layer)[int(number)]
        _set_trainable(layer, trainable)
    return model


def _set_trainable(layer, trainable):
    layer.trainable = not trainable  # TensorFlow passes by what has the value already, and all within
    layer.trainable = trainable


def _within(layer):
    return layer.layers if isinstance(layer, keras.Model) else layer._layers
