"""What flowzoo's own tests ask of a flow layer, for layers of your own."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from flowzoo import backend
from flowzoo.layers.flow_layer import FlowLayer
from flowzoo.types import ArrayLike, Tensor


def check_flow_layer(
    layer: keras.layers.Layer,
    x: ArrayLike,
    *,
    context: ArrayLike | None = None,
    atol: float = 1e-4,
    without_gradient: Sequence[str] = (),
) -> None:
    """Checks that a flow layer is invertible, that its log-determinants are right, and that it trains.

    The layer is built for `x` unless it is built, and its weights are moved by `perturb`, since a start at
    the identity hides mistakes. In this order:

    - both methods return values and log_det, the latter of shape (batch,);
    - data come back from the latent, and latents from the data, and the two log_dets add up to 0;
    - log_det is log |det J|, both ways, with J the whole Jacobian by automatic differentiation;
    - every trainable weight gets a gradient, which is finite and not 0 everywhere;
    - a layer made from `get_config()` with the same weights gives the same;
    - so does the layer as a TFP bijector, and compiled by XLA.

    Arguments:
        layer: a `flowzoo.layers.FlowLayer`. Its weights are changed.
        x: two or more data examples (batch, ...), floats where the layer is defined.
        context: their contexts (batch, ...), for a layer that takes one.
        atol: how far numbers may lie apart; those of float32 layers with moderate weights lie within 1e-4.
        without_gradient: names of trainable weights that `x` does not reach.

    Raises: AssertionError, which says what was found, what was expected and where to look.

    Example:
        >>> flowzoo.testing.check_flow_layer(flowzoo.layers.ActNorm(), np.random.normal(size=(4, 3)))
    """
    if not isinstance(layer, FlowLayer):
        raise ValueError(f"check_flow_layer takes a flow layer; got {layer!r}. See flowzoo.layers.FlowLayer.")
    x = ops.convert_to_tensor(np.asarray(x), layer.variable_dtype)
    if x.shape[0] < 2:
        raise ValueError(f"x must hold two or more examples; got shape {tuple(x.shape)}.")
    if context is not None:
        context = ops.convert_to_tensor(np.asarray(context), layer.variable_dtype)
    if not layer.built:
        layer.build((None, *x.shape[1:]), None if context is None else (None, *context.shape[1:]))
    perturb(layer)
    _check_round_trips(layer, x, context, atol)
    _check_log_det(layer, x, context, atol)
    check_gradients(
        layer.trainable_weights,
        lambda: _training_loss(layer, x, context),
        without_gradient=without_gradient,
    )
    _check_config(layer, x, context)
    _check_bijector(layer, x, context, atol)
    _check_compiled(layer, x, context, atol)


def _check_round_trips(layer, x, context, atol):
    name = type(layer).__name__
    latent_shape = layer.compute_output_shape(tuple(x.shape))
    z = ops.convert_to_tensor(np.random.default_rng(2).normal(size=latent_shape), layer.variable_dtype)
    there, back = layer.inverse_and_log_det, layer.forward_and_log_det
    for first, second, values, other_shape in ((there, back, x, z.shape), (back, there, z, x.shape)):
        between, log_det = first(values, context)
        _agree(
            tuple(between.shape),
            tuple(other_shape),
            f"{name}.{first.__name__} gives values of another shape than compute_output_shape says",
        )
        _agree(
            tuple(log_det.shape),
            (x.shape[0],),
            f"The log_det of {name}.{first.__name__} has another shape than (batch,); see per_example",
        )
        again, opposite = second(between, context)
        _close(again, values, atol, f"{name}.{second.__name__} does not undo {first.__name__}")
        _close(
            opposite,
            -log_det,
            atol,
            f"The log_det of {name}.{second.__name__} is not that of {first.__name__} with the other sign",
        )


def _check_log_det(layer, x, context, atol):
    z = ops.copy(layer.inverse_and_log_det(x, context)[0])  # TFP remembers of its own tensor whence it came
    for method, values in ((layer.inverse_and_log_det, x), (layer.forward_and_log_det, z)):
        _close(
            method(values, context)[1],
            jacobian_log_det(lambda v, method=method: method(v, context)[0], values),
            atol,
            f"The log_det of {type(layer).__name__}.{method.__name__} is not the logarithm of the absolute "
            "determinant of its Jacobian",
        )


def _training_loss(layer, x, context):
    z, log_det = layer.inverse_and_log_det(x, context)
    return ops.mean(ops.sum(ops.square(ops.reshape(z, (x.shape[0], -1))), axis=1) - log_det)


def check_gradients(
    weights: Sequence[keras.Variable], loss: Any, *, without_gradient: Sequence[str] = ()
) -> None:
    """Checks that every weight gets a gradient of `loss()`, which is finite and not 0 everywhere.

    Arguments:
        weights: Keras variables.
        loss: function without arguments, which computes a number from them.
        without_gradient: names of weights whose gradient may be 0.

    Raises: AssertionError, which names the weight.

    Example:
        >>> layer = keras.layers.Dense(2)
        >>> x = np.ones((4, 3), "float32")
        >>> layer.build(x.shape)
        >>> flowzoo.testing.check_gradients(layer.trainable_weights, lambda: keras.ops.mean(layer(x)))
    """
    for weight, gradient in zip(weights, gradients(weights, loss) if weights else [], strict=True):
        if gradient is None:
            raise AssertionError(f"{weight.path} gets no gradient: the loss does not use it.")
        if not np.isfinite(gradient).all():
            raise AssertionError(f"{weight.path} gets a gradient that is not finite: {gradient!r}.")
        if weight.name not in without_gradient and not gradient.any():
            raise AssertionError(
                f"{weight.path} gets a gradient of 0 everywhere. If nothing depends on it, remove it; if "
                "these examples do not reach it, name it in without_gradient."
            )


def _check_config(layer, x, context):
    name = type(layer).__name__
    twin = type(layer).from_config(layer.get_config())
    twin.build((None, *x.shape[1:]), None if context is None else (None, *context.shape[1:]))
    twin.set_weights(layer.get_weights())
    for found, expected in zip(
        twin.inverse_and_log_det(x, context), layer.inverse_and_log_det(x, context), strict=True
    ):
        _close(
            found,
            expected,
            0.0,
            f"A {name} made from its get_config() with the same weights gives other numbers: does "
            "get_config hold every argument of __init__, and are random choices weights",
        )


def _check_bijector(layer, x, context, atol):
    keywords = {} if context is None else {"context": context}
    z, log_det = layer.inverse_and_log_det(x, context)
    message = f"{type(layer).__name__} as a TFP bijector gives other numbers"
    # TFP remembers what it computed, so each is asked of a new one.
    _close(layer.bijector.inverse(x, **keywords), z, atol / 10, message)
    _close(layer.bijector.inverse_log_det_jacobian(x, **keywords), log_det, atol / 10, message)
    _close(layer.bijector.forward_log_det_jacobian(z, **keywords), -log_det, atol, message)


def _check_compiled(layer, x, context, atol):
    if backend.name == "jax":
        import jax

        method = jax.jit(layer.inverse_and_log_det)
    else:
        import tensorflow as tf

        method = tf.function(layer.inverse_and_log_det, autograph=False, jit_compile=True)
    for found, expected in zip(method(x, context), layer.inverse_and_log_det(x, context), strict=True):
        _close(found, expected, atol, f"{type(layer).__name__} compiled by XLA gives other numbers")


def perturb(module: keras.layers.Layer, *, seed: int = 0, scale: float = 0.5) -> None:
    """Moves every float weight of a Keras layer or model at random, so that nothing is at its start.

    A kernel moves by normal numbers of standard deviation scale / sqrt(fan-in). A weight whose name ends
    in "variance" grows, and one named "sign", +1 or -1, stays.

    Arguments:
        module: a built layer or model.
        seed: integer.
        scale: how far the weights move.

    Example:
        >>> layer = flowzoo.layers.ActNorm()
        >>> layer.build((None, 3))
        >>> flowzoo.testing.perturb(layer)
        >>> bool(np.any(layer.weight))
        True
    """
    rng = np.random.default_rng(seed)
    for weight in module.weights:
        if not keras.backend.is_float_dtype(weight.dtype):
            continue
        fan_in = weight.shape[0] if len(weight.shape) > 1 else 10
        kick = scale * rng.normal(size=weight.shape) / np.sqrt(fan_in)
        if weight.name.endswith("variance"):
            kick = np.abs(kick)
        if weight.name == "sign":
            kick = np.zeros_like(kick)
        weight.assign(weight + ops.cast(kick, weight.dtype))


def jacobian_log_det(function: Callable[..., Tensor], x: ArrayLike) -> np.ndarray:
    """log |det J| in nats of a function of examples, each by itself, J by automatic differentiation.

    Arguments:
        function: maps tensors (batch, ...) to tensors (batch, ...) of as many numbers.
        x: examples, (batch, ...).

    Returns: float64 array (batch,).

    Example:
        >>> flowzoo.testing.jacobian_log_det(lambda x: 2 * x, np.zeros((2, 3), "float32")).round(4)
        array([2.0794, 2.0794])
    """
    x = ops.convert_to_tensor(x)

    def summed(x):
        """The sum over the examples, whose Jacobian (D, batch, ...) holds that of each."""
        return ops.sum(ops.reshape(function(x), (x.shape[0], -1)), axis=0)

    if backend.name == "jax":
        import jax

        matrices = jax.jit(jax.jacrev(summed))(x)
    else:
        import tensorflow as tf

        @tf.function(autograph=False)
        def jacobian(x):
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(x)
                y = summed(x)
            return tape.jacobian(y, x, experimental_use_pfor=False)

        matrices = jacobian(x)
        if matrices is None:
            raise AssertionError("The function's values do not depend on x by operations of TensorFlow.")
    matrices = ops.convert_to_numpy(matrices).astype("float64")
    matrices = matrices.reshape(*matrices.shape[:2], -1).swapaxes(0, 1)
    return np.linalg.slogdet(matrices)[1]


def gradients(weights: Sequence[keras.Variable], loss: Any) -> list[Tensor | None]:
    """The gradients of `loss()` with regard to Keras variables, as arrays, or None where there is none."""
    if backend.name == "jax":
        import jax

        def of_values(values):
            with keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True))):
                return loss()

        return [np.asarray(gradient) for gradient in jax.jit(jax.grad(of_values))([w.value for w in weights])]

    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = loss()
    found = tape.gradient(value, [w.value for w in weights])
    return [None if gradient is None else ops.convert_to_numpy(gradient) for gradient in found]


def _agree(found, expected, message):
    if found != expected:
        raise AssertionError(f"{message}: {found} instead of {expected}.")


def _close(found, expected, atol, message):
    found, expected = (np.asarray(ops.convert_to_numpy(value)) for value in (found, expected))
    difference = np.abs(found - expected)
    if not (difference <= atol).all():  # nor is NaN
        worst = np.unravel_index(np.argmax(np.where(np.isnan(difference), np.inf, difference)), found.shape)
        raise AssertionError(
            f"{message}: {found[worst]:.6g} instead of {expected[worst]:.6g} (within {atol:g}), at the "
            f"worst of {difference.size} numbers."
        )
