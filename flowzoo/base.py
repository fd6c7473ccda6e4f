"""Base distributions: what the latent is drawn from before the flow bends it."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from flowzoo import backend, checks
from flowzoo.backend import tfd
from flowzoo.types import BaseLike, Distribution, Seed, Shape, Tensor

STANDARD = {
    "normal": lambda zeros: tfd.Normal(zeros, zeros + 1),
    "logistic": lambda zeros: tfd.Logistic(zeros, zeros + 1),
    "uniform": lambda zeros: tfd.Uniform(zeros, zeros + 1),
    "circle": lambda zeros: tfd.Uniform(zeros - math.pi, zeros + math.pi),
}


class Base(keras.layers.Layer):
    """A distribution of the flat latent, which may have weights of its own.

    `build((None, D))` makes the weights; then `distribution` is a `tfd.Distribution` of event shape (D,),
    made afresh from the present weights.
    """

    bounded = False  # whether its density is 0 somewhere

    def __init__(self, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)

    def build(self, z_shape: Shape) -> None:
        self.dimensions = z_shape[-1]

    @property
    def distribution(self) -> Distribution:
        raise NotImplementedError

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density in nats: (batch, D) -> (batch,)."""
        return self.distribution.log_prob(z)

    def sample(self, n: int, key: Tensor) -> Tensor:
        """`n` draws by a key of the backend, (n, D)."""
        return self.distribution.sample(n, seed=key)

    def call(self, z: Tensor) -> Tensor:
        return self.log_prob(z)

    def describe(self) -> str:
        """The base in one line."""
        return type(self).__name__


@keras.saving.register_keras_serializable(package="flowzoo")
class Standard(Base):
    """Independent standard variables.

    Arguments:
        kinds: for all dimensions, or a tuple of one for each, "normal", N(0, 1); "logistic", with density
            exp(-z) / (1 + exp(-z))^2, NICE's choice; "uniform" on [0, 1); or "circle", uniform on
            [-pi, pi).

    Example:
        >>> base = flowzoo.base.Standard()
        >>> base.build((None, 2))
        >>> round(float(base.log_prob(np.zeros((1, 2), "float32"))[0]), 4)
        -1.8379
    """

    def __init__(self, kinds: str | tuple[str, ...] = "normal", **kwargs: Any):
        super().__init__(**kwargs)
        for kind in [kinds] if isinstance(kinds, str) else kinds:
            checks.choice("base", kind, STANDARD)
        self.kinds = kinds if isinstance(kinds, str) else tuple(kinds)

    def build(self, z_shape: Shape) -> None:
        super().build(z_shape)
        if not isinstance(self.kinds, str) and len(self.kinds) != self.dimensions:
            raise ValueError(f"base names {len(self.kinds)} distributions for {self.dimensions} dimensions.")
        names = [self.kinds] if isinstance(self.kinds, str) else sorted(set(self.kinds))
        self.places = {
            name: np.flatnonzero(np.broadcast_to(np.array(self.kinds) == name, (self.dimensions,)))
            for name in names
        }

    @property
    def bounded(self) -> bool:
        return bool({"uniform", "circle"} & set(self.places))

    def _marginals(self):
        """The distribution of the dimensions of each kind, by its name."""
        return {
            name: tfd.Independent(STANDARD[name](ops.zeros((len(places),), self.variable_dtype)), 1)
            for name, places in self.places.items()
        }

    @property
    def distribution(self) -> Distribution:
        marginals = self._marginals()
        if len(marginals) == 1:
            return next(iter(marginals.values()))
        order = np.argsort(np.concatenate(list(self.places.values())))
        return tfd.TransformedDistribution(
            tfd.Blockwise(list(marginals.values())), backend.tfb.Permute(order), name="base"
        )

    def sample(self, n: int, key: Tensor) -> Tensor:
        if self.kinds == "normal":
            return backend.normal(key, (n, self.dimensions), self.variable_dtype)
        if self.kinds == "logistic":
            u = backend.uniform(key, (n, self.dimensions), self.variable_dtype)
            u = ops.maximum(u, ops.cast(1e-7, u.dtype))
            return ops.log(u) - ops.log1p(-u)
        if self.kinds == "uniform":
            return backend.uniform(key, (n, self.dimensions), self.variable_dtype)
        return super().sample(n, key)

    def describe(self) -> str:
        return self.kinds if isinstance(self.kinds, str) else " and ".join(self.places)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kinds": self.kinds}


