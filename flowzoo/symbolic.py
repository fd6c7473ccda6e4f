"""Methods of a model in functional models: of a `KerasTensor` they make the output of a layer."""

import functools
import inspect

import keras
import numpy as np

from flowzoo import checks


def functional(method):
    """Makes a method of a flow or VAE take symbolic tensors too; a decorator.

    Such a call adds a `MethodLayer` to the functional model that is being made.
    """
    signature = inspect.signature(method)
    inputs = [p.name for p in signature.parameters.values() if p.kind == p.POSITIONAL_OR_KEYWORD][1:]

    @functools.wraps(method)
    def call(self, *given, **options):
        if not any(isinstance(value, keras.KerasTensor) for value in (*given, *options.values())):
            return method(self, *given, **options)
        options = dict(signature.bind(self, *given, **options).arguments)
        values = [options.pop(name, None) for name in inputs]
        return MethodLayer(self, method.__name__, {k: options[k] for k in options if k != "self"})(*values)

    return call


@keras.saving.register_keras_serializable(package="flowzoo")
class MethodLayer(keras.layers.Layer):
    """A method of a flow or VAE as a layer, whose weights are those of the model.

    It computes as the method does, so it is not in training: dropout and moving averages rest. Several of
    them in one functional model share the flow, also once saved and loaded; together with calls of the flow
    itself, `flow(x)`, they cannot be loaded.

    Arguments:
        model: a `flowzoo.Flow` or `flowzoo.FlowVAE`.
        method: "log_prob", "bits_per_dim", "elbo", "encode" or "decode".
        options: its keyword arguments, but `batch_size`, which is that of the functional model. A seed
            is an integer, for the same random numbers at every call, or None.

    Example:
        >>> flow = flowzoo.NICE(event_shape=3, couplings=2, hidden_units=(8,))
        >>> x = keras.Input((3,))
        >>> model = keras.Model(x, [flow.encode(x), flow.log_prob(x)])
        >>> [output.shape for output in model(np.ones((5, 3)))] == [(5, 3), (5,)]
        True
    """

    def __init__(self, model, method, options=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.model = model
        self.method = checks.choice(
            "method", method, ("log_prob", "bits_per_dim", "elbo", "encode", "decode")
        )
        self.options = {name: value for name, value in (options or {}).items() if name != "batch_size"}
        seed = self.options.get("seed")
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer))):
            raise TypeError(f"In a functional model a seed is an integer or None; got {seed!r}.")
        self.built = True

    def call(self, value, context=None):
        inputs = (value,) if context is None else (value, context)
        return getattr(self.model, self.method)(*inputs, **self.options)

    def compute_output_spec(self, value, context=None):
        model = self.model
        latent = (model.latent_dimensions,)
        checks.array(
            "z" if self.method == "decode" else "x",
            value,
            latent if self.method == "decode" else model.event_shape,
        )
        if model.context_shape is not None:
            checks.array("context", context, model.context_shape)
        shape = {"encode": latent, "decode": model.event_shape}.get(self.method, ())
        whole = self.method == "decode" and self.options.get("discrete", True)
        dtype = model.data_dtype if whole else model.variable_dtype
        return keras.KerasTensor((value.shape[0], *shape), dtype)

    def get_config(self):
        # Keras copies nested configs, and so loses of the first of several that they are one object's.
        shared = {"shared_object_id": id(self.model)}
        config = {"model": {**keras.saving.serialize_keras_object(self.model), **shared}}
        return {**super().get_config(), **config, "method": self.method, "options": self.options}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "model": keras.saving.deserialize_keras_object(config["model"])})
