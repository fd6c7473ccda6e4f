"""Lists of flow layers, latent to data, run one after another."""

from keras import ops

from flowzoo.layers.flow_layer import FlowLayer
from flowzoo.layers.remat import Rematerialize


def build_chain(layers, x_shape, context_shape=None):
    """Builds every layer that is not built yet, from the data end; returns the latent shape."""
    for layer in reversed(layers):
        if not layer.built:
            layer.build(x_shape, context_shape)
        x_shape = tuple(layer.compute_output_shape(x_shape))
    return x_shape


def forward_chain(layers, z, context=None):
    """x and log |det dx/dz|, latent to data."""
    total = no_log_det(z)
    for layer in layers:
        z, log_det = run_layer(layer, layer.forward_and_log_det, z, context)
        total = total + log_det
    return z, total


def inverse_chain(layers, x, context=None):
    """z and each layer's log |det dz/dx| from the data end, data to latent."""
    log_dets = []
    for layer in reversed(layers):
        x, log_det = run_layer(layer, layer.inverse_and_log_det, x, context)
        log_dets.append(log_det)
    return x, log_dets


def run_layer(layer, method, values, context):
    """`method(values, context)` of a layer, whose activations are made again later if it asks for it."""
    if not layer.remat:
        return method(values, context)
    inputs = [values] if context is None else [values, context]
    return Rematerialize()(inputs, function=method, layer=layer)


def initialize_chain(layers, x, context=None):
    """Starts the layers from one batch, each from what the ones on its data side make of it."""
    for layer in reversed(layers):
        layer.initialize(x, context)
        if layer is not layers[0]:  # nothing starts from what the latent end makes
            x, _ = layer.inverse_and_log_det(x, context)


def no_log_det(values):
    """Zeros of shape (batch,)."""
    return ops.zeros_like(values[(slice(None), *[0] * (len(values.shape) - 1))])


def checked_layers(flow_layers):
    """`flow_layers` as a list, in which each layer is a flow layer and stands once."""
    flow_layers = list(flow_layers)
    for i, layer in enumerate(flow_layers):
        if not isinstance(layer, FlowLayer):
            raise ValueError(f"flow_layers[{i}] is not a flow layer but {layer!r}.")
        for j in range(i):
            if flow_layers[j] is layer:
                raise ValueError(
                    f"flow_layers[{j}] and flow_layers[{i}] are the same layer, so they would share their "
                    "weights. Make each layer of its own: [make_layer() for _ in range(n)], not [layer] * n."
                )
    return flow_layers


def describe_chain(layers, indent=1):
    """One line a layer, latent to data, layers within a layer indented under it."""
    rows = []
    for layer in layers:
        rows.append(f"{'  ' * indent}-> {layer.name} {type(layer).__name__}")
        rows += describe_chain(getattr(layer, "flow_layers", ()), indent + 1)
    return rows
