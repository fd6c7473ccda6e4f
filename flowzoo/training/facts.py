"""What a `model.json` must say of its data and recipe for a training, or a measurement."""

from flowzoo.datasets import TOY_DENSITIES
from flowzoo.registry.errors import RegistryError

RECIPE = (
    "seed",
    "validation_examples",
    "epochs",
    "batch_size",
    "warmup_steps",
    "optimizer",
    "dtype_policy",
    "jit_compile",
)


def check_recipe(facts):
    """Refuses facts that no training can follow.

    Raises: RegistryError that names what is missing, or what is of a wrong kind.
    """
    _check_keys(
        facts, "recipe", RECIPE, "It trains by fit, with any data: flowzoo.load(name, weights=False)."
    )
    recipe = facts["recipe"]
    for key, least in (("epochs", 1), ("batch_size", 1), ("validation_examples", 0), ("warmup_steps", 0)):
        if type(recipe[key]) is not int or recipe[key] < least:
            raise _wrong(facts, f"recipe.{key}", f"an integer of {least} or more", recipe[key])
    optimizer = recipe["optimizer"]
    config = optimizer.get("config") if isinstance(optimizer, dict) else None
    if not isinstance(config, dict) or "class_name" not in optimizer or "learning_rate" not in config:
        raise _wrong(
            facts,
            "recipe.optimizer",
            'an object such as {"class_name": "Adam", "config": {"learning_rate": 0.001}}',
            optimizer,
        )


def check_data(facts, *splits):
    """Refuses facts that do not say on which data: their name, and these of the splits "train" and "test"."""
    _check_keys(
        facts, "data", ("name", *splits), "On other data: flow.fit(x) trains it, flow.measure(x) measures it."
    )
    data = facts["data"]
    points = data.get("points", {})
    if data["name"] in TOY_DENSITIES and not (
        isinstance(points, dict) and all(type(points.get(data[split])) is int for split in splits)
    ):
        raise _wrong(facts, "data.points", 'numbers of points, such as {"train": 1000, "test": 100}', points)


def _check_keys(facts, part, keys, hint):
    missing = [f"{part}.{key}" for key in keys if key not in facts.get(part, {})]
    if missing:
        missing = missing if part in facts else [part]
        raise RegistryError(f"The model.json of {facts['name']} lacks {', '.join(missing)}. {hint}")


def _wrong(facts, key, wanted, given):
    return RegistryError(f"{key} in the model.json of {facts['name']} must be {wanted}; got {given!r}.")
