"""The optimizer of a recipe."""

import keras


def recipe_optimizer(recipe, steps):
    """The recipe's Keras optimizer, whose learning rate warms up, then falls to 0 as a cosine.

    Arguments:
        recipe: with "optimizer", its class name and config, and "warmup_steps".
        steps: of the whole training; at most half of them warm up.

    Example:
        >>> optimizer = {"class_name": "Adam", "config": {"learning_rate": 0.01}}
        >>> adam = recipe_optimizer({"optimizer": optimizer, "warmup_steps": 10}, steps=100)
        >>> float(adam.learning_rate)
        0.0
    """
    config = dict(recipe["optimizer"]["config"])
    peak = config.pop("learning_rate")
    warmup_steps = min(recipe["warmup_steps"], steps // 2)
    config["learning_rate"] = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup_steps, warmup_target=peak, warmup_steps=warmup_steps
    )
    return getattr(keras.optimizers, recipe["optimizer"]["class_name"])(**config)
