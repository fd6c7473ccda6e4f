"""The catalogue: one paper a file, one line here; each class is imported when it is used."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for editors and type checkers
    from flowzoo.models.fvae import FVAE
    from flowzoo.models.glow import Glow
    from flowzoo.models.iaf import IAF
    from flowzoo.models.iaf_vae import IAFVAE
    from flowzoo.models.jet import Jet
    from flowzoo.models.maf import MAF
    from flowzoo.models.nice import NICE
    from flowzoo.models.nsf import NSF
    from flowzoo.models.realnvp import RealNVP
    from flowzoo.models.tarflow import TarFlow

_WHERE = {
    "FVAE": "flowzoo.models.fvae",
    "IAF": "flowzoo.models.iaf",
    "IAFVAE": "flowzoo.models.iaf_vae",
    "MAF": "flowzoo.models.maf",
    "NICE": "flowzoo.models.nice",
    "NSF": "flowzoo.models.nsf",
    "Glow": "flowzoo.models.glow",
    "Jet": "flowzoo.models.jet",
    "RealNVP": "flowzoo.models.realnvp",
    "TarFlow": "flowzoo.models.tarflow",
}

__all__ = [*_WHERE]


def __getattr__(name):
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def classes() -> dict[str, type]:
    """All classes of the catalogue, by name."""
    return {name: __getattr__(name) for name in _WHERE}
