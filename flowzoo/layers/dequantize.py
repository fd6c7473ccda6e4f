"""Dequantisation: integers become reals, by uniform or by learned noise."""

import math
from typing import Any

import keras
from keras import ops

from flowzoo import checks
from flowzoo.layers.chain import Chain
from flowzoo.layers.checkerboard import CheckerboardCoupling
from flowzoo.layers.flow_layer import FlowLayer, sum_event
from flowzoo.networks.convnet import ConvNet
from flowzoo.transformers.logistic import log_sigmoid_slope
from flowzoo.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="flowzoo")
class Dequantize(FlowLayer):
    """Uniform dequantisation: integers become reals in [0, bins),  z = floor(x / step) + u.

    The noise u, of Uniform[0, 1), is an argument of the pass. The flow draws it, from the middles of 64
    equal parts, so that z keeps a distance from the next integer and comes back to its own in float32.
    The log-density of z, averaged over u, is a lower bound of the log-probability of the integer, and
    log_det = 0. With `step` over 1 the data lose bits first: bins=32, step=8 makes 5-bit images of pixels
    0 ... 255, whose density is that of the 5 bits.

    Latent to data it gives real images, x = step * z - 1/2, of which an integer is the middle of its unit,
    and data to latent without noise it undoes that: this is a bijection, whose log_det is that of `step`.
    `whole` gives the integers of real images: `step` times floor(z), held within 0 ... bins - 1. The layer
    stands at the data end of a flow, which does so when it decodes.

    References:
        A note on the evaluation of generative models (Theis et al., 2015, arXiv:1511.01844)
        Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018, arXiv:1807.03039)

    Arguments:
        bins: number of values that one component takes, 256 for 8-bit images.
        step: how many neighbouring values of the data are one.

    Example:
        >>> layer = flowzoo.layers.Dequantize(256)
        >>> layer.build((None, 2))
        >>> x, noise = keras.ops.array([[0.0, 255.0]]), keras.ops.array([[0.25, 0.75]])
        >>> real, _ = layer.forward_and_log_det(layer.inverse_and_log_det(x, None, noise)[0])
        >>> keras.ops.convert_to_numpy(real).tolist()
        [[-0.25, 255.25]]
        >>> keras.ops.convert_to_numpy(layer.whole(real)).tolist()
        [[0.0, 255.0]]
    """

    bounds_integers = True  # whether the mean log-density is below the integer's log-probability

    def __init__(self, bins: int = 256, *, step: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.bins = checks.positive_integer("bins", bins)
        self.step = checks.positive_integer("step", step)

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        self.noise_shape = tuple(x_shape[1:])
        self.log_volume = math.prod(self.noise_shape) * math.log(self.step)  # of one value's reals, in nats

    def forward_and_log_det(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.step * z - 0.5, self.per_example(self.log_volume, z)

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if noise is None:
            return (x + 0.5) / self.step, self.per_example(-self.log_volume, x)
        return self._integers(x) + noise, self.per_example(0.0, x)

    def whole(self, x: Tensor) -> Tensor:
        """The integers, as floats, of real images."""
        return self.step * ops.clip(self._integers(x + 0.5), 0, self.bins - 1)

    def _integers(self, x):
        return ops.floor(x / self.step)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bins": self.bins, "step": self.step}


@keras.saving.register_keras_serializable(package="flowzoo")
class GaussianDequantize(Dequantize):
    """Gaussian noise on integers:  z = x / step + 1/2 + scale * e,  e ~ N(0, 1).

    For models that are to draw samples: a density of noisy images is smooth, and `flowzoo.TarFlow.denoise`
    takes the noise off again. It is no bound of the integers' probability; log_det is that of `step`. The
    argument u of the pass gives e, the normal quantile of u. Without it, integers stand for their middles.

    References:
        Normalizing Flows are Capable Generative Models (Zhai et al., 2024, arXiv:2412.06329)

    Arguments:
        bins, step: as in `Dequantize`.
        scale: standard deviation of the noise, in units of z.

    Example:
        >>> layer = flowzoo.layers.GaussianDequantize(scale=6.4)
        >>> layer.build((None, 2))
        >>> x, noise = keras.ops.array([[0.0, 255.0]]), keras.ops.array([[0.5, 0.8413447]])
        >>> [round(float(z), 1) for z in layer(x, None, noise)[0]]
        [0.5, 261.9]
    """

    bounds_integers = False

    def __init__(self, bins: int = 256, *, step: int = 1, scale: float = 6.4, **kwargs: Any):
        super().__init__(bins, step=step, **kwargs)
        self.scale = checks.positive_number("scale", scale)

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        z, log_det = super().inverse_and_log_det(x)
        if noise is not None:
            z = z + self.scale * math.sqrt(2) * ops.erfinv(2 * noise - 1)
        return z, log_det

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable(package="flowzoo")
class VariationalDequantize(Dequantize):
    """Dequantisation by a flow q(u | x) of its own:  z = floor(x / step) + u,  u in (0, 1).

    u = margin + (1 - 2 margin) sigmoid(couplings(e; x)) with e standard logistic, so that q starts
    uniform. log_det is -log q(u | x): averaged over u, E_q[log p(x + u) - log q(u | x)] is a bound
    that training tightens. Couplings are of the checkerboard kind; their networks see the integers
    beside their half. The margin, 0.001, lets z come back to its own integer in float32.

    References:
        Flow++: Improving Flow-Based Generative Models with Variational Dequantization and
        Architecture Design (Ho et al., 2019, arXiv:1902.00275), section 3.1

    Arguments:
        bins, step: as in `Dequantize`.
        couplings: number of coupling layers of q.
        hidden_channels: width of their `flowzoo.networks.ConvNet`.
        log_scale_bound: soft bound of their log-scales, in nats.

    Example:
        >>> layer = flowzoo.layers.VariationalDequantize(couplings=2, hidden_channels=8)
        >>> layer.build((None, 4, 4, 1))
        >>> tuple(layer.inverse_and_log_det(keras.ops.ones((5, 4, 4, 1)))[1].shape)
        (5,)
    """

    margin = 0.001

    def __init__(
        self,
        bins: int = 256,
        *,
        step: int = 1,
        couplings: int = 4,
        hidden_channels: int = 32,
        log_scale_bound: float = 2.0,
        **kwargs: Any,
    ):
        super().__init__(bins, step=step, **kwargs)
        self.couplings = checks.positive_integer("couplings", couplings)
        self.hidden_channels = checks.positive_integer("hidden_channels", hidden_channels)
        self.log_scale_bound = log_scale_bound
        self.chain = Chain(
            [
                CheckerboardCoupling(
                    ConvNet(self.hidden_channels, dtype=self.dtype_policy),
                    swap=i % 2 == 1,
                    head="conv",
                    log_scale_bound=log_scale_bound,
                    dtype=self.dtype_policy,
                    name=f"noise_{i}",
                )
                for i in range(self.couplings)
            ],
            name="chain",
        )

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        super().build(x_shape)
        self.chain.build(x_shape, x_shape)

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if noise is None:
            return super().inverse_and_log_det(x)
        integers = self._integers(x)
        uniform = ops.clip(noise, 1e-6, 1 - 1e-6)
        start = ops.log(uniform) - ops.log(1 - uniform)
        seen = 2 * integers / self.bins - 1
        logits, log_det = self.chain(start, seen, forward=True, log_det=True)
        log_det = log_det + sum_event(log_sigmoid_slope(logits) + math.log1p(-2 * self.margin))
        log_q = sum_event(log_sigmoid_slope(start)) - log_det
        return integers + self.margin + (1 - 2 * self.margin) * ops.sigmoid(logits), -log_q

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "couplings": self.couplings,
            "hidden_channels": self.hidden_channels,
            "log_scale_bound": self.log_scale_bound,
        }

    def named_parts(self) -> dict[str, Any]:
        return {f"noise_layers/{place}": layer for place, layer in enumerate(self.chain.flow_layers)}
