"""A stored fingerprint of every model: the log-densities of eight fixed inputs."""

import functools
import math

import numpy as np
from keras import ops

from flowzoo import backend
from flowzoo.layers import VariationalDequantize
from flowzoo.layers.chain import forward_chain, inverse_chain
from flowzoo.registry.errors import RegistryError
from flowzoo.registry.index import info
from flowzoo.registry.vae import fixed_elbo
from flowzoo.registry.weights import load
from flowzoo.vae import FlowVAE

COUNT = 8
TOLERANCE = 1e-3  # relative


def fingerprint(flow):
    """The log-densities of eight fixed inputs, in nats: a list of 8 numbers, alike on every backend.

    Images are bright spots with a little noise. What makes their integers real is not drawn but
    given, since the random numbers of the backends differ. Of a variational autoencoder they are
    the ELBOs, with the noise of the latents given too.
    """
    random = np.random.RandomState(0)  # its numbers are the same in every version of NumPy
    context = _context(flow, random)
    if isinstance(flow, FlowVAE):
        values = fixed_elbo(flow, _spots(flow.event_shape, random), random)
    elif not flow.is_image_flow:
        x = random.normal(size=(COUNT, *flow.event_shape)).astype("float32")
        values = flow.log_prob(x, context)
    else:
        x, log_det = _real_images(flow, random)
        if context is not None:
            context = ops.convert_to_tensor(context.reshape(COUNT, -1))
        inverse = backend.compiled_where_slow(flow, functools.partial(inverse_chain, flow.flow_layers[:-1]))
        z, log_dets = inverse(x, context)
        z = ops.reshape(z, (COUNT, flow.dimensions))
        values = flow.base_distribution.log_prob(z) + sum(log_dets) + log_det
    return [float(value) for value in ops.convert_to_numpy(values)]


def _context(flow, random):
    if flow.context_shape is None:
        return None
    if getattr(flow, "classes", None):
        return (np.arange(COUNT) % flow.classes).astype("float32")
    return random.normal(size=(COUNT, *flow.context_shape)).astype("float32")


def _spots(event_shape, random):
    """Fixed images with values in [0, 1), (8, H, W, C)."""
    height, width, _ = event_shape
    centers = random.uniform(0.3, 0.7, (2, COUNT, 1, 1, 1))
    rows = np.linspace(0, 1, height)[:, None, None] - centers[0]
    columns = np.linspace(0, 1, width)[:, None] - centers[1]
    return np.exp(-(rows**2 + columns**2) / 0.02) * random.uniform(0.8, 1.0, (COUNT, *event_shape))


def _real_images(flow, random):
    """Fixed images with noise below one, (8, H, W, C), and the log-determinant of that noise."""
    layer = flow.flow_layers[-1]
    spots = _spots(flow.event_shape, random)
    integers = np.floor(spots * (layer.bins - 1)).astype("float32")
    noise = ((np.floor(random.uniform(size=spots.shape) * 1024) + 0.5) / 1024).astype("float32")
    if not isinstance(layer, VariationalDequantize):
        return ops.convert_to_tensor(integers + noise), 0.0
    # The flow that learned the noise, from a fixed start; constants of its own density are left out.
    start = ops.convert_to_tensor(np.log(noise) - np.log1p(-noise))
    logits, log_det = forward_chain(layer.noise_layers, start, 2 * integers / layer.bins - 1)
    noise = layer.margin + (1 - 2 * layer.margin) * ops.sigmoid(logits)
    return integers + noise, log_det


def verify(name_or_path):
    """Hashes a model's weights again, loads them, and compares its fingerprint with the stored one.

    Returns: the largest difference, relative to the stored number.
    Raises: RegistryError for whatever does not agree.

    Example:
        >>> verify("nice-mnist") < 1e-3
        True
    """
    facts = info(name_or_path)
    flow = load(name_or_path)
    if "fingerprint" not in facts:
        raise RegistryError(f"{facts['name']} has no fingerprint; `flowzoo publish FOLDER` adds it.")
    found = fingerprint(flow)
    differences = [abs(a - b) / max(1.0, abs(b)) for a, b in zip(found, facts["fingerprint"], strict=True)]
    worst = max(differences)
    if not math.isfinite(worst) or worst > TOLERANCE:
        raise RegistryError(
            f"{facts['name']} gives other densities than when it was published: {found} nats for its eight "
            f"fixed inputs, where {facts['fingerprint']} were stored."
        )
    return worst
