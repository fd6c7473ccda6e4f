"""Weights files: writing them in 16 or 32 bits, reading them with care."""

import pathlib
from typing import Any

import h5py
import numpy as np
from keras import ops

from flowzoo.naming import named_weights
from flowzoo.registry.architecture import build
from flowzoo.registry.download import find_weights
from flowzoo.registry.errors import RegistryError
from flowzoo.registry.folder import WEIGHTS_FILES, sha256, write_atomically
from flowzoo.registry.index import look_up
from flowzoo.types import PathLike


def load(name_or_path: PathLike, *, weights: bool = True, dtype: Any = None, **config: Any) -> Any:
    """A flow of the zoo by name, pretrained; its weights are downloaded once, and checked every time.

    Arguments:
        name_or_path: one of `flowzoo.list_models()`, with a version as "nice-mnist@1" to accept no other; a
            folder with `model.json` and weights, written as a path, such as "./mine", for a name alone is
            one of the zoo; or "hf://user/model" (with huggingface_hub installed).
        weights: False for the bare architecture with new weights.
        dtype: name of the dtype policy of the model and all its layers, such as "float64" or
            "mixed_bfloat16"; None for Keras's global one.
        config: arguments of the model's class instead of those that it was trained with, such as
            `remat=True`.

    Returns: a `flowzoo.Flow` of the class that the model card names.
    Raises: RegistryError, a ValueError, for an unknown name, a broken card, or weights that are
        out of reach, damaged or of another architecture.

    Example:
        >>> flow = flowzoo.load("nice-mnist")
        >>> flow.sample(2, seed=0).shape == (2, 28, 28, 1)
        True
    """
    facts, folder = look_up(name_or_path)
    config = {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}
    flow = build({**facts, "config": facts["config"] | config}, dtype)
    if weights:
        read_weights(flow, find_weights(facts, folder))
    return flow


def read_weights(flow, path):
    """Sets the weights of a built flow from a file, all of them or, where one does not fit, none.

    Raises: RegistryError that names the tensor that is missing, superfluous or does not fit.
    """
    try:
        tensors = read_tensors(path)
    except RegistryError:
        raise
    except Exception as error:  # what h5py and safetensors make of a broken file
        raise RegistryError(f"The weights file {path} cannot be read: {error}") from error
    own = named_weights(flow)
    _check_names(own.keys(), tensors.keys(), path)
    for name, variable in own.items():
        _check_fit(tensors[name], ops.convert_to_numpy(variable), f"{name} in {path}")
    for name, variable in own.items():
        variable.assign(tensors[name])


def _check_names(expected, given, path):
    for names, what in ((expected - given, "lacks"), (given - expected, "has")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise RegistryError(
                f"The weights in {path} do not fit the model: the file {what} the tensor {min(names)}{more}"
                f"{', which the model has not' if what == 'has' else ''}."
            )


def _check_fit(tensor, own, name):
    """Refuses a tensor that is not of the shape and kind of the model's `own`."""
    if tensor.shape != own.shape:
        raise RegistryError(
            f"The weights do not fit the model: tensor {name} has shape {tensor.shape}, but the model's has "
            f"{own.shape}."
        )
    if (tensor.dtype.kind == "f") != (own.dtype.kind == "f"):
        raise RegistryError(f"Tensor {name} is of dtype {tensor.dtype}, but the model's is {own.dtype}.")
    if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
        raise RegistryError(f"Tensor {name} has NaN or infinite values.")
    if tensor.dtype.kind != "f" and own.ndim and not np.array_equal(np.sort(tensor), np.sort(own)):
        raise RegistryError(f"Tensor {name} must hold the same integers as the model's, in any order.")
    if tensor.dtype.kind != "f" and not own.ndim and tensor not in (0, 1):
        raise RegistryError(f"Tensor {name} must be 0 or 1; got {tensor}.")


def read_tensors(path):
    """The tensors of a weights file by name; only plain numbers stored in the file itself are read."""
    if path.name.endswith("safetensors"):
        return _safetensors().load_file(path)
    with h5py.File(path) as file:
        return {name: _plain(dataset, path) for name, dataset in _datasets(file).items()}


def _plain(dataset, path):
    size = dataset.size * dataset.dtype.itemsize
    if dataset.dtype.kind not in "fiu" or dataset.external or dataset.is_virtual or dataset.chunks:
        raise RegistryError(f"Tensor {dataset.name} in {path} must hold plain numbers; got {dataset.dtype}.")
    if size > path.stat().st_size:
        raise RegistryError(f"Tensor {dataset.name} in {path} claims {size:,} bytes, more than the file has.")
    return dataset[()] if dataset.ndim else np.asarray(dataset[()])


def _datasets(group, prefix="", depth=0):
    """All datasets below an HDF5 group by path; links to elsewhere are refused."""
    if depth > 20:
        raise RegistryError(f"{group.file.filename} has groups nested over 20 deep.")
    found = {}
    for name in group:
        if type(group.get(name, getlink=True)) is not h5py.HardLink:
            raise RegistryError(
                f"{prefix}{name} in {group.file.filename} is a link, which weights must not have."
            )
        item = group[name]
        if isinstance(item, h5py.Group):
            found |= _datasets(item, f"{prefix}{name}/", depth + 1)
        elif isinstance(item, h5py.Dataset):
            found[prefix + name] = item
        if len(found) > 10**5:
            raise RegistryError(f"{group.file.filename} has over 100,000 tensors.")
    return found


def save_weights(flow, folder, dtype="float16", format="h5"):
    """Writes `flow`'s weights, floats as `dtype`, and returns the facts that `model.json` keeps."""
    formats = dict(zip(("h5", "safetensors"), WEIGHTS_FILES, strict=True))
    if format not in formats:
        raise ValueError(f"format must be one of {', '.join(map(repr, formats))}; got {format!r}.")
    if dtype not in ("float16", "float32"):
        raise ValueError(f"dtype must be 'float16' or 'float32'; got {dtype!r}.")
    tensors = {name: _stored(name, variable, dtype) for name, variable in named_weights(flow).items()}
    path = pathlib.Path(folder) / formats[format]
    write_atomically(path, lambda temporary: write_tensors(temporary, tensors, format))
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256(path), "dtype": dtype}


def write_tensors(path, tensors, format):
    """Writes arrays by name as "h5", a group for each part of a name, or as "safetensors"."""
    if format == "safetensors":
        _safetensors().save_file(tensors, path)
        return
    with h5py.File(path, "w") as file:
        for name, value in tensors.items():
            file.create_dataset(name, data=value)


def _stored(name, variable, dtype):
    value = ops.convert_to_numpy(variable)
    if value.dtype.kind == "f":
        with np.errstate(over="ignore"):
            value = value.astype(dtype if variable.trainable else "float32")  # statistics may be large
        if not np.isfinite(value).all():
            raise ValueError(f"The weight {name} is not finite in {dtype}.")
    return value


def _safetensors():
    try:
        import safetensors.numpy
    except ImportError as error:
        raise RegistryError("Weights in safetensors need: pip install 'flowzoo[hub]'") from error
    return safetensors.numpy
