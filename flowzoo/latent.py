"""What a trained flow's latent space is good for."""

from collections.abc import Sequence

import numpy as np
from keras import ops

from flowzoo import backend, checks
from flowzoo.metrics import png_bits_per_dim
from flowzoo.types import ArrayLike, Seed, Tensor


class LatentSpace:
    """Interpolation and attributes: a part of every model with `encode` and `decode`.

    Examples that are given or returned have shape (..., *event_shape), latents (..., D) with D =
    `latent_dimensions`; a context, for conditional flows, has the shape that both take. A seed is an
    integer, a `keras.random.SeedGenerator` or a key of the backend.
    """

    def _temperatures(self, temperature):
        """`temperature` as a factor of the latent: a number, or an array (D,) of one a level."""
        values = np.asarray(temperature, self.variable_dtype)
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ValueError(f"temperature must not be negative, nor NaN or infinite; got {temperature!r}.")
        if values.ndim == 0:
            return values
        sizes = self.level_sizes
        if values.shape != (len(sizes),):
            raise ValueError(
                f"temperature must be one number or one for each of the {len(sizes)} levels of {self.name}; "
                f"got {temperature!r}."
            )
        return np.repeat(values, sizes)

    def interpolate(
        self,
        a: ArrayLike,
        b: ArrayLike,
        *,
        steps: int = 8,
        context: ArrayLike | None = None,
        seed: Seed = None,
    ) -> Tensor:
        """Examples on the straight line between the latents of `a` and `b`, from a to b.

            x_i = f((1 - t) f^-1(a) + t f^-1(b)),  t = i / (steps - 1)

        Arguments:
            a, b: one example each, of event_shape.
            steps: number of examples, both ends included.
            context: one example's context, for a conditional flow.
            seed: fixes the dequantisation noise.

        Returns: (steps, *event_shape).
        """
        steps = checks.positive_integer("steps", steps)
        ends = np.stack(
            [ops.convert_to_numpy(checks.numbers(name, end)) for name, end in (("a", a), ("b", b))]
        )
        z = self.encode(ends, context, seed=seed)
        t = np.linspace(0.0, 1.0, steps, dtype="float32")[:, None]
        return self.decode((1 - t) * z[:1] + t * z[1:], context)

    def attribute_direction(
        self,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        context: ArrayLike | None = None,
        batch_size: int = 100,
        seed: Seed = None,
    ) -> Tensor:
        """The mean latent of examples with an attribute less that of examples without it, (D,).

        References:
            Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018,
            arXiv:1807.03039), section 5.1

        Arguments:
            positive, negative: examples with and without it, (n, *event_shape) and (m, *event_shape).
            context: one example's context for all, for a conditional flow.
            batch_size: how many are encoded at a time.
            seed: fixes the dequantisation noise.
        """
        key = self._key(seed)
        with_it, without_it = (
            self.mean_latent(
                checks.array(name, examples, self.event_shape),
                context=context,
                batch_size=batch_size,
                seed=key,
            )
            for name, examples in (("positive", positive), ("negative", negative))
        )
        return with_it - without_it

    def mean_latent(
        self,
        examples: ArrayLike,
        *,
        context: ArrayLike | None = None,
        batch_size: int = 100,
        seed: Seed = None,
    ) -> Tensor:
        """The mean latent of examples (n, *event_shape), (D,).

        Arguments:
            context: of a conditional flow, one example's for all, or that of each, (n, *context_shape).

        The other arguments are those of `attribute_direction`.
        """
        examples, key = checks.array("examples", examples, self.event_shape), self._key(seed)
        if context is not None:
            context = checks.numbers("context", context)
        of_each = context is not None and len(context.shape) > len(self.context_shape or ())
        total = np.zeros(self.latent_dimensions)
        for start in range(0, len(examples), batch_size):
            part = slice(start, start + batch_size)
            own = context[part] if of_each and context.shape[0] > 1 else context
            z = self.encode(examples[part], own, seed=backend.later_key(key, start))
            total += ops.convert_to_numpy(z).sum(axis=0)
        return ops.convert_to_tensor(total / len(examples), self.variable_dtype)

    def manipulate(
        self,
        images: ArrayLike,
        direction: ArrayLike,
        strengths: Sequence[float] = (-1.0, -0.5, 0.0, 0.5, 1.0),
        *,
        context: ArrayLike | None = None,
        seed: Seed = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """Examples moved along a direction of the latent space: f(f^-1(x) + strength * direction).

        Arguments:
            images: (n, *event_shape).
            direction: (D,), as `attribute_direction` gives it.
            strengths: factors of the direction; at 0 the example itself comes back.
            context: one example's context for all, for a conditional flow.
            seed: fixes the dequantisation noise.
            batch_size: how many examples are computed at a time, None for all at once.

        Returns: (n, len(strengths), *event_shape).
        """
        direction = np.asarray(ops.convert_to_numpy(direction), "float32")
        if direction.shape != (self.latent_dimensions,):
            raise ValueError(f"direction must have shape ({self.latent_dimensions},); got {direction.shape}.")
        strengths = np.atleast_1d(np.asarray(strengths, "float32"))
        z = self.encode(images, context, seed=seed, batch_size=batch_size)
        z = ops.convert_to_numpy(z)
        moved = z[:, None] + strengths[:, None] * direction
        moved = moved.reshape(-1, self.latent_dimensions)
        x = self.decode(moved, context, batch_size=batch_size)
        return ops.reshape(x, (len(z), len(strengths), *self.event_shape))


class Levels(LatentSpace):
    """What the scales of a flow's latent hold, and how strange an example is: a part of `flowzoo.Flow`."""

    @property
    def level_sizes(self) -> list[int]:
        """How many numbers of the latent belong to each scale, the finest first.

        They stand in this order in the latent: `encode(x)[:, : level_sizes[0]]` is the finest.
        A flow without scales has one level.
        """
        return self.chain.level_sizes

    def reconstruct(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        *,
        resample_levels: Sequence[int] = (),
        temperature: float | Sequence[float] = 1.0,
        seed: Seed = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """Examples with the latents of some levels drawn anew, the others their own.

        It shows what each scale holds: with the finest resampled, detail changes; without any,
        the examples come back.

        Arguments:
            x: (batch, *event_shape).
            context: (batch, *context_shape), for a conditional flow.
            resample_levels: places in `level_sizes`, 0 the finest.
            temperature: of the new latents.
            seed: draws them and the dequantisation noise.
            batch_size: how many examples are computed at a time, None for all at once.
        """
        sizes = self.level_sizes
        if any(level not in range(len(sizes)) for level in resample_levels):
            raise ValueError(
                f"resample_levels must be from 0 to {len(sizes) - 1}, the levels of {self.name}; "
                f"got {resample_levels!r}."
            )
        key = self._key(seed)
        z = ops.convert_to_numpy(self.encode(x, context, seed=key, batch_size=batch_size))
        drawn = ops.convert_to_numpy(self._draw(len(z), temperature, key))
        anew = np.repeat(np.isin(np.arange(len(sizes)), resample_levels), sizes)
        return self.decode(np.where(anew, drawn, z), context, batch_size=batch_size)

    def anomaly_score(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        *,
        seed: Seed = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """How unlike the training data each example is, (batch,): the higher, the stranger.

        For vectors, -log_prob in nats. The density of images also rises as they get simpler,
        whatever they show, so for them it is bits/dim less the bits/dim of a PNG file of the same
        image: what the model needs more than a compressor that knows nothing.

        References:
            Do Deep Generative Models Know What They Don't Know? (Nalisnick et al., 2018, arXiv:1810.09136)
            Input complexity and out-of-distribution detection with likelihood-based generative
            models (Serra et al., 2019, arXiv:1909.11480)
        """
        if not self.is_image_flow:
            return -self.log_prob(x, context, batch_size=batch_size)
        x = ops.convert_to_numpy(checks.array("x", x, self.event_shape))
        bits = self.bits_per_dim(x, context, seed=seed, batch_size=batch_size)
        step = self.flow_layers[-1].step
        return bits - ops.convert_to_tensor(png_bits_per_dim(x // step * step), bits.dtype)
