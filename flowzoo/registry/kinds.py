"""JSON values held against the annotations of a constructor's arguments."""

import re
import types
import typing

from flowzoo.models.arguments import Network, PerLevel, Places, Whole
from flowzoo.registry.networks import is_network

LARGEST_INTEGER = 2**16
LARGEST_NUMBER = 1000
MOST_AXES = 64
MOST_LEVELS = 16
MOST_STEPS = 1024
MOST_PLACES = 1024


def fits(annotation, value):
    """Whether a JSON value is of the annotated type, and of a sensible size.

    An annotation that is not known here, or is missing, fits nothing.

    Example:
        >>> fits(int | None, None), fits(int, 3), fits(int, "3"), fits(tuple[int, ...], [2, 2])
        (True, True, False, True)
    """
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return any(fits(each, value) for each in typing.get_args(annotation))
    return annotation in CHECKS and CHECKS[annotation](value)


def _is_count(value, most=LARGEST_INTEGER):
    return type(value) is int and 0 < value <= most


CHECKS = {
    types.NoneType: lambda value: value is None,
    bool: lambda value: isinstance(value, bool),
    int: _is_count,
    Whole: lambda value: type(value) is int and 0 <= value < 2**31,
    float: lambda value: type(value) in (int, float) and 0 <= value <= LARGEST_NUMBER,
    str: lambda value: isinstance(value, str) and re.fullmatch("[a-z0-9_]{1,40}", value) is not None,
    tuple[int, ...]: lambda value: (
        isinstance(value, list) and len(value) <= MOST_AXES and all(map(_is_count, value))
    ),
    Places: lambda value: (
        isinstance(value, list)
        and len(value) <= MOST_PLACES
        and all(type(each) is int and 0 <= each < LARGEST_INTEGER for each in value)
    ),
    Network: is_network,
    PerLevel: lambda value: (
        isinstance(value, list)
        and 0 < len(value) <= MOST_LEVELS
        and all(_is_count(each, MOST_STEPS) for each in value)
    ),
}
