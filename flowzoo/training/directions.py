"""Directions of a model's latent space that change an attribute, from labelled images."""

from flowzoo.registry.attributes import encoded
from flowzoo.training.data import labels_for


def directions_of_attributes(model, data, training, read, most=1000):
    """From the mean latent of the first training images to that of the first with an attribute.

    Arguments:
        model: whose latents they are.
        data: facts of a `model.json`, with "attributes", their names.
        training: tuple of the training images, (n, H, W, C), and, for a conditional model, their contexts.
        read: as `flowzoo.training.data.reader` makes it.
        most: images that each mean is of.

    Returns: dict from the attribute's name to its direction as text, as `model.json` keeps it.
    """
    images, context = training if len(training) == 2 else (*training, None)
    mean = _mean_latent(model, images, context, most)
    context = None if context is None else read("train", labels_for(model, data))[1]
    found = {}
    for name in data["attributes"]:
        labelled, labels = read("train", name)
        with_it = labels == 1
        own = None if context is None else context[with_it]
        found[name] = encoded(_mean_latent(model, labelled[with_it], own, most) - mean)
    return found


def _mean_latent(model, images, context, most):
    return model.mean_latent(images[:most], context=None if context is None else context[:most], seed=0)
