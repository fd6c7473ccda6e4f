"""Names for types in signatures, which tell readers and editors what is meant; nothing is checked by them."""

import os
from typing import Any, TypeAlias

Tensor: TypeAlias = Any  # of the Keras backend, also one that is being traced
ArrayLike: TypeAlias = Any  # a tensor, a NumPy array, a list of numbers, or a pandas frame
Seed: TypeAlias = Any  # None, an integer, a keras.random.SeedGenerator, or a key of the backend
Shape: TypeAlias = tuple[int | None, ...]  # None for an axis of any length, such as the batch
PathLike: TypeAlias = str | os.PathLike[str]

Activation: TypeAlias = Any  # a name that Keras knows, or a function of a tensor
Initializer: TypeAlias = Any  # likewise, or a keras.initializers.Initializer
Network: TypeAlias = Any  # a Keras layer or model
TransformerLike: TypeAlias = Any  # a name, a flowzoo.transformers.Transformer, or its config
BaseLike: TypeAlias = Any  # a name, a tuple of names, a flowzoo.base.Base, or a tfd.Distribution

Bijector: TypeAlias = Any  # a tfb.Bijector
Distribution: TypeAlias = Any  # a tfd.Distribution
