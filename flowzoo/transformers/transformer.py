"""What every transformer is."""

import inspect
from collections.abc import Sequence
from typing import Any, Self

from keras import ops

from flowzoo.types import Tensor


class Transformer:
    """An invertible function of one number, whose parameters a conditioner gives.

    It has `parameters`, how many numbers it wants for each transformed dimension, and two methods that
    take values of shape (batch, ..., D) and a parameter tensor of shape (batch, ..., parameters * D), in
    which all first parameters stand first:

        forward(z, parameters) -> x, log |dx/dz|        latent to data
        inverse(x, parameters) -> z, log |dz/dx|        data to latent

    Both results have the shape of the values; log-derivatives are in nats. A subclass keeps the arguments
    of its constructor as attributes of the same names.
    """

    parameters = None

    @property
    def start_scales(self) -> Sequence[float]:
        """How large the last weights of a network that starts "uniform" are for each parameter.

        1 stands for +-1 / sqrt(fan-in), which all other weights of the network start from.
        """
        return (1.0,) * self.parameters

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def by_dimension(self, parameters: Tensor) -> Any:
        """The parameters as (batch, ..., self.parameters, D)."""
        size = parameters.shape[-1] // self.parameters
        return ops.reshape(parameters, (-1, *parameters.shape[1:-1], self.parameters, size))

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)

    def __repr__(self):
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"
