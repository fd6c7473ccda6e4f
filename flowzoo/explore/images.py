"""What the explorer does with models of images: pixels as uint8 in, pixels as uint8 out."""

import inspect

import numpy as np
from keras import ops

from flowzoo import backend
from flowzoo.explore.context import contexts, figure, is_binary, is_vae, latent_flow
from flowzoo.metrics import psnr

IMPORTANCE_SAMPLES = 100  # of the log-likelihood of VAEs: few, for an answer in a second


def as_data(model, images):
    """uint8 images (n, H, W, C) as the model takes them: for one of black and white, 0 and 1."""
    return (images >= 128).astype("float32") if is_binary(model) else images


def as_pixels(model, images):
    """What a model gives, as uint8."""
    images = ops.convert_to_numpy(images)
    scale = 255.0 if is_binary(model) else 1.0
    return np.uint8(np.clip(np.round(scale * images.astype("float32")), 0, 255))


def draw(model, n, *, label=None, context=None, temperature=1.0, guidance=0.0, seed=0):
    """`n` samples and their classes, None for a model without."""
    context = contexts(model, n, label, context)
    given = {"temperature": temperature, "seed": seed}
    if takes_guidance(model):
        given["guidance"] = guidance
    if getattr(model, "noise_scale", None):  # of noisy images, cleaned afterwards
        x = model.denoise(model.sample(n, context, discrete=False, **given), context)
    else:
        x = model.sample(n, context, **given)
    return as_pixels(model, x), context.tolist() if model.classes else None


def takes_guidance(model):
    return bool(model.classes) and "guidance" in inspect.signature(model.sample).parameters


def walk(model, a, b, *, steps, label=None, context=None, seed=0):
    """The straight line between two images' latents, (steps, H, W, C).

    Both ends are seen as of one class, that of `a`: a flow gives them back whatever class it sees.
    """
    a, b = as_data(model, np.stack([a, b]))
    one = contexts(model, 1, label, context)
    return as_pixels(model, model.interpolate(a, b, steps=steps, context=one, seed=seed))


def change(model, image, directions, strengths, *, label=None, context=None, seed=0):
    """An image moved along several attribute directions at once.

    Arguments:
        directions: dict from names to arrays (D,).
        strengths: dict from some of the names to factors.
    """
    move = np.zeros(model.latent_dimensions, "float32")
    for name, strength in strengths.items():
        if name not in directions:
            raise ValueError(f"There is no attribute {name!r}; there are {', '.join(directions) or 'none'}.")
        move += strength * directions[name]
    x = as_data(model, image[None])
    one = contexts(model, 1, label, context)
    return as_pixels(model, model.manipulate(x, move, [1.0], context=one, seed=seed))[0, 0]


def neighbours(model, image, *, distance, n, label=None, context=None, seed=0):
    """Images around one, drawn by the model: their latents are a mixture of its own and new ones.

        z_i = sqrt(1 - d^2) z + d e_i,  e_i drawn from the base

    which for a normal base are as far from the origin as samples are: at d = 0 the image itself, at
    d = 1 new samples.

    Arguments:
        distance: d, from 0 to 1.
        n: how many.
    """
    if not 0 <= distance <= 1:
        raise ValueError(f"The distance must lie from 0, the image, to 1, new samples; got {distance}.")
    key, flow = backend.random_key(seed), latent_flow(model)
    z = model.encode(as_data(model, image[None]), contexts(model, 1, label, context), seed=seed)
    if is_vae(model) and flow is not None:
        z = flow.encode(ops.reshape(z, (1, *model.latent_shape)))
    if flow is None:
        drawn = backend.normal(key, (n, model.latent_dimensions), model.variable_dtype)
    else:
        drawn = flow.base_layer.sample(n, key)
    z, drawn = ops.convert_to_numpy(z), ops.convert_to_numpy(drawn)
    z = np.sqrt(1 - distance**2) * z + distance * drawn
    if not is_vae(model):
        return as_pixels(model, model.decode(z, contexts(model, n, label, context)))
    if flow is not None:
        z = ops.reshape(flow.decode(z), (n, model.latent_dimensions))
    return as_pixels(model, model.decode(z))


def redraw(model, image, *, levels, temperature, n, label=None, context=None, seed=0):
    """`n` images that share all latents of one but those of some levels, 0 the finest."""
    x, flow = as_data(model, np.repeat(image[None], n, axis=0)), latent_flow(model)
    drawn = {"resample_levels": levels, "temperature": temperature, "seed": seed}
    if not is_vae(model):
        return as_pixels(model, model.reconstruct(x, contexts(model, n, label, context), **drawn))
    if flow is None:
        raise ValueError(f"The latent of {model.name} has no levels.")
    z = flow.reconstruct(ops.reshape(model.encode(x), (n, *model.latent_shape)), **drawn)
    return as_pixels(model, model.decode(ops.reshape(z, (n, model.latent_dimensions))))


def measure(model, image, *, label=None, context=None, seed=0):
    """What a model tells of an image: its class if not given, and figures with units.

    Returns: (label or None, class probabilities or None, figures).
    """
    x, probabilities = as_data(model, image[None]), None
    if model.classes:
        probabilities = np.exp(ops.convert_to_numpy(model.class_log_probs(x, seed=seed))[0])
        label = int(probabilities.argmax()) if label is None else label
        probabilities = probabilities.tolist()
    if is_vae(model):
        return None, None, _measured_vae(model, x, seed)
    one = contexts(model, 1, label, context)
    of_class = "" if label is None else f" as a {label}"
    bits = model.bits_per_dim(x, one, seed=seed)[0]
    return (
        label,
        probabilities,
        [
            figure(f"Information{of_class}", bits, "bits/dim", "fewer are likelier"),
            figure(
                "Anomaly score",
                model.anomaly_score(x, one, seed=seed)[0],
                "bits/dim",
                "above what a PNG file needs; the higher, the stranger",
            ),
        ],
    )


def _measured_vae(model, x, seed):
    importance = {"num_importance_samples": IMPORTANCE_SAMPLES, "seed": seed}
    note = f"estimate of {IMPORTANCE_SAMPLES} importance samples"
    if is_binary(model):
        return [
            figure("Log-likelihood", model.log_prob(x, **importance)[0], "nats", note),
            figure("Evidence lower bound", model.elbo(x, seed=seed)[0], "nats", "of one draw of the latent"),
        ]
    return [
        figure("Information", model.bits_per_dim(x, **importance)[0], "bits/dim", note),
        figure("Reconstruction", psnr(x, model.reconstruct(x))[0], "dB", "PSNR, the higher the closer"),
    ]


def reconstructions(model, image, *, n, seed=0):
    """What a VAE makes of an image: of the latent's mean, then of `n` draws of it."""
    x = as_data(model, image[None])
    draws = model.reconstruct(np.repeat(x, n, axis=0), mean=False, seed=seed)
    return as_pixels(model, ops.concatenate([model.reconstruct(x), draws]))
