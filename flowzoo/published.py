"""What the zoo asks of a model: how it is measured, fingerprinted, sized, and told of on its card."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from flowzoo import backend, checks
from flowzoo.metrics import bits_per_dim, log_likelihoods, psnr
from flowzoo.types import ArrayLike, Seed

FINGERPRINTED = 8  # inputs


class Published:
    """What `flowzoo.Flow` answers to the zoo, so that nothing there asks for a model's class."""

    classes = None  # how many, of a model whose context is a label
    context_network = None

    def measure(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        *,
        importance_samples: int | None = None,
        seed: Seed = None,
        batch_size: int = 500,
        progress: Callable[[int], Any] | None = None,
    ) -> dict[str, Any]:
        """Mean log-likelihood of examples; of images in every space that papers report, and bits/dim.

        Arguments:
            x: (n, *event_shape).
            context: (n, *context_shape) for a conditional flow.
            importance_samples: of images, how many draws of the noise make a second figure, which is an
                estimate where the others are of a bound, see `Flow.log_prob`; None for the bound alone.
            seed: draws the dequantisation noise of images.
            batch_size: examples measured at a time.
            progress: called with the number of examples done.

        Returns: dict with "examples" and "log_likelihood" in nats; of images with "bits_per_dim" and
            "log_likelihood_<space>", see `flowzoo.metrics.log_likelihoods`, instead of the latter; with
            importance samples also their number and "bits_per_dim_estimate".

        Example:
            >>> flow = flowzoo.NICE(event_shape=(4, 4, 1), couplings=2, hidden_units=(8,))
            >>> sorted(flow.measure(np.zeros((3, 4, 4, 1))))
            ['bits_per_dim', 'examples', 'log_likelihood_pixels', 'log_likelihood_unit']
        """
        (x, context), key = self._checked(x, context), self._key(seed)
        self._check_importance_samples(importance_samples)

        def of_part(start, *part):
            if not self.is_image_flow:
                return {"log_likelihood": self.log_prob(*part)}
            own = backend.later_key(key, start)
            found = log_likelihoods(self, *part, seed=own)
            found = {f"log_likelihood_{space}": values for space, values in found.items()}
            if importance_samples is not None:
                found["bits_per_dim_estimate"] = self.bits_per_dim(
                    *part, num_importance_samples=importance_samples, seed=own
                )
            return found

        means = _means(of_part, x, context, batch_size, progress)
        if self.is_image_flow:
            means = {"bits_per_dim": bits_per_dim(means["log_likelihood_pixels"], self.dimensions), **means}
        if importance_samples is not None:
            means = {"importance_samples": importance_samples, **means}
        return {"examples": len(x), **means}

    def fingerprint(self) -> list[float]:
        """The log-densities of eight fixed inputs, in nats: a list of 8 numbers, alike on every backend.

        Example:
            >>> len(flowzoo.NICE(event_shape=2, hidden_units=(8,)).fingerprint())
            8
        """
        values = self.fixed_log_prob(*self.fixed_inputs())
        return [float(value) for value in ops.convert_to_numpy(values)]

    def fixed_inputs(self) -> tuple[Any, ...]:
        """What the fingerprint is of: eight examples, their context or None, and the noise or None.

        Images are bright spots of integers. Their noise, numbers of Uniform[0, 1), is given, since the
        random numbers of the backends differ.
        """
        random = np.random.RandomState(0)  # its numbers are the same in every version of NumPy
        context = self._fixed_context(random)
        if not self.is_image_flow:
            return random.normal(size=(FINGERPRINTED, *self.event_shape)).astype("float32"), context, None
        layer = self.flow_layers[-1]
        spots = bright_spots(self.event_shape, random)
        x = layer.step * np.floor(spots * (layer.bins - 1))
        noise = (np.floor(random.uniform(size=x.shape) * 1024) + 0.5) / 1024  # middles of equal parts
        return x.astype("float32"), context, noise.astype("float32")

    def _fixed_context(self, random):
        if self.context_shape is None:
            return None
        if self.classes:
            return (np.arange(FINGERPRINTED) % self.classes).astype("float32")
        shape = (FINGERPRINTED, *self.context_shape)
        if self.context_network is not None:  # which may embed integers: then this is 0
            return random.uniform(size=shape).astype("float32")
        return random.normal(size=shape).astype("float32")

    @staticmethod
    def card_use(facts: dict[str, Any]) -> str:
        """Lines of Python for the card: how `flow`, once loaded, draws examples and gives their density.

        Arguments:
            facts: of the model's `model.json`.

        Example:
            >>> print(flowzoo.Flow.card_use({"config": {"event_shape": [2]}}))
            x = flow.sample(16, seed=0)
            nats = flow.log_prob(x)
        """
        config = facts["config"]
        one, several = ("", "")
        if config.get("classes"):
            one, several = ", context=7", ", context=[7] * 16"
        if config.get("context_shape"):
            one = several = ", context=context"
        if _is_of_images(config):
            return f"images = flow.sample(16{one}, seed=0)\nbits = flow.bits_per_dim(images{several}, seed=0)"
        return f"x = flow.sample(16{one}, seed=0)\nnats = flow.log_prob(x{several})"

    @staticmethod
    def card_measured(facts: dict[str, Any]) -> str:
        """A phrase for the card: on what, and with what, its figures were measured.

        Arguments:
            facts: of the model's `model.json`, with "metrics" and "weights".
        """
        metrics, data, config = facts["metrics"], facts["data"], facts["config"]
        if not _is_of_images(config):
            return f"On {metrics['examples']:,} new points of {data['name']}, with {_stored(facts)}"
        note = f" ({data['note']})" if "note" in data else ""
        samples = metrics.get("importance_samples")
        estimate = f" and {samples:,} for the estimate," if samples else ""
        return (
            f"On the {metrics['examples']:,} images of {data['name']}'s official `{metrics['split']}` split"
            f"{note}, {config.get('bits', 8)} bits, {config.get('dequantization', 'uniform')} "
            f"dequantisation, one draw of the noise an image,{estimate} with {_stored(facts)}"
        )


