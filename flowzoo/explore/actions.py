"""What a page may ask for: each action takes an `Opened` model and a request, and answers in JSON's kinds."""

import inspect

import keras
import numpy as np

from flowzoo.explore import images, points
from flowzoo.explore.context import (
    MOST_NUMBERS,
    is_vae,
    kind,
    latent_flow,
    numbers,
    seed_of,
    whole,
)
from flowzoo.explore.pictures import data_url, fitted, opened
from flowzoo.registry.card import DATA, headline
from flowzoo.registry.publish import STRENGTH

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX"}
MOST_IMAGES = 64
MOST_POINTS = 5000
FRAMES = 11  # of a walk between images
PATH = 61  # points of a walk in the plane


def describe(source):
    """What the page needs to know of a model to show its controls."""
    model, facts = source.model, source.facts
    flow, seen = latent_flow(model), model.context_shape
    return {
        "kind": kind(model),
        "shape": list(model.event_shape),
        "text": facts.get("description", ""),
        "facts": _facts(model, facts),
        "temperature": facts.get("samples", {}).get("temperature", 1.0),
        "levels": list((flow or model).level_sizes),
        "classes": model.classes or 0,
        "guidance": images.takes_guidance(model),
        "context": int(np.prod(seen, dtype=int)) if seen is not None and not model.classes else 0,
        "most_context": MOST_NUMBERS,
        "vae": is_vae(model),
        "directions": list(source.directions),
        "strength": STRENGTH,
        "test": headline(facts),
    }


def _facts(model, facts):
    data = facts.get("data", {}).get("name")
    height, width, *_ = (*model.event_shape, 1)
    shape = {
        "images": f"{height} × {width} pixels",
        "plane": "points of the plane",
        "vectors": f"{' × '.join(map(str, model.event_shape))} numbers",
    }
    return [
        facts["class"],
        *([str(DATA.get(data, data))] if data else []),
        shape[kind(model)],
        f"{model.count_params():,} weights",
        f"computed by {BACKENDS[keras.backend.backend()]}",
    ]


def draw(source, n=16, seed=0, temperature=1.0, label=None, context=None, guidance=0.0):
    """Samples: pictures and their classes, or rows of numbers."""
    given = {
        "label": label,
        "context": context,
        "temperature": _temperature(temperature),
        "seed": seed_of(seed),
    }
    if kind(source.model) == "images":
        n = whole("The number of images", n, 1, MOST_IMAGES)
        drawn, labels = images.draw(source.model, n, guidance=_number("The guidance", guidance), **given)
        return {"images": [data_url(image) for image in drawn], "labels": labels}
    drawn = points.draw(source.model, whole("The number of points", n, 1, MOST_POINTS), **given)
    return {"points": drawn.tolist()}


def walk(source, a, b, label=None, context=None):
    """Pictures, or points, on the way from a to b."""
    model, given = source.model, {"label": label, "context": context}
    if kind(model) == "images":
        ends = [fitted(opened(end), model.event_shape) for end in (a, b)]
        return {"frames": [data_url(frame) for frame in images.walk(model, *ends, steps=FRAMES, **given)]}
    ends = [numbers("A point", end, model.dimensions) for end in (a, b)]
    return {"points": points.walk(model, *ends, steps=PATH, **given).tolist()}


def change(source, image, strengths, label=None, context=None):
    """A picture with its attributes changed, strength by name."""
    if not isinstance(strengths, dict):
        raise ValueError("strengths must be numbers by the attributes' names.")
    strengths = {name: _number(f"The strength of {name}", value) for name, value in strengths.items()}
    x = fitted(opened(image), source.model.event_shape)
    given = {"label": label, "context": context}
    return {"image": data_url(images.change(source.model, x, source.directions, strengths, **given))}


def look(source, image, invert=False, label=None, context=None):
    """An image as the model sees it, with its figures, and for a VAE what comes back."""
    x = fitted(opened(image), source.model.event_shape, invert=bool(invert))
    label, probabilities, figures = images.measure(source.model, x, label=label, context=context)
    back = images.reconstructions(source.model, x, n=3) if is_vae(source.model) else []
    return {
        "image": data_url(images.as_pixels(source.model, images.as_data(source.model, x))),
        "label": label,
        "classes": probabilities,
        "figures": figures,
        "reconstructions": [data_url(each) for each in back],
    }


def neighbours(source, image, distance=0.3, n=8, seed=0, label=None, context=None):
    """Pictures around one."""
    found = images.neighbours(
        source.model,
        fitted(opened(image), source.model.event_shape),
        distance=_number("The distance", distance),
        n=whole("The number of images", n, 1, MOST_IMAGES),
        label=label,
        context=context,
        seed=seed_of(seed),
    )
    return {"images": [data_url(each) for each in found]}


def redraw(source, image, levels, temperature=1.0, n=8, seed=0, label=None, context=None):
    """Pictures that share all but some levels of one's latent."""
    if not isinstance(levels, list):
        raise ValueError("levels must be a list of places, 0 the finest.")
    found = images.redraw(
        source.model,
        fitted(opened(image), source.model.event_shape),
        levels=levels,
        temperature=_temperature(temperature),
        n=whole("The number of images", n, 1, MOST_IMAGES),
        label=label,
        context=context,
        seed=seed_of(seed),
    )
    return {"images": [data_url(each) for each in found]}


def density(source, label=None, context=None):
    """The density of the plane as a picture, and the square that it shows."""
    _check_plane(source.model)
    given = {"label": label, "context": context}
    drawn = points.draw(source.model, 1000, **given)
    centre, radius = points.square(drawn)
    picture = points.density(source.model, centre, radius, **given)
    return {"image": data_url(picture), "centre": centre, "radius": radius}


def layers(source, n=600, seed=0, label=None, context=None):
    """The grid of the latent plane and draws of the base, after each layer."""
    _check_plane(source.model)
    n = whole("The number of points", n, 1, MOST_POINTS)
    names, lines, drawn = points.layers(source.model, n=n, label=label, context=context, seed=seed_of(seed))
    return {"names": names, "lines": lines.round(3).tolist(), "points": drawn.round(3).tolist()}


def measure(source, row, label=None, context=None):
    """Figures of a row of numbers."""
    row = numbers("The row", row, source.model.dimensions)
    return {"figures": points.measure(source.model, row, label=label, context=context)}


def _check_plane(model):
    if kind(model) != "plane":
        raise ValueError(f"{model.name} is no flow of the plane; its data have shape {model.event_shape}.")


def _number(what, value):
    return float(numbers(what, value, 1)[0])


def _temperature(value):
    return (
        [_number("A temperature", each) for each in value]
        if isinstance(value, list)
        else _number("The temperature", value)
    )


ACTIONS = {
    action.__name__: action
    for action in (describe, draw, walk, change, look, neighbours, redraw, density, layers, measure)
}


def perform(action, source, request):
    """What an action answers to a request, a dict of its arguments.

    Raises: ValueError if the request lacks an argument or has one that is not known.
    """
    try:
        inspect.signature(ACTIONS[action]).bind(source, **request)
    except TypeError as error:
        raise ValueError(f"The page asks for {action} in a way that is not known: {error}.") from error
    return ACTIONS[action](source, **request)