@keras.saving.register_keras_serializable(package="flowzoo")
class StudentT(Base):
    """Independent variables of Student's t distribution, for data with heavy tails.

    A flow of bounded slopes maps a normal base to tails that are no heavier than normal; those of a t
    distribution fall as a power, z^-(df + 1) (Jaini et al., 2020, arXiv:1907.04481).

    Arguments:
        df: degrees of freedom, those at the start if learned.
        learned: whether each dimension's degrees of freedom are trained with the flow.

    Example:
        >>> flow = Flow([], event_shape=2, base="student_t")
        >>> tuple(flow.sample(3, seed=0).shape)
        (3, 2)
    """

    def __init__(self, df: float = 5.0, *, learned: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        if not df > 0:
            raise ValueError(f"df must be positive; got {df!r}.")
        self.df = df
        self.learned = bool(learned)

    def build(self, z_shape: Shape) -> None:
        super().build(z_shape)
        self.log_df = self.add_weight(
            shape=(self.dimensions,),
            initializer=keras.initializers.Constant(math.log(self.df)),
            trainable=self.learned,
            autocast=False,
            name="log_df",
        )

    @property
    def distribution(self) -> Distribution:
        df = ops.exp(ops.convert_to_tensor(self.log_df))
        return tfd.Independent(tfd.StudentT(df, ops.zeros_like(df), ops.ones_like(df)), 1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "df": self.df, "learned": self.learned}


@keras.saving.register_keras_serializable(package="flowzoo")
class GaussianMixture(Base):
    """A mixture of Gaussians with diagonal covariances, whose weights, means and scales are learned.

    Arguments:
        components: number of Gaussians.
        seed: integer that draws the means at the start, from N(0, 1).

    Example:
        >>> flow = Flow([], event_shape=2, base=flowzoo.base.GaussianMixture(4, seed=0))
        >>> tuple(flow.log_prob(np.zeros((3, 2))).shape)
        (3,)
    """

    def __init__(self, components: int = 10, *, seed: Seed = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.components = checks.positive_integer("components", components)
        self.seed = seed

    def build(self, z_shape: Shape) -> None:
        super().build(z_shape)
        shape = (self.components, self.dimensions)
        means = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
        self.logits = self._weight((self.components,), "zeros", "logits")
        self.means = self._weight(shape, means, "means")
        self.log_scales = self._weight(shape, "zeros", "log_scales")

    def _weight(self, shape, initializer, name):
        return self.add_weight(shape=shape, initializer=initializer, autocast=False, name=name)

    @property
    def distribution(self) -> Distribution:
        scales = ops.exp(ops.convert_to_tensor(self.log_scales))
        components = tfd.Independent(tfd.Normal(ops.convert_to_tensor(self.means), scales), 1)
        return tfd.MixtureSameFamily(tfd.Categorical(logits=ops.convert_to_tensor(self.logits)), components)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "components": self.components, "seed": self.seed}


class Given(Base):
    """A TFP distribution of event shape (D,) that the user made; its parameters are not trained."""

    def __init__(self, distribution: Distribution, **kwargs: Any):
        super().__init__(**kwargs)
        self._given = distribution

    def build(self, z_shape: Shape) -> None:
        super().build(z_shape)
        shape = tuple(self._given.event_shape)
        if shape != (self.dimensions,):
            raise ValueError(
                f"The base must have event shape ({self.dimensions},), that of the flat latent; the given "
                f"{type(self._given).__name__} has {shape}."
            )

    @property
    def distribution(self) -> Distribution:
        return self._given

    def describe(self) -> str:
        return type(self._given).__name__

    def get_config(self) -> dict[str, Any]:
        raise ValueError(
            f"A flow over a given TFP distribution, here {type(self._given).__name__}, cannot be saved, for "
            "Keras cannot make that again. Write a flowzoo.base.Base whose `distribution` makes it, register "
            "it by keras.saving.register_keras_serializable, and give that as base; or save the weights "
            "alone by save_weights."
        )


NAMED = {"student_t": StudentT, "mixture": GaussianMixture}


def get(base: BaseLike, **kwargs: Any) -> Any:
    """A `Base` from its name, a tuple of names, its object or config, or a TFP distribution.

    `kwargs`, such as dtype, are for one that is made of names or a distribution.

    Raises: ValueError for anything else.

    Example:
        >>> flowzoo.base.get("student_t").df
        5.0
    """
    if isinstance(base, dict):
        base = keras.saving.deserialize_keras_object(base)
    if isinstance(base, Base):
        return base
    if isinstance(base, tfd.Distribution):
        return Given(base, **kwargs)
    if isinstance(base, str) and base in NAMED:
        return NAMED[base](**kwargs)
    if isinstance(base, str) or (isinstance(base, (tuple, list)) and all(isinstance(b, str) for b in base)):
        checks.choice("base", base, [*STANDARD, *NAMED]) if isinstance(base, str) else None
        return Standard(base, **kwargs)
    raise ValueError(
        f"base must be one of {', '.join(map(repr, [*STANDARD, *NAMED]))}, a tuple with a name for each "
        f"dimension, a flowzoo.base.Base or a tfd.Distribution; got {base!r}."
    )


def serialized(base: BaseLike) -> Any:
    """What `get` takes again: names as they are, an object as its config."""
    return base if isinstance(base, (str, tuple)) else keras.saving.serialize_keras_object(base)
