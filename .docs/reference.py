"""Pages of the API reference, one for each module and each public class."""

import importlib
import inspect
import pkgutil
import re

import flowzoo

MODELS = (flowzoo.Flow, flowzoo.FlowVAE)
OF_KERAS = {"build", "call", "compute_output_shape", "from_config", "get_config", "compile_from_config"}
WITH_OWN_METHODS = ("flowzoo.layers.flow_layer", "flowzoo.transformers.transformer", "flowzoo.base")
NO_PAGE = {"flowzoo.models"}  # whose classes are those of flowzoo itself
TOPICS = {  # of the two model classes; what is in none of them comes last
    "Training": "compile fit evaluate predict train_on_batch test_on_batch initialize fit_variational",
    "Densities": "log_prob bits_per_dim elbo round_trip_error class_log_probs anomaly_score",
    "Samples and latents": "sample encode decode reconstruct interpolate attribute_direction mean_latent "
    "manipulate level_sizes latent_dimensions",
    "With TensorFlow Probability, and served": "distribution bijector base_distribution export",
}


def modules():
    """The public modules, flowzoo itself first."""
    named = [name for name in flowzoo.__all__ if inspect.ismodule(getattr(flowzoo, name))]
    packages = [module.name for module in pkgutil.iter_modules(flowzoo.__path__) if module.ispkg]
    names = sorted(f"flowzoo.{name}" for name in {*named, *packages})
    return [flowzoo, *(importlib.import_module(name) for name in names if name not in NO_PAGE)]


def public_names(module):
    """What a module offers: its `__all__`, or the functions and classes that are defined in it."""
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]
    return [
        name
        for name, value in vars(module).items()
        if name[0] != "_" and callable(value) and getattr(value, "__module__", None) == module.__name__
    ]


def public():
    """Every public name once, (module, name): of names for one object that of the shortest address."""
    seen = {}
    for module in modules():
        for name in public_names(module):
            seen.setdefault(id(getattr(module, name)), (module, name))
    return list(seen.values())


def members(owner):
    """The documented methods and properties of a class that flowzoo defines, without those that it has from
    a class with a page of its own."""
    parents = [one for one in owner.__mro__ if one.__module__.startswith("flowzoo")]
    if owner not in MODELS:
        with_page = (*WITH_OWN_METHODS, "flowzoo.flow", "flowzoo.vae")
        at = next(
            (i for i, one in enumerate(parents) if one.__module__ in with_page and one is not owner), None
        )
        parents = parents[:at]
    found = {}
    for parent in parents:
        for name, value in vars(parent).items():
            documented = getattr(getattr(value, "__func__", value), "__doc__", None)
            known = callable(value) or isinstance(value, (classmethod, staticmethod, property))
            if name[0] != "_" and name not in OF_KERAS and documented and known:
                found.setdefault(name, value)
    return found


def by_topic(owner):
    """The same as pairs of a heading and names."""
    rest, found = dict(members(owner)), []
    for topic, names in TOPICS.items() if owner in MODELS else ():
        names = [name for name in names.split() if rest.pop(name, None) is not None]
        found.append((topic, names))
    return [*found, ("More" if found else "Methods", list(rest))]


def summary(value):
    """The first sentence of a docstring."""
    first = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<=[\w)`\"])\. (?=[A-Z])", first)[0].rstrip(".:") + "." if first else ""


def class_page(module, name):
    address = f"{module.__name__}.{name}"
    owner = getattr(module, name)
    lines = [name, "=" * len(name), "", f".. autoclass:: {address}", ""]
    for topic, names in by_topic(owner):
        lines += [f"   .. rubric:: {topic}", ""] if names else []
        for member in names:
            kind = "autoproperty" if isinstance(members(owner)[member], property) else "automethod"
            lines += [f"   .. {kind}:: {member}", ""]
    parent = next((model for model in MODELS if issubclass(owner, model) and owner is not model), None)
    if parent is not None:
        link = f":doc:`flowzoo.{parent.__name__}`"
        lines.append(f"Its methods are those of {link}: training, densities, samples, latents, saving.")
    return "\n".join([*lines, ""])


def module_page(module, entries):
    from docstrings import inline

    address = module.__name__
    lines = [address, "=" * len(address), "", f".. automodule:: {address}", ""]
    classes = [name for name in entries if inspect.isclass(getattr(module, name))]
    lines += [".. list-table::", "   :widths: 36 64", "   :class: summary", ""]
    for name in entries:
        target = (
            f":doc:`{name} <{address}.{name}>`" if name in classes else f":py:obj:`{name} <{address}.{name}>`"
        )
        lines += [f"   * - {target}", f"     - {inline(summary(getattr(module, name)))}"]
    if classes:
        lines += [
            "",
            ".. toctree::",
            "   :hidden:",
            "",
            *(f"   {address}.{name}" for name in sorted(classes)),
        ]
    for name in entries:
        value = getattr(module, name)
        if name not in classes:
            kind = "autofunction" if callable(value) else "autodata"
            lines += ["", f".. {kind}:: {address}.{name}"]
            lines += ["   :no-value:"] if kind == "autodata" else []
    return "\n".join([*lines, ""])


def write(folder):
    """Writes all pages into `folder`; returns the addresses of all public names."""
    folder.mkdir()
    entries = public()
    by_module = {module: [name for owner, name in entries if owner is module] for module in modules()}
    by_module = {module: names for module, names in by_module.items() if names}
    for module, names in by_module.items():
        (folder / f"{module.__name__}.rst").write_text(module_page(module, names), encoding="utf-8")
        for name in names:
            if inspect.isclass(getattr(module, name)):
                path = folder / f"{module.__name__}.{name}.rst"
                path.write_text(class_page(module, name), encoding="utf-8")
    pages = "\n".join(f"   {module.__name__}" for module in by_module)
    rows = "\n".join(f"   * - :doc:`{module.__name__}`\n     - {summary(module)}" for module in by_module)
    (folder / "index.rst").write_text(
        "Reference\n=========\n\n"
        "Every public name, from its docstring; the examples in them are run as tests.\n\n"
        f".. list-table::\n   :widths: 36 64\n   :class: summary\n\n{rows}\n\n"
        f".. toctree::\n   :hidden:\n\n{pages}\n",
        encoding="utf-8",
    )
    return [f"{module.__name__}.{name}" for module, name in entries]
