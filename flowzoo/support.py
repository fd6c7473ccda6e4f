"""Data where a flow has no density, whatever it learns: found before it trains on them."""

import itertools

import numpy as np
from keras import ops

from flowzoo.layers.chain import Chain
from flowzoo.layers.flow_layer import FlowLayer
from flowzoo.layers.invert import Invert
from flowzoo.layers.permutation import Permutation
from flowzoo.layers.preprocessing import Reshape
from flowzoo.layers.squeeze import Squeeze

MOVES = (Permutation, Reshape, Squeeze)  # values to other places
AT_ONCE = 10_000  # examples


def check_support(flow, x):
    """Refuses examples outside of what the fixed layers at the data end of a flow make.

    Arguments:
        flow: a built `flowzoo.Flow`.
        x: array (n, *event_shape).

    Raises: ValueError that names the layer, a value and its column.
    """
    layers = _fixed_layers(flow.chain)
    if not layers:
        return
    for start in range(0, len(x), AT_ONCE):
        part = x[start : start + AT_ONCE]
        values = ops.convert_to_tensor(part.astype(flow.variable_dtype))
        places = ops.reshape(ops.arange(flow.dimensions, dtype="float32"), (1, *flow.event_shape))
        for layer, inverted in layers:
            outside = layer.outside_latent(values) if inverted else layer.outside(values)
            if outside is not None and ops.any(outside):
                what = ("Invert of " if inverted else "") + _kind(layer)
                raise ValueError(_message(flow, layer, what, part, ops.convert_to_numpy(outside), places))
            values = layer(values, forward=inverted)
            places = layer(places, forward=inverted) if isinstance(layer, MOVES) else places


def _fixed_layers(chain):
    """The layers from the data end that neither learn nor take noise, to the last that does not make all.

    Each is a pair with whether it runs from latent to data, as a part of what is inverted.
    """
    layers = itertools.takewhile(
        lambda part: part[0].noise_shape is None and (isinstance(part[0], MOVES) or not part[0].weights),
        _from_data(chain),
    )
    layers = list(layers)
    while layers and _makes_all(*layers[-1]):
        layers.pop()
    return layers


def _makes_all(layer, inverted):
    if inverted:
        return layer.takes_every_latent
    return type(layer).outside is FlowLayer.outside


def _from_data(layer, inverted=False):
    if isinstance(layer, Invert):
        yield from _from_data(layer.layer, not inverted)
    elif isinstance(layer, Chain):
        for part in layer.flow_layers if inverted else reversed(layer.flow_layers):
            yield from _from_data(part, inverted)
    else:
        yield layer, inverted


def _kind(layer):
    return f"TFPBijector {layer.kind!r}" if hasattr(layer, "kind") else type(layer).__name__


def _message(flow, layer, what, x, outside, places):
    rows = outside.reshape(len(x), -1).any(axis=1).sum()
    row, *place = np.argwhere(outside)[0]
    where = f"example {row}"
    if outside.size == x.size:
        place = np.unravel_index(int(ops.convert_to_numpy(places)[(0, *place)]), flow.event_shape)
        column = place[0] if len(place) == 1 else tuple(map(int, place))
        where = f"column {column}, value {x[(row, *place)]:g} of {where}"
    return (
        f"{flow.name} has no density at {rows} of {len(x)} examples, since {layer.name}, {what}, "
        f"makes no such numbers, however it trains: {where}. Remove these examples, move their values "
        "inside, such as by np.clip, or put another layer at the data end."
    )