class PublishedVAE(Published):
    """The same of a `flowzoo.FlowVAE`."""

    def measure(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        *,
        importance_samples: int = 1000,
        seed: Seed = None,
        batch_size: int = 100,
        progress: Callable[[int], Any] | None = None,
    ) -> dict[str, Any]:
        """Mean ELBO and importance-weighted log-likelihood of examples, and how well pixels come back.

        Arguments:
            x: (n, *event_shape), pixels or, for a Bernoulli likelihood, 0s and 1s.
            context: None, as for every unconditional model.
            importance_samples: of the log-likelihood's estimate, for each example.
            seed: draws the latents.
            batch_size: examples measured at a time.
            progress: called with the number of examples done.

        Returns: dict with "examples", "importance_samples", "log_likelihood" and "elbo" in nats; for
            pixels also "bits_per_dim", of the log-likelihood, and "psnr" of reconstructions in dB.
        """
        x, key = checks.array("x", x, self.event_shape), self._key(seed)
        self._check_no_context(context)

        def of_part(start, part, context):
            own = backend.later_key(key, start)
            found = {
                "log_likelihood": self.log_prob(part, num_importance_samples=importance_samples, seed=own),
                "elbo": self.elbo(part, seed=own),
            }
            return {**found, "psnr": psnr(part, self.reconstruct(part))} if self.is_image_flow else found

        means = _means(of_part, x, context, batch_size, progress)
        found = {"examples": len(x), "importance_samples": importance_samples, **means}
        if self.is_image_flow:
            found["bits_per_dim"] = bits_per_dim(means["log_likelihood"], self.dimensions)
        return found

    def fingerprint(self) -> list[float]:
        """The ELBOs of eight fixed inputs, in nats: a list of 8 numbers, alike on every backend."""
        given = map(ops.convert_to_tensor, self.fixed_inputs())
        return [float(value) for value in ops.convert_to_numpy(self.fixed_elbo(*given))]

    def fixed_inputs(self) -> tuple[Any, ...]:
        """What the fingerprint is of: eight images, and the standard normal noise of their latents."""
        random = np.random.RandomState(0)
        spots = bright_spots(self.event_shape, random)
        x = np.floor(255 * spots) if self.is_image_flow else np.round(spots)
        noise = random.normal(size=(len(x), self.latent_dimensions))
        return x.astype("float32"), noise.astype("float32")

    @staticmethod
    def card_use(facts: dict[str, Any]) -> str:
        lines = ["images = flow.sample(16, seed=0)"]
        if facts.get("data", {}).get("binarize"):
            lines.append("images = flowzoo.datasets.binarize(pixels, seed=0)")
        lines += ["reconstructions = flow.reconstruct(images)", "nats = flow.log_prob(images, seed=0)"]
        return "\n".join(lines)

    @staticmethod
    def card_measured(facts: dict[str, Any]) -> str:
        metrics, data = facts["metrics"], facts["data"]
        binary = ", each pixel made 1 with probability pixel / 255 by one draw, seed 0"
        return (
            f"On the {metrics['examples']:,} images of {data['name']}'s `{metrics['split']}` split"
            f"{binary if data.get('binarize') else ''}, with {metrics['importance_samples']:,} importance "
            f"samples an image, one draw of the latent for the ELBO, and {_stored(facts)}"
        )


def _means(measure, x, context, batch_size, progress):
    """The means of the values (batch,) by name that `measure(start, x, context)` gives of each batch."""
    totals = {}
    for start in range(0, len(x), batch_size):
        part = slice(start, start + batch_size)
        found = measure(start, x[part], None if context is None else context[part])
        for name, values in found.items():
            totals[name] = totals.get(name, 0.0) + float(ops.sum(values))
        if progress is not None:
            progress(min(start + batch_size, len(x)))
    return {name: total / len(x) for name, total in totals.items()}


def bright_spots(event_shape, random):
    """Fixed images with values in [0, 1), (8, H, W, C), that a `np.random.RandomState` draws."""
    height, width, _ = event_shape
    centers = random.uniform(0.3, 0.7, (2, FINGERPRINTED, 1, 1, 1))
    rows = np.linspace(0, 1, height)[:, None, None] - centers[0]
    columns = np.linspace(0, 1, width)[:, None] - centers[1]
    return np.exp(-(rows**2 + columns**2) / 0.02) * random.uniform(0.8, 1.0, (FINGERPRINTED, *event_shape))


def _stored(facts):
    return f"the stored {facts['weights']['dtype']} weights"


def _is_of_images(config):
    shape = config["event_shape"]
    return isinstance(shape, (list, tuple)) and len(shape) == 3
