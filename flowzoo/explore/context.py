"""What kind of data a model has, and the context that a request asks for."""

import math

import numpy as np

MOST_NUMBERS = 16  # of a context that is typed in


def kind(model):
    """ "images" of 8 bits or of black and white, "plane", or "vectors", which all else is told as."""
    shape = model.event_shape
    if len(shape) == 3 and shape[2] in (1, 3) and (model.data_dtype == "uint8" or is_binary(model)):
        return "images"
    return "plane" if shape == (2,) and not is_vae(model) else "vectors"


def is_binary(model):
    """Whether the data are 0 and 1, and samples the probability of a 1."""
    return getattr(model, "likelihood", None) == "bernoulli"


def is_vae(model):
    """Whether the latents are those of an encoder, so that an example comes back but nearly."""
    return hasattr(model, "elbo")


def latent_flow(model):
    """The flow whose base the latents are drawn from; None for a VAE without a flow as its prior."""
    return model.prior_flow if is_vae(model) else model


def contexts(model, n, label=None, context=None):
    """The context of `n` examples, or None for a model without.

    Arguments:
        label: of a model with classes: the class of all, or None for all classes in turn.
        context: of another conditional model, its numbers for all.

    Raises: ValueError that says what the model asks for.
    """
    if model.context_shape is None:
        return None
    if model.classes:
        if label is None:
            return np.arange(n) % model.classes
        if isinstance(label, bool) or label not in range(model.classes):
            raise ValueError(f"The class must be an integer from 0 to {model.classes - 1}; got {label!r}.")
        return np.full(n, label)
    size = math.prod(model.context_shape)
    if size > MOST_NUMBERS:
        raise ValueError(
            f"{model.name} draws for a context of shape {model.context_shape}, which this page cannot ask "
            "for. In Python, flow.sample(n, context) takes it."
        )
    values = numbers("The context", context if context is not None else [0.0] * size, size)
    return np.broadcast_to(values.reshape(model.context_shape), (n, *model.context_shape))


def numbers(what, values, size):
    """A list of `size` finite numbers, float32.

    Example:
        >>> from flowzoo.explore.context import numbers
        >>> numbers("The point", [1, 2], 3)
        Traceback (most recent call last):
        ValueError: The point must have 3 numbers; got 2.
    """
    values = values if isinstance(values, list) else [values]
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        raise ValueError(f"{what} must be numbers.")
    if len(values) != size:
        raise ValueError(f"{what} must have {size} number{'s' * (size != 1)}; got {len(values)}.")
    values = np.array(values, "float32")
    if not np.isfinite(values).all():
        raise ValueError(f"{what} must be finite numbers.")
    return values


def whole(what, value, low, high):
    """An integer from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{what} must be an integer from {low:,} to {high:,}; got {value!r}.")
    return value


def seed_of(value):
    return whole("The seed", value, 0, 2**31 - 1)


def figure(name, value, unit, note=""):
    """A number with its unit for the page; None stands for one that is not finite."""
    value = float(value)
    return {"name": name, "value": value if math.isfinite(value) else None, "unit": unit, "note": note}
