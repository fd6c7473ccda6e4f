"""Directions of a model's latent space that change an attribute, from labelled images."""

from flowzoo.registry.attributes import encoded


def directions_of_attributes(model, data, images, read, most=1000):
    """From the mean latent of the first training images to that of the first with an attribute.

    Arguments:
        model: whose latents they are.
        data: facts of a `model.json`, with "attributes", their names.
        images: training images, (n, H, W, C).
        read: as `flowzoo.training.data.reader` makes it.
        most: images that each mean is of.

    Returns: dict from the attribute's name to its direction as text, as `model.json` keeps it.
    """
    found, mean = {}, model.mean_latent(images[:most], seed=0)
    for name in data["attributes"]:
        labelled, labels = read("train", name)
        found[name] = encoded(model.mean_latent(labelled[labels == 1][:most], seed=0) - mean)
    return found
