"""The data that a `model.json` names: examples, their labels, and batches of them."""

from flowzoo.datasets import TOY_DENSITIES, Batches, ImageBatches, binarize, load_arrays
from flowzoo.registry.architecture import build
from flowzoo.registry.index import info
from flowzoo.training.data_file import reader_of_file, write_data_file
from flowzoo.training.facts import check_data
from flowzoo.types import PathLike


def reader(facts, data_dir=None, file=None):
    """A function `read(role, labels=None)` that gives what the data of a `model.json` hold.

    It gives the examples of the role "train" or "test", in the order they are stored, and their labels:
    those of the data set with `labels=True`, or of an attribute by its name, or None.

    Arguments:
        facts: with "data": their name, and how they are prepared.
        data_dir: TFDS's data folder.
        file: path of a file that `flowzoo data` wrote, to read instead of TFDS; without TensorFlow.
    """
    data = facts["data"]
    if file is not None:
        return reader_of_file(file, facts)
    if data["name"] in TOY_DENSITIES:
        density = TOY_DENSITIES[data["name"]]()
        return lambda role, labels=None: (
            density.sample(data["points"][data[role]], seed=("train", "test").index(role)),
            None,
        )
    return lambda role, labels=None: load_arrays(
        data["name"], data[role], size=data.get("size", 64), labels=labels, data_dir=data_dir
    )


def write_data(
    name_or_path: PathLike, path: PathLike, *, data_dir: str | None = None
) -> dict[str, tuple[int, ...]]:
    """Writes the data that a model of the zoo is trained and measured on as one .npz file.

    `flowzoo.training.train` and `evaluate_pretrained` read it, `data_file=`, on machines without TFDS.

    Returns: dict from the names of the file's arrays to their shapes.
    Raises: ValueError for a path that is no .npz file in a folder that exists; as `train` for a model without
        data.
    """
    facts = info(name_or_path)
    check_data(facts, "train", "test")
    return write_data_file(path, facts, reader(facts, data_dir), labels_for(build(facts), facts["data"]))


def labels_for(model, data):
    """What a model is conditioned on, as a reader takes it: None, True, or an attribute's name."""
    return None if model.context_shape is None else data.get("labels", True)


def training_and_validation(model, facts, devices, read):
    """Two tuples of arrays, examples and perhaps labels; the last training examples are held out.

    Each holds as many examples as all devices can share evenly. Where the recipe holds none out, the
    second is None.

    Raises: ValueError for a recipe that leaves none for training.
    """
    data, held_out = facts["data"], facts["recipe"]["validation_examples"]
    arrays = [part for part in read("train", labels_for(model, data)) if part is not None]
    kept = len(arrays[0]) - held_out
    if kept < devices.count:
        raise ValueError(
            f"The recipe of {facts['name']} holds {held_out:,} of {len(arrays[0]):,} examples out for "
            "validation and leaves too few for training; give it less validation_examples, 0 for none."
        )
    training, validation = (
        tuple(_even(part[chosen], devices.count) for part in arrays)
        for chosen in (slice(kept), slice(kept, None))
    )
    if not len(validation[0]):
        return training, None
    if data.get("binarize"):
        validation = (binarize(validation[0]), *validation[1:])
    return training, validation


def _even(examples, devices):
    return examples[: len(examples) // devices * devices]


def training_batches(arrays, facts, *, epoch):
    """The recipe's batches, shuffled and changed at random from epoch to epoch, from `epoch` on."""
    data, recipe = facts["data"], facts["recipe"]
    options = {"batch_size": recipe["batch_size"], "seed": recipe["seed"], "epoch": epoch}
    if data["name"] in TOY_DENSITIES:
        return Batches(*arrays, **options)
    return ImageBatches(
        *arrays, flip=data.get("flip", False), binarize=data.get("binarize", False), **options
    )
