"""Directions of a model's latent space that change an attribute, kept as text in its `model.json`."""

import base64

import numpy as np

from flowzoo.registry.errors import RegistryError
from flowzoo.registry.folder import MODEL_FILE
from flowzoo.registry.index import info
from flowzoo.types import PathLike


def attribute_directions(name_or_path: PathLike) -> dict[str, np.ndarray]:
    """The attribute directions that come with a pretrained model, for `flow.manipulate`.

    Each is the mean latent of training images with the attribute less that of training images as
    they come, of 1,000 each at most.

    Arguments:
        name_or_path: of `flowzoo.list_models()`, or a model's folder.

    Returns: dict from the attribute's name to a float32 array (D,); empty if the model has none.
    Raises: RegistryError if what `model.json` holds is no direction.

    Example:
        >>> flowzoo.registry.attribute_directions("nice-mnist")
        {}
    """
    return decoded(info(name_or_path))


def decoded(facts):
    """The directions in the facts of a model, as arrays by name."""
    try:
        return {name: _decoded(text) for name, text in facts.get("directions", {}).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise RegistryError(
            f"'directions' in the {MODEL_FILE} of {facts['name']} must map names to finite float16 numbers "
            f"in base64: {error}"
        ) from error


def encoded(direction):
    """A direction as text: float16 numbers, least significant byte first, in base64."""
    return base64.b64encode(np.asarray(direction, "<f2").tobytes()).decode("ascii")


def _decoded(text):
    direction = np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype("float32")
    if not np.isfinite(direction).all():
        raise ValueError("it has NaN or infinite values")
    return direction
