"""Every public signature has type hints; `pyright` holds them against the code."""

import functools
import inspect
import types

import flowzoo


def public_functions():
    """Name and function of all that the package offers: functions, and the methods of classes."""
    for name in flowzoo.__all__:
        offered = getattr(flowzoo, name)
        members = [offered]
        if isinstance(offered, types.ModuleType):
            own = [key for key in vars(offered) if not key.startswith("_")]
            members = [getattr(offered, key) for key in getattr(offered, "__all__", own)]
        for member in members:
            if not getattr(member, "__module__", "").startswith("flowzoo"):
                continue
            if inspect.isclass(member):
                yield from methods(member)
            elif inspect.isfunction(member):
                yield f"{member.__module__}.{member.__qualname__}", member


def methods(cls):
    for owner in cls.__mro__:
        if not owner.__module__.startswith("flowzoo"):
            continue
        for name, value in vars(owner).items():
            if isinstance(value, (classmethod, staticmethod)):
                value = value.__func__
            if isinstance(value, property):
                value = value.fget
            if isinstance(value, functools.cached_property):
                value = value.func
            if inspect.isfunction(value) and (name == "__init__" or not name.startswith("_")):
                yield f"{owner.__module__}.{value.__qualname__}", value


def unannotated(name, function):
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.name not in ("self", "cls") and parameter.annotation is inspect.Parameter.empty:
            yield f"{name}({parameter.name})"
    if signature.return_annotation is inspect.Signature.empty and not name.endswith("__init__"):
        yield f"{name}() ->"


def test_every_public_signature_has_type_hints():
    functions = dict(public_functions())
    assert len(functions) > 400
    assert not sorted({hint for name, function in functions.items() for hint in unannotated(name, function)})
