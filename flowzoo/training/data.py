"""The data that a `model.json` names: examples, their labels, and batches of them."""

from flowzoo.datasets import TOY_DENSITIES, Batches, ImageBatches, binarize, load_arrays


def load_examples(model, data, split, data_dir=None):
    """Examples and, for a conditional model, their labels, or None.

    Arguments:
        model: that they are for.
        data: facts of a `model.json`: "name", and how they are prepared.
        split: of TFDS, or "train" or "test" of a density in the plane.
        data_dir: TFDS's data folder.
    """
    if data["name"] in TOY_DENSITIES:
        seed = ("train", "test").index(split)
        return TOY_DENSITIES[data["name"]]().sample(data["points"][split], seed=seed), None
    labels = None if model.context_shape is None else data.get("labels", True)
    return load_arrays(data["name"], split, size=data.get("size", 64), labels=labels, data_dir=data_dir)


def training_and_validation(model, facts, devices, data_dir=None):
    """Two tuples of arrays, examples and perhaps labels; the last training examples are held out.

    Each holds as many examples as all devices can share evenly. Where the recipe holds none out, the
    second is None.

    Raises: ValueError for a recipe that leaves none for training.
    """
    data, held_out = facts["data"], facts["recipe"]["validation_examples"]
    arrays = [part for part in load_examples(model, data, data["train"], data_dir) if part is not None]
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
