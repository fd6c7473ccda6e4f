"""Coupling layers between the two colours of a checkerboard."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowzoo import checks
from flowzoo.layers.coupling import Coupling
from flowzoo.transformers import Affine
from flowzoo.types import Network, TransformerLike

PATTERNS = ("checkerboard", "rows", "columns")


@keras.saving.register_keras_serializable(package="flowzoo")
class CheckerboardCoupling(Coupling):
    """RealNVP's coupling with a checkerboard mask b over the places of an image:

        x = b z + (1 - b) t(z; network(b z))

    b is 1 where row + column is even, or odd with `swap=True`; or every second row, or column;
    log_det = sum((1 - b) log t').

    References:
        Density estimation using Real NVP (Dinh et al., 2016, arXiv:1605.08803), section 3.4

    Arguments:
        network, swap, head, use_context: those of `Coupling`.
        transformer: t, that of `Coupling`; None for an affine one with this `log_scale_bound`.
        log_scale_bound: soft bound of the affine transformer's log-scales, in nats.
        pattern: "checkerboard", "rows" or "columns".

    Example:
        >>> layer = flowzoo.layers.CheckerboardCoupling(flowzoo.networks.ConvNet(8), head="conv")
        >>> layer.build((None, 4, 4, 1))
        >>> tuple(layer.forward_and_log_det(keras.ops.ones((5, 4, 4, 1)))[1].shape)
        (5,)
    """

    def __init__(
        self,
        network: Network | None = None,
        transformer: TransformerLike | None = None,
        *,
        log_scale_bound: float = 2.0,
        pattern: str = "checkerboard",
        **kwargs: Any,
    ):
        super().__init__(network, transformer or Affine(log_scale_bound), **kwargs)
        self.log_scale_bound = log_scale_bound
        self.pattern = checks.choice("pattern", pattern, PATTERNS)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "log_scale_bound": self.log_scale_bound, "pattern": self.pattern}

    def _channels(self, x_shape):
        if len(x_shape) != 4 or x_shape[1] * x_shape[2] < 2:
            raise ValueError(
                f"CheckerboardCoupling takes images (H, W, C); got event shape {tuple(x_shape[1:])}."
            )
        rows, columns = np.indices(x_shape[1:3])
        number = {"checkerboard": rows + columns, "rows": rows, "columns": columns}[self.pattern]
        passes = number % 2 == int(self.swap)
        self.mask = passes[None, :, :, None].astype("float32")
        return x_shape[3], x_shape[3]

    def _split(self, values):
        mask = ops.cast(self.mask, values.dtype)
        return values * mask, values * (1 - mask)

    def _merge(self, passing, changed):
        return passing + changed * (1 - ops.cast(self.mask, changed.dtype))

    def _log_det(self, log_derivatives):
        return super()._log_det(log_derivatives * (1 - ops.cast(self.mask, log_derivatives.dtype)))
