"""A stored fingerprint of every model: the log-densities of eight fixed inputs."""

import math

from flowzoo.registry.errors import RegistryError
from flowzoo.registry.index import info
from flowzoo.registry.weights import load
from flowzoo.types import PathLike

TOLERANCE = 1e-3  # relative


def verify(name_or_path: PathLike) -> float:
    """Hashes a model's weights again, loads them, and compares its fingerprint with the stored one.

    Returns: the largest difference, relative to the stored number.
    Raises: RegistryError for whatever does not agree.

    Example:
        >>> verify("nice-mnist") < 1e-3
        True
    """
    facts = info(name_or_path)
    model = load(name_or_path)
    if "fingerprint" not in facts:
        raise RegistryError(f"{facts['name']} has no fingerprint; `flowzoo publish FOLDER` adds it.")
    found = model.fingerprint()
    worst = largest_difference(found, facts["fingerprint"])
    if not math.isfinite(worst) or worst > TOLERANCE:
        raise RegistryError(
            f"{facts['name']} gives other densities than when it was published: {found} nats for its eight "
            f"fixed inputs, where {facts['fingerprint']} were stored."
        )
    return worst


def largest_difference(found, stored):
    """Of two fingerprints, relative to the stored numbers.

    Example:
        >>> largest_difference([1.0, -20.0], [1.0, -10.0])
        1.0
    """
    return max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(found, stored, strict=True))
