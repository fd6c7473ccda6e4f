"""Programs give what their methods give, operation by operation, for any number of examples."""

import numpy as np
import pytest
from cases import IMAGE_MODELS, MODELS, VAES
from conftest import run_as_it_is
from helpers import data_for, numpy, pixels

from flowzoo.compiled import Program
from flowzoo.testing import perturb

pytestmark = pytest.mark.compiled

MAKE = {
    **{name: MODELS[name] for name in MODELS if "," not in name and "MoG" not in name},
    **{f"{name}, images": IMAGE_MODELS[name] for name in ("Glow, variational, logit", "TarFlow, classes")},
    "IAFVAE": VAES["IAFVAE"],
    "FVAE": VAES["FVAE"],
}


@pytest.mark.parametrize("name", MAKE)
def test_programs_give_what_methods_give(name, monkeypatch):
    model = MAKE[name]()
    perturb(model, scale=0.1)
    is_vae, is_image = name in VAES, name in VAES or name.endswith("images")
    shape = None if is_vae else model.context_shape

    def results(n):
        x = pixels(model.event_shape, n=n) if is_image else data_for(model.event_shape, n=n)
        x = np.round(x / 255) if name == "IAFVAE" else x  # bits
        context = ()
        if shape is not None:
            context = (np.arange(n) % 10 if shape == () else data_for(shape, n=n, seed=1),)
        density = model.elbo if is_vae else model.log_prob
        z = model.encode(x, *context, seed=1)
        return {
            "density": numpy(density(x, *context, seed=1)),
            "latents": numpy(z),
            "decoded": numpy(model.decode(z, *context)),
            "samples": numpy(model.sample(n, *context, seed=1)),
        }

    compiled = [results(n) for n in (3, 4)]
    monkeypatch.setattr(Program, "run", run_as_it_is)
    for found, expected in zip(compiled, [results(n) for n in (3, 4)], strict=True):
        for what, value in found.items():
            tolerance = 1.0 if value.dtype == np.uint8 else 1e-4  # rounding may go either way
            np.testing.assert_allclose(
                value.astype("float64"),
                expected[what].astype("float64"),
                rtol=1e-4,
                atol=tolerance,
                err_msg=what,
            )
