"""MADE: a masked dense network whose outputs respect an order of the inputs."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from flowzoo import backend, checks
from flowzoo.networks.initial import INITIALIZERS, generator, he_normal, in_blocks, kernel_and_bias
from flowzoo.types import Activation, Initializer, Seed, Shape, Tensor

ORDERS = ("natural", "reversed", "random")


@keras.saving.register_keras_serializable(package="flowzoo")
class MADE(keras.layers.Layer):
    """Masked autoencoder for distribution estimation, (batch, D) -> (batch, parameters * D).

    Output block p is outputs[:, p * D : (p + 1) * D]; in each block, the entry of dimension i
    depends on the inputs alone that stand before i in the order, and on the context. Input i
    has its place in the order as degree, 1 to D; hidden units have degrees spread evenly from 1
    to D - 1 (from 0 with a context, so that the first dimension sees the context too). A weight
    joins a unit to a hidden unit of at least its degree, and a hidden unit to an output of
    greater degree.

    With `residual`, ResMADE: after the first hidden layer, each of `hidden_units` is a block of two that
    adds to what comes in,  h <- h + W2 a(W1 a(h)), masked in the same way; W2 starts at zero.

    References:
        MADE: Masked Autoencoder for Distribution Estimation (Germain et al., 2015, arXiv:1502.03509)
        Neural Spline Flows (Durkan et al., 2019, arXiv:1906.04032), for the residual form

    Arguments:
        parameters: number of outputs for each dimension.
        hidden_units: widths of the hidden layers.
        activation: name of a Keras activation.
        order: "natural", "reversed" or "random"; a random order is drawn once and saved.
        seed: integer that draws the random order.
        residual: whether the hidden layers are residual blocks, all of one width.
        periodic: which inputs are angles, whose cosine and sine the network sees.
        initializer: "he_normal", of the hidden kernels, with all else zero, so that the outputs start at
            zero; or "uniform", of all weights, in +-1 / sqrt(fan-in).
        output_scales: how large the output weights of each parameter start beside that, 1 for all by default.

    Example:
        >>> made = flowzoo.networks.MADE(2, hidden_units=(32,))
        >>> tuple(made(keras.ops.ones((5, 3))).shape)
        (5, 6)
    """

    def __init__(
        self,
        parameters: int = 2,
        *,
        hidden_units: Sequence[int] = (64, 64),
        activation: Activation = "relu",
        order: str = "natural",
        seed: Seed = None,
        residual: bool = False,
        periodic: Sequence[int] = (),
        initializer: Initializer = "he_normal",
        output_scales: Sequence[float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.parameters = checks.positive_integer("parameters", parameters)
        self.hidden_units = checks.hidden_units(hidden_units)
        self.activation = activation
        self.activate = keras.activations.get(activation)
        self.order = checks.choice("order", order, ORDERS)
        self.seed = seed
        self.residual = bool(residual)
        self.periodic = tuple(periodic)
        self.widths = self.hidden_units
        if self.residual:
            if len(set(self.hidden_units)) > 1:
                raise ValueError(
                    f"Residual blocks are all of one width; got hidden_units={self.hidden_units}."
                )
            self.widths = self.hidden_units[:1] * (1 + 2 * len(self.hidden_units))
        self.initializer = checks.choice("initializer", initializer, INITIALIZERS)
        self.output_scales = tuple(output_scales or (1.0,) * self.parameters)

    def build(self, inputs_shape: Shape, context_shape: Shape | None = None) -> None:
        self.size = inputs_shape[-1]
        self.degrees = self.add_weight(
            shape=(self.size,),
            dtype="int32",
            initializer=self._initial_degrees,
            trainable=False,
            name="degrees",
        )
        lowest = 0 if context_shape is not None else min(1, self.size - 1)
        self.hidden_degrees = [
            lowest + np.arange(units) * (self.size - lowest) // units for units in self.widths
        ]
        widths = (self.size, *self.widths)
        starts = [kernel_and_bias(self.initializer, inputs) for inputs in widths]
        self.kernels = [
            self.add_weight(shape=shape, initializer="zeros" if self._adds(i) else start, name=f"kernel_{i}")
            for i, (shape, (start, _)) in enumerate(zip(itertools.pairwise(widths), starts, strict=False))
        ]
        self.angles = np.isin(np.arange(self.size), self.periodic)
        self.sine_kernel = None
        if self.periodic:
            self.sine_kernel = self.add_weight(
                shape=(self.size, self.widths[0]), initializer=he_normal, name="sine_kernel"
            )
        self.biases = [
            self.add_weight(shape=(units,), initializer=start, name=f"bias_{i}")
            for i, (units, (_, start)) in enumerate(zip(self.widths, starts, strict=False))
        ]
        self.context_kernel = None
        if context_shape is not None:
            self.context_kernel = self.add_weight(
                shape=(context_shape[-1], self.widths[0]),
                initializer=kernel_and_bias(self.initializer, context_shape[-1])[0],
                name="context_kernel",
            )
        outputs = self.parameters * self.size
        kernel = bias = "zeros"
        if self.initializer == "uniform":
            kernel, bias = (in_blocks(start, self.output_scales) for start in starts[-1])
        self.output_kernel = self.add_weight(
            shape=(self.widths[-1], outputs), initializer=kernel, name="output_kernel"
        )
        self.output_bias = self.add_weight(shape=(outputs,), initializer=bias, name="output_bias")

    def _initial_degrees(self, shape, dtype=None):
        degrees = np.arange(1, self.size + 1)
        if self.order == "reversed":
            degrees = degrees[::-1].copy()
        if self.order == "random":
            degrees = generator(self.seed).permutation(degrees)
        return ops.cast(degrees, dtype)

    def _adds(self, i):
        """Whether hidden layer i ends a residual block, and adds what layer i - 2 gave."""
        return self.residual and i > 0 and i % 2 == 0

    def call(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        degrees = ops.convert_to_tensor(self.degrees)
        hidden, sums = inputs, []
        if self.periodic:
            hidden = ops.where(self.angles, ops.cos(inputs), inputs)
        for i, hidden_degrees in enumerate(self.hidden_degrees):
            hidden_degrees = ops.convert_to_tensor(hidden_degrees, "int32")
            mask = degrees[:, None] <= hidden_degrees[None, :]
            hidden = self._masked(hidden, self.kernels[i], mask) + self.biases[i]
            if i == 0 and self.periodic:
                sines = ops.where(self.angles, ops.sin(inputs), ops.zeros_like(inputs))
                hidden = hidden + self._masked(sines, self.sine_kernel, mask)
            if i == 0 and context is not None:
                hidden = hidden + ops.matmul(context, self.context_kernel)
            if self._adds(i):
                hidden = hidden + sums[i - 2]
            sums.append(hidden)
            hidden = self.activate(hidden)
            degrees = hidden_degrees
        mask = degrees[:, None] < ops.tile(ops.convert_to_tensor(self.degrees), self.parameters)
        return self._masked(hidden, self.output_kernel, mask) + self.output_bias

    def _masked(self, inputs, kernel, mask):
        kernel = ops.convert_to_tensor(kernel)
        return ops.matmul(inputs, kernel * ops.cast(mask, kernel.dtype))

    def solve(self, transform: Callable[..., Tensor], z: Tensor, context: Tensor | None = None) -> Tensor:
        """x with x_i, l_i = transform(z_i, MADE(x)_i) for all i, and the sum of all l_i.

        This takes the arithmetic of about one pass, in D steps. Each step evaluates the hidden units
        that the last x_i completes, a block in every layer, adds what they give to the sums of the
        next layer, and reads the parameters of the next dimension off the last sums.

        Arguments:
            transform: takes one dimension's values, (batch, 1), its parameters, (batch, parameters),
                and its number, and returns two tensors of shape (batch, 1).
            z: (batch, D).
            context: (batch, context size), if the network was built with one.

        Returns: tensors (batch, D) and (batch,).

        Example:
            >>> made = flowzoo.networks.MADE(1, hidden_units=(32,))
            >>> made.build((None, 3))
            >>> x, total = made.solve(lambda z, shift, _: (z + shift, 0 * z), keras.ops.ones((5, 3)))
            >>> tuple(x.shape), tuple(total.shape)
            ((5, 3), (5,))
        """

        def rounded(values):
            # Under mixed precision sums stay in 32 bits, and what `call` rounds is rounded here too.
            return ops.cast(ops.cast(values, self.compute_dtype), self.variable_dtype)

        dimensions = ops.arange(self.size, dtype="int32")
        order = ops.cast(ops.argsort(ops.convert_to_tensor(self.degrees)), "int32")
        # Times one: TensorFlow gives a weight a sparse gradient if rows are taken straight from it.
        first_kernel, *kernels = (1.0 * rounded(kernel) for kernel in (*self.kernels, self.output_kernel))
        blocks = [units_by_degree(degrees, self.size) for degrees in self.hidden_degrees]
        first_kernels = [first_kernel]
        if self.periodic:
            sine_kernel = ops.convert_to_tensor(self.sine_kernel) * ops.cast(
                self.angles[:, None], self.variable_dtype
            )
            first_kernels.append(rounded(sine_kernel))
        sequences = (
            order,
            ops.take(ops.transpose(z), order, axis=0),
            [ops.take(kernel, order, axis=0) for kernel in first_kernels],
            [ops.convert_to_tensor(units) for units, _ in blocks],
            [
                ops.take(kernel, units, axis=0) * ops.cast(real, self.variable_dtype)[:, :, None]
                for kernel, (units, real) in zip(kernels, blocks, strict=True)
            ],
        )

        def step(elements, x, total, *sums):
            dimension, value, first_rows, units, rows = elements
            sums, complete = list(sums), []
            for i in range(len(units)):
                complete.append(rounded(ops.take(sums[i], units[i], axis=1)))
                if self._adds(i):
                    complete[i] = rounded(complete[i] + complete[i - 2])
                sums[i + 1] = sums[i + 1] + ops.matmul(rounded(self.activate(complete[i])), rows[i])
            parameters = ops.reshape(sums[-1], (-1, self.parameters, self.size))
            parameters = ops.cast(rounded(ops.take(parameters, dimension, axis=2)), z.dtype)
            value, extra = transform(ops.expand_dims(value, 1), parameters, dimension)
            for feature, row in zip(self._features(value, dimension), first_rows, strict=True):
                sums[0] = sums[0] + rounded(feature) * row
            return ops.where(dimensions == dimension, value, x), total + extra[:, 0], *sums

        zeros = ops.cast(ops.zeros_like(z[:, :1]), self.variable_dtype)
        sums = [zeros + rounded(bias) for bias in (*self.biases, self.output_bias)]
        if context is not None:
            sums[0] = sums[0] + ops.matmul(rounded(context), rounded(self.context_kernel))
        start = (ops.zeros_like(z), ops.zeros_like(z[:, 0]), *sums)
        x, total, *_ = backend.repeat(self.size, step, start, sequences)
        return x, total

    def _features(self, value, dimension):
        """What the network sees of one dimension's values, (batch, 1)."""
        if not self.periodic:
            return [value]
        angle = ops.take(ops.convert_to_tensor(self.angles), dimension)
        return [ops.where(angle, ops.cos(value), value), ops.sin(value)]

    def compute_output_shape(self, inputs_shape: Shape, context_shape: Shape | None = None) -> Shape:
        return (*inputs_shape[:-1], self.parameters * inputs_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "parameters": self.parameters,
            "hidden_units": self.hidden_units,
            "activation": self.activation,
            "order": self.order,
            "seed": self.seed,
            "residual": self.residual,
            "periodic": self.periodic,
            "initializer": self.initializer,
            "output_scales": self.output_scales,
        }


def units_by_degree(degrees, size):
    """The units of each degree 0 ... size - 1 in sorted `degrees`, and which of them are no padding.

    Two arrays of shape (size, width), where width is the number of units of the commonest degree.
    """
    start, end = (np.searchsorted(degrees, np.arange(size), side)[:, None] for side in ("left", "right"))
    units = start + np.arange(np.max(end - start))
    return np.minimum(units, len(degrees) - 1).astype("int32"), units < end
