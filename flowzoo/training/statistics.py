"""Samples of a model beside the images of its test split, in a few numbers."""

from flowzoo.metrics import image_statistics


def sample_statistics(model, facts, test, count=256):
    """`flowzoo.metrics.image_statistics` of samples and of as many test images, of the same labels.

    Arguments:
        model: whose samples they are, at the temperature of its card.
        facts: of its `model.json`.
        test: images and contexts of its test split.

    Returns: dict of "count", "temperature", "samples" and "images"; None for what are no images of 0 ... 255.
    """
    if len(model.event_shape) != 3 or facts["data"].get("binarize"):
        return None
    images, context = (None if part is None else part[:count] for part in test)
    temperature = facts.get("samples", {}).get("temperature", 1.0)
    drawn = model.sample(len(images), context, temperature=temperature, seed=0, batch_size=64)
    found = {"samples": image_statistics(drawn), "images": image_statistics(images)}
    rounded = {
        of: {key: float(f"{value:.4g}") for key, value in values.items()} for of, values in found.items()
    }
    return {"count": len(images), "temperature": temperature, **rounded}
