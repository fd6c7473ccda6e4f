"""Public names of weights: the place in the chain and the role, such as `3/network/hidden_0/kernel`.

They tell weights apart in files, so they depend neither on private attributes nor on the numbers that
Keras adds to layers without names of their own.
"""

import keras


def named_weights(model):
    """All weights of a built model or layer, by name.

    A part with a method `named_parts()`, a dict from roles to parts, is made of these; one with
    `flow_layers` of these, their places being the roles; a functional, sequential or other Keras model of
    its layers, by their names. Any other weight is called as Keras calls it within its layer.

    Returns: dict from names to `keras.Variable`, in the order of the chain, without the seeds of random
        numbers and without metrics.
    Raises: ValueError if two weights would have one name.

    Example:
        >>> flow = flowzoo.NICE(event_shape=2, couplings=1, hidden_units=(8,))
        >>> list(named_weights(flow))[:4]
        ['0/weight', '0/initialized', '1/network/hidden_0/kernel', '1/network/hidden_0/bias']
    """
    found, done = {}, set()
    for name, weight in _named(model, ""):
        if id(weight) in done:
            continue
        if name in found:
            raise ValueError(
                f"Two weights of {model.name} would be called {name!r}. Give layers within a network, and "
                "weights within a layer, names of their own."
            )
        found[name] = weight
        done.add(id(weight))
    return found


def _named(part, prefix):
    """Names and weights, those of the parts first, and then of `part` as a whole."""
    for role, inner in _parts(part).items():
        yield from _named(inner, f"{prefix}{role}/")
    for weight in part.weights:
        yield prefix + weight.path.removeprefix(f"{part.path}/"), weight


def _parts(part):
    if hasattr(part, "named_parts"):
        return part.named_parts()
    if hasattr(part, "flow_layers"):
        return {str(place): layer for place, layer in enumerate(part.flow_layers)}
    if isinstance(part, keras.Model):
        return {layer.name: layer for layer in part.layers}
    return {}
