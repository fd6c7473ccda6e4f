"""What measuring a variational autoencoder takes that other flows do not."""

import numpy as np
from keras import ops

from flowzoo.metrics import bits_per_dim, psnr


def evaluate_vae(vae, images, *, num_importance_samples=1000, batch_size=100, seed=0, progress=None):
    """Mean ELBO and importance-weighted log-likelihood of images, and how well they come back.

    Arguments:
        vae: a `flowzoo.FlowVAE`.
        images: (n, H, W, C), pixels or, for a Bernoulli likelihood, 0s and 1s.
        num_importance_samples: of the log-likelihood's estimate, for each image.
        seed: integer that draws the latents.
        progress: called with the number of images done.

    Returns: dict with "examples", "importance_samples", "log_likelihood" and "elbo" in nats; for
        pixels also "bits_per_dim", of the log-likelihood, and "psnr" of reconstructions in dB.
    """
    count = len(images)
    log_likelihood = elbo = ratio = 0.0
    for start in range(0, count, batch_size):
        part = images[start : start + batch_size]
        estimate = vae.log_prob(part, num_importance_samples=num_importance_samples, seed=seed + start)
        log_likelihood += float(ops.sum(estimate)) / count
        elbo += float(ops.sum(vae.elbo(part, seed=seed + start))) / count
        if vae.is_image_flow:
            ratio += float(np.sum(psnr(part, vae.reconstruct(part)))) / count
        if progress is not None:
            progress(start + len(part))
    found = {
        "examples": count,
        "importance_samples": num_importance_samples,
        "log_likelihood": log_likelihood,
        "elbo": elbo,
    }
    if vae.is_image_flow:
        found |= {"bits_per_dim": bits_per_dim(log_likelihood, vae.dimensions), "psnr": ratio}
    return found


def fixed_elbo(vae, images, random):
    """The ELBO of images in [0, 1], made pixels or 0s and 1s, with noise from `random`, (n,)."""
    x = np.floor(255 * images) if vae.is_image_flow else np.round(images)
    noise = random.normal(size=(len(x), vae.latent_dimensions))
    return vae.fixed_elbo(
        ops.convert_to_tensor(x.astype("float32")), ops.convert_to_tensor(noise.astype("float32"))
    )
