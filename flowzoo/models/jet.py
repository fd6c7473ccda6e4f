"""Jet: couplings of patches whose conditioners are vision transformers."""

from typing import Any, Self

import keras

from flowzoo import checks
from flowzoo.flow import Flow
from flowzoo.layers import CheckerboardCoupling, Coupling, Patches, Permutation, Rescale, Reshape
from flowzoo.layers.checkerboard import PATTERNS
from flowzoo.layers.patches import checked_image
from flowzoo.models.arguments import Network, Shape, Whole
from flowzoo.models.parts import image_data_end
from flowzoo.models.sizes import ABSURD, context_size, size_of, sizes, transformer_size
from flowzoo.networks import VisionTransformer
from flowzoo.transformers import SigmoidAffine

CYCLE = 5  # the last of so many couplings splits the places, the others the numbers at each


@keras.saving.register_keras_serializable(package="flowzoo")
class Jet(Flow):
    """Couplings of patches by small vision transformers, for images of pixels 0 ... 255.

    An image in [-1, 1] becomes an image of patches, each of D = p^2 C numbers. `depth` couplings follow,
    x = z * 2 sigmoid(s) + b: four split the D numbers at every place in two random halves, the fifth splits
    the places, by a checkerboard, rows or columns. Density and samples take one pass each.

    References:
        Jet: A Modern Transformer-Based Normalizing Flow (Kolesnikov et al., 2024, arXiv:2412.15129)

    Arguments:
        event_shape: (height, width, channels).
        patch_size: p, which divides height and width.
        depth: number of couplings.
        block_depth: transformer layers of each.
        hidden_size: width of the transformers.
        heads: attention heads, None for heads of 64 numbers.
        log_scale_bound: soft bound of |s|.
        bits: 8, or fewer to drop the lowest bits first; the density is that of the bits kept.
        dequantization: "uniform", or "variational" as in Flow++.
        alpha: of a logit that maps the pixels to the reals first, as in `flowzoo.Glow`, or None.
        remat: whether training keeps each coupling's input alone, and makes its activations again in the
            backward pass: less memory for more time.
        base: the distribution of the latent, see `flowzoo.Flow`.
        context_shape: shape of one example's context, for p(x | c), or None.
        context_network: a Keras layer in front of the context, trained with the flow, or None.
        seed: integer that draws the splits.

    Example:
        >>> flow = flowzoo.Jet(event_shape=(8, 8, 3), depth=2, block_depth=1, hidden_size=16)
        >>> images = flow.sample(4, temperature=0.7, seed=0)
        >>> tuple(images.shape), tuple(flow.bits_per_dim(images).shape)
        ((4, 8, 8, 3), (4,))
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        patch_size: int = 4,
        depth: int = 16,
        block_depth: int = 2,
        hidden_size: int = 128,
        heads: int | None = None,
        log_scale_bound: float = 4.0,
        bits: int = 8,
        dequantization: str = "uniform",
        alpha: float | None = None,
        remat: bool = False,
        base: str = "normal",
        context_shape: Shape | None = None,
        context_network: Network | None = None,
        seed: Whole | None = None,
        **kwargs: Any,
    ):
        height, width, channels = checked_image(event_shape, patch_size)
        grid = (height // patch_size, width // patch_size, channels * patch_size**2)
        policy = kwargs.get("dtype")

        def network():
            return VisionTransformer(hidden_size, layers=block_depth, heads=heads, dtype=policy)

        layers = []
        for place in reversed(range(checks.positive_integer("depth", depth))):  # from the data end
            layers += jet_coupling(
                place,
                network(),
                SigmoidAffine(log_scale_bound),
                seed=None if seed is None else seed + place,
                remat=remat,
                dtype=policy,
            )
        layers += [
            Reshape(grid),
            Patches(patch_size),
            Rescale(0.5 if alpha is None else 4.0),
            *image_data_end(
                alpha=alpha, centered=alpha is None, bits=bits, dequantization=dequantization, dtype=policy
            ),
        ]
        super().__init__(
            layers,
            event_shape=event_shape,
            context_shape=context_shape,
            context_network=context_network,
            base=base,
            standardize_context=True,
            **kwargs,
        )
        self.patch_size = patch_size
        self.depth = depth
        self.block_depth = block_depth
        self.hidden_size = hidden_size
        self.heads = heads
        self.log_scale_bound = log_scale_bound
        self.bits = bits
        self.dequantization = dequantization
        self.alpha = alpha
        self.remat = bool(remat)
        self.seed = seed

    @classmethod
    def imagenet64(cls, **kwargs: Any) -> Self:
        """The paper's flow of 64x64 ImageNet: patches of 4, 64 couplings of 5 layers of 512."""
        size = {"patch_size": 4, "depth": 64, "block_depth": 5, "hidden_size": 512}
        return cls(**{"event_shape": (64, 64, 3), **size, **kwargs})

    @classmethod
    def estimated_size(
        cls,
        event_shape: Shape,
        patch_size: int,
        depth: int,
        block_depth: int,
        hidden_size: int,
        context_shape: Shape | None,
        **others: Any,
    ) -> tuple[float, float]:
        """About how many layers with weights, and weights, these arguments make."""
        if len(sizes(event_shape)) != 3:
            return ABSURD
        numbers = sizes(event_shape)[-1] * patch_size**2
        places = size_of(event_shape) // numbers
        layers, weights = transformer_size(depth * block_depth, hidden_size)
        return layers, weights + depth * hidden_size * (places + 2 * numbers + context_size(context_shape))


def jet_coupling(place, network, transformer, *, seed, **options):
    """The coupling at that place from the data end, as layers on images, latent to data."""
    turn, step = divmod(place, CYCLE)
    if step == CYCLE - 1:
        pattern, swap = PATTERNS[turn % len(PATTERNS)], turn // len(PATTERNS) % 2 == 1
        return [CheckerboardCoupling(network, transformer, pattern=pattern, swap=swap, **options)]
    return [Coupling(network, transformer, **options), Permutation("random", seed=seed)]
