"""NSF: neural spline flows."""

from typing import Any, Self

import keras
import numpy as np

from flowzoo import checks
from flowzoo.flow import Flow
from flowzoo.layers import Coupling, InvertibleLinear, Permutation
from flowzoo.models.arguments import Network, PerLevel, Places, Shape, Whole
from flowzoo.models.glow import glow_layers, steps_by_level
from flowzoo.models.maf import autoregressive_stack
from flowzoo.models.parts import flat_data_end, for_form, image_data_end, image_shape
from flowzoo.models.sizes import ABSURD, MOST_LEVELS, context_size, dense_size, glow_size, size_of, sizes
from flowzoo.networks import MLP, ResidualMLP, ResNet
from flowzoo.transformers import RationalQuadraticSpline

FOR_VECTORS = {"spline_layers": 5, "hidden_units": (64, 64), "residual": True, "bound": 5.0}
FOR_IMAGES = {
    "levels": 3,
    "steps": 7,
    "hidden_channels": 96,
    "blocks": 3,
    "bits": 8,
    "dequantization": "uniform",
    "bound": 3.0,
}


@keras.saving.register_keras_serializable(package="flowzoo")
class NSF(Flow):
    """Neural spline flow: couplings or autoregressive layers whose transformer is a monotone spline.

    A spline bends one number freely within [-bound, bound], given the others, so that few layers model
    several modes, edges and gaps, and one dimension is enough. In the coupling form, density and samples
    take one pass each, and an invertible linear map L U stands before each coupling; in the
    autoregressive form, samples are drawn dimension after dimension. On images (H, W, C) of pixels
    0 ... 255 it is a Glow with splines and residual networks.

    References:
        Neural Spline Flows (Durkan et al., 2019, arXiv:1906.04032)
        Normalizing Flows on Tori and Spheres (Rezende et al., 2020, arXiv:2002.02428), for angles

    Arguments:
        event_shape: shape of one example; 1 works, in the autoregressive form.
        autoregressive: whether the layers are autoregressive, not couplings; for vectors.
        spline_layers: number of layers with splines; for vectors, 5 by default.
        hidden_units: widths of each conditioner's hidden layers, or of its residual blocks, each of two
            layers, if `residual`; for vectors, (64, 64) by default.
        residual: whether the conditioners are residual networks, as in the paper; for vectors, True by
            default.
        levels, steps: scales, 3 by default, and steps in each, 7, or a list of one number a level, the
            finest first; for images.
        hidden_channels, blocks: width, 96 by default, and residual blocks, 3, of each conditioner, a
            `flowzoo.networks.ResNet`; for images.
        bits: 8, or fewer to drop the lowest bits first; for images.
        dequantization: "uniform" or "variational"; for images.
        bins: number of bins of each spline.
        bound: half the interval that splines bend, outside of which they are the identity; by default 5
            for vectors and 3 for images.
        activation: name of a Keras activation.
        standardize: whether a flow of vectors starts by bringing the data, and every flow its context, to
            mean 0 and variance 1, so that their units do not matter; see `flowzoo.layers.Standardize`. Not
            the data of flows with angles.
        periodic: the dimensions that are angles in [-pi, pi), such as (0, 1); for vectors. Their splines
            close the circle and their base is uniform on it; permutations take the linear maps' place.
        base: of the dimensions that are no angles, see `flowzoo.Flow`.
        remat: whether training keeps each spline layer's input alone, and makes the rest again in the
            backward pass: less memory for more time.
        context_shape: shape of one example's context, for p(x | c).
        context_network: a Keras layer in front of the context, trained with the flow, or None.
        seed: integer that draws the linear maps, or permutations, of vectors.

    Example:
        >>> flow = flowzoo.NSF(event_shape=2, spline_layers=2, hidden_units=(16,), bins=4)
        >>> tuple(flow.sample(3, seed=0).shape)
        (3, 2)
        >>> tuple(flowzoo.NSF(event_shape=1, hidden_units=(16,)).log_prob(np.zeros((5, 1))).shape)
        (5,)
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        autoregressive: bool = False,
        spline_layers: int | None = None,
        hidden_units: Shape | None = None,
        residual: bool | None = None,
        levels: int | None = None,
        steps: int | PerLevel | None = None,
        hidden_channels: int | None = None,
        blocks: int | None = None,
        bits: int | None = None,
        dequantization: str | None = None,
        bins: int = 8,
        bound: float | None = None,
        activation: str = "relu",
        periodic: Places = (),
        base: str = "normal",
        remat: bool = False,
        standardize: bool = True,
        context_shape: Shape | None = None,
        context_network: Network | None = None,
        seed: Whole | None = None,
        **kwargs: Any,
    ):
        shape = checks.shape("event_shape", event_shape)
        given = for_form(
            shape,
            FOR_VECTORS,
            FOR_IMAGES,
            spline_layers=spline_layers,
            hidden_units=hidden_units,
            residual=residual,
            levels=levels,
            steps=steps,
            hidden_channels=hidden_channels,
            blocks=blocks,
            bits=bits,
            dequantization=dequantization,
            bound=bound,
        )
        angles = checks.places("periodic", periodic, 0 if len(shape) == 3 else size_of(shape))
        if len(shape) == 3 and autoregressive:
            raise ValueError("The autoregressive form is for vectors; images take couplings.")
        if len(shape) == 3:
            make = image_layers
        elif autoregressive or size_of(shape) == 1:  # with nothing to couple
            make = autoregressive_layers
        else:
            make = coupling_layers
        layers, latent_base = make(
            shape,
            RationalQuadraticSpline(bins, given["bound"]),
            **{name: value for name, value in given.items() if value is not None and name != "bound"},
            activation=activation,
            angles=angles,
            base=base,
            remat=remat,
            seed=seed,
            standardize=standardize and not angles,
            dtype=kwargs.get("dtype"),
        )
        super().__init__(
            layers,
            event_shape=shape,
            context_shape=context_shape,
            context_network=context_network,
            standardize_context=standardize,
            base=latent_base,
            **kwargs,
        )
        for name, value in given.items():
            setattr(self, name, value)
        self.autoregressive = bool(autoregressive)
        self.bins = bins
        self.activation = activation
        self.periodic = angles
        self.base = base if angles else self.base
        self.remat = bool(remat)
        self.standardize = bool(standardize)
        self.seed = seed

    @classmethod
    def cifar10(cls, **kwargs: Any) -> Self:
        """The paper's flow of CIFAR-10: 3 levels of 7 steps, 3 residual blocks of 96; `kwargs` override."""
        return cls(**{"event_shape": (32, 32, 3), **kwargs})

    @classmethod
    def estimated_size(
        cls,
        event_shape: Shape,
        spline_layers: int | None,
        hidden_units: Shape | None,
        levels: int | None,
        steps: int | PerLevel | None,
        hidden_channels: int | None,
        blocks: int | None,
        bins: int,
        context_shape: Shape | None,
        **others: Any,
    ) -> tuple[float, float]:
        """About how many layers with weights, and weights, these arguments make."""
        size, context = size_of(event_shape), context_size(context_shape)
        if len(sizes(event_shape)) != 3:
            spline_layers = spline_layers or FOR_VECTORS["spline_layers"]
            hidden_units = hidden_units or FOR_VECTORS["hidden_units"]
            return dense_size(spline_layers, hidden_units, size + context, 3 * bins * size)
        levels, blocks = levels or FOR_IMAGES["levels"], blocks or FOR_IMAGES["blocks"]
        width = hidden_channels or FOR_IMAGES["hidden_channels"]
        if levels > MOST_LEVELS:
            return ABSURD
        channels = sizes(event_shape)[-1] * 2 ** (levels + 1)
        steps = steps or FOR_IMAGES["steps"]
        depth, weights = glow_size(levels, steps, width, channels * (1 + 3 * bins) // 2 + context, channels)
        return depth * 2 * blocks, weights + depth * 18 * blocks * width**2


def autoregressive_layers(shape, spline, *, spline_layers, angles, base, seed, standardize, dtype, **made):
    """The layers of the autoregressive form, and the base of its latent."""
    layers = autoregressive_stack(
        spline_layers,
        order="reversed",
        seed=None,
        normalization=None,
        transformer=spline,
        periodic=angles,
        dtype=dtype,
        **made,
    )
    layers += flat_data_end(shape, standardize=standardize, dtype=dtype)
    return layers, base_over(angles, base, size_of(shape))


def coupling_layers(
    shape,
    spline,
    *,
    spline_layers,
    hidden_units,
    residual,
    activation,
    angles,
    base,
    remat,
    seed,
    standardize,
    dtype,
):
    """The layers of the coupling form, and the base of its latent."""
    size = size_of(shape)
    layers = []
    for i in reversed(range(checks.positive_integer("spline_layers", spline_layers))):  # from the data end
        mixing, angles = mix(size, angles, seed=None if seed is None else seed + i, dtype=dtype)
        network = conditioner(hidden_units, residual, activation, dtype)
        coupling = Coupling(network, spline, swap=i % 2 == 1, periodic=angles, remat=remat, dtype=dtype)
        layers = [coupling, mixing, *layers]
    layers += flat_data_end(shape, standardize=standardize, dtype=dtype)
    return layers, base_over(angles, base, size)


def image_layers(
    shape,
    spline,
    *,
    levels,
    steps,
    hidden_channels,
    blocks,
    bits,
    dequantization,
    activation,
    angles,
    base,
    remat,
    seed,
    standardize,
    dtype,
):
    """The layers of the form for images, and the base of its latent."""
    image_shape(shape, levels)

    def network():
        return ResNet(
            hidden_channels, blocks=blocks, activation=activation, normalization="affine", dtype=dtype
        )

    steps = steps_by_level(steps, levels)
    layers = glow_layers(levels, steps, transformer=spline, network=network, remat=remat, dtype=dtype)
    end = image_data_end(centered=True, bits=bits, dequantization=dequantization, dtype=dtype)
    return layers + end, base


def mix(size, angles, *, seed, dtype):
    """A layer that mixes the dimensions, and where it takes the angles, which only permutations may move."""
    if not angles:
        return InvertibleLinear(seed=seed, dtype=dtype), ()
    order = np.random.default_rng(seed).permutation(size) if size > 2 else np.arange(size)
    return Permutation(order, dtype=dtype), tuple(int(i) for i in np.flatnonzero(np.isin(order, angles)))


def conditioner(hidden_units, residual, activation, dtype):
    """The network of a coupling."""
    hidden_units = checks.hidden_units(hidden_units)
    if not residual:
        return MLP(hidden_units, activation=activation, dtype=dtype)
    if len(set(hidden_units)) > 1:
        raise ValueError(f"Residual blocks are all of one width; got hidden_units={hidden_units}.")
    return ResidualMLP(hidden_units[0], blocks=len(hidden_units), activation=activation, dtype=dtype)


def base_over(angles, base, size):
    """The base's name for each dimension: angles have a uniform one on the circle."""
    return tuple("circle" if i in angles else base for i in range(size)) if angles else base
