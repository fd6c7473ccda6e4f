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
        for layer in layers:
            outside = layer.outside(values)
            if outside is not None and ops.any(outside):
                raise ValueError(_message(flow, layer, part, ops.convert_to_numpy(outside), places))
            values = layer(values)
            places = layer(places) if isinstance(layer, MOVES) else places


def _fixed_layers(chain):
    """The layers from the data end that neither learn nor take noise, to the last that does not make all."""
    layers = itertools.takewhile(
        lambda layer: layer.noise_shape is None and (isinstance(layer, MOVES) or not layer.weights),
        _from_data(chain),
    )
    layers = list(layers)
    while layers and type(layers[-1]).outside is FlowLayer.outside:
        layers.pop()
    return layers


def _from_data(chain):
    for layer in reversed(chain.flow_layers):
        yield from _from_data(layer) if isinstance(layer, Chain) else [layer]


def _kind(layer):
    if isinstance(layer, Invert):
        return f"Invert of {_kind(layer.layer)}"
    return f"TFPBijector {layer.kind!r}" if hasattr(layer, "kind") else type(layer).__name__


def _message(flow, layer, x, outside, places):
    rows = outside.reshape(len(x), -1).any(axis=1).sum()
    row, *place = np.argwhere(outside)[0]
    where = f"example {row}"
    if outside.size == x.size:
        place = np.unravel_index(int(ops.convert_to_numpy(places)[(0, *place)]), flow.event_shape)
        column = place[0] if len(place) == 1 else tuple(map(int, place))
        where = f"column {column}, value {x[(row, *place)]:g} of {where}"
    return (
        f"{flow.name} has no density at {rows} of {len(x)} examples, since {layer.name}, {_kind(layer)}, "
        f"makes no such numbers, however it trains: {where}. Remove these examples, move their values "
        "inside, such as by np.clip, or put another layer at the data end."
    )
