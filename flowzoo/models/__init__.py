"""The catalogue: one paper a file."""

from flowzoo.models.fvae import FVAE
from flowzoo.models.glow import Glow
from flowzoo.models.iaf import IAF
from flowzoo.models.iaf_vae import IAFVAE
from flowzoo.models.maf import MAF
from flowzoo.models.nice import NICE
from flowzoo.models.realnvp import RealNVP

__all__ = ["FVAE", "IAF", "IAFVAE", "MAF", "NICE", "Glow", "RealNVP"]
