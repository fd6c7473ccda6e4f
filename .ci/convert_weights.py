"""Converts models' folders of format 1, whose tensors have Keras's names, to format 2, by public names.

python .ci/convert_weights.py FOLDER...

The numbers stay as they are. A folder is changed only once its model, loaded from the converted weights,
has the fingerprint that its model.json stored.
"""

import pathlib
import re
import sys
import tempfile

import h5py
import numpy as np
from keras import ops

from flowzoo.naming import named_weights
from flowzoo.registry.architecture import build
from flowzoo.registry.card import card
from flowzoo.registry.errors import RegistryError
from flowzoo.registry.fingerprint import largest_difference
from flowzoo.registry.folder import (
    FORMAT,
    check_file,
    read_model_file,
    sha256,
    write_atomically,
    write_model_file,
    write_text,
)
from flowzoo.registry.weights import read_tensors, read_weights, write_tensors

TOLERANCE = 1e-5  # relative, of fingerprints
# From names that Keras gives now to those that it gave in format 1.
RENAMED = (
    (r"(^|/)(variational_dequantize(?:_\d+)?)/chain/flow_layers/", r"\1\2/noise_layers/"),
    (r"(^|/)chain/flow_layers/", r"\1flow_layers/"),
    (r"/convolutions/pointwise_conv2d/", "/convolutions/conv2d_1/"),
    (r"^(posterior_flow|prior_flow|layers/\w+)/flow_layers/", "flow_layers/"),
)


def names_of_format_1(model):
    """The name in a file of format 1 of every weight: dict from public names.

    Every weight gets a value of its own, and Keras writes them all into a file.
    """
    names = list(named_weights(model))
    for number, weight in enumerate(named_weights(model).values()):
        weight.assign(np.full(weight.shape, number))
    found = {}

    def look(path, item):
        if isinstance(item, h5py.Dataset):
            found.setdefault(int(np.ravel(item[()])[0]), []).append(as_in_format_1(path))

    with tempfile.TemporaryDirectory() as work:
        model.save_weights(pathlib.Path(work) / "all.weights.h5")
        with h5py.File(pathlib.Path(work) / "all.weights.h5") as file:
            file.visititems(look)
    if sorted(found) != list(range(len(names))) or any(len(paths) > 1 for paths in found.values()):
        raise RegistryError(f"Keras does not write the weights of {model.name} once each.")
    old = {names[number]: path for number, [path] in found.items()}
    if len(set(old.values())) < len(old):
        raise RegistryError(f"Two weights of {model.name} had one name in format 1.")
    return old


def as_in_format_1(path):
    """A name that Keras gives now as it was in format 1.

    Example:
        >>> as_in_format_1("chain/flow_layers/factor_out/chain/flow_layers/act_norm/vars/0")
        'flow_layers/factor_out/flow_layers/act_norm/vars/0'
    """
    for pattern, replacement in RENAMED:
        while (changed := re.sub(pattern, replacement, path)) != path:
            path = changed
    return path


def fingerprint_of_format_1(model, facts):
    """The fingerprint as format 1 defined it: what is constant in a learned dequantiser was left out."""
    found = model.fingerprint()
    if facts["config"].get("dequantization") != "variational":
        return found
    x, _, noise = model.fixed_inputs()
    layer = model.flow_layers[-1]
    start = np.log(noise) - np.log1p(-noise)
    seen = ops.convert_to_tensor(2 * np.floor(x / layer.step) / layer.bins - 1)
    logits, _ = layer.chain.forward_and_log_det(ops.convert_to_tensor(start), seen)
    logits = ops.convert_to_numpy(logits).astype("float64")
    left_out = slopes(logits) + np.log1p(-2 * layer.margin) - slopes(start)
    return [float(value) for value in found - left_out.sum(axis=(1, 2, 3))]


def slopes(logits):
    """log(p (1 - p)) for p = sigmoid(logits)."""
    return -np.logaddexp(0, -logits) - np.logaddexp(0, logits)


def convert(folder):
    """Converts one folder; returns the number of tensors and how far the fingerprints lie apart.

    Raises: RegistryError for a folder that is not of format 1, for tensors that are missing or left over,
        and for a fingerprint that is another; the folder is then as it was.
    """
    folder = pathlib.Path(folder)
    facts = read_model_file(folder)
    if "weights" not in facts or facts.get("format", 1) != 1:
        raise RegistryError(f"{folder} holds no weights of format 1.")
    old_path = folder / facts["weights"]["file"]
    check_file(old_path, facts["weights"])
    tensors = read_tensors(old_path)
    names = names_of_format_1(build(facts))
    missing, left_over = set(names.values()) - tensors.keys(), tensors.keys() - set(names.values())
    if missing or left_over:
        raise RegistryError(
            f"{old_path} does not fit: missing are {sorted(missing)[:3]}, left over {sorted(left_over)[:3]}, "
            f"{len(missing)} and {len(left_over)} in all."
        )
    converted = {name: tensors[old] for name, old in names.items()}
    model = build(facts)
    with tempfile.TemporaryDirectory() as work:
        path = pathlib.Path(work) / old_path.name
        write_tensors(path, converted, "safetensors" if path.suffix == ".safetensors" else "h5")
        read_weights(model, path)
        difference = largest_difference(fingerprint_of_format_1(model, facts), facts["fingerprint"])
        if not difference < TOLERANCE:
            raise RegistryError(f"{folder} has another fingerprint once converted: {difference:.1e} apart.")
        write_atomically(old_path, lambda temporary: temporary.write_bytes(path.read_bytes()))
    facts["format"], facts["version"] = FORMAT, facts.get("version", 1)
    facts["weights"] |= {"bytes": old_path.stat().st_size, "sha256": sha256(old_path)}
    if facts["config"].get("dequantization") == "variational":  # whose fingerprint is whole now
        facts["fingerprint"] = model.fingerprint()
    write_model_file(folder, facts)
    write_text(folder / "README.md", card(facts))
    return len(converted), difference


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    print("folder | tensors | largest relative difference of the fingerprint")
    for folder in sys.argv[1:]:
        count, difference = convert(folder)
        print(f"{folder} | {count} | {difference:.1e}", flush=True)


if __name__ == "__main__":
    main()
