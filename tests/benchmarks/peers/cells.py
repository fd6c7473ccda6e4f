"""The flows that are measured, one a row of the table."""

import dataclasses

import numpy as np

ACTIONS = {"train": "steps/s", "log_prob": "examples/s", "sample": "examples/s"}


@dataclasses.dataclass(frozen=True)
class Cell:
    """A flow's kind and sizes, and how many examples a call takes or gives.

    `layers` counts couplings or autoregressive layers, for Glow the steps of each of its 3 levels;
    `hidden` are the widths of a conditioner's hidden layers.
    """

    title: str
    kind: str
    shape: tuple
    layers: int
    hidden: tuple
    batch: int
    samples: int

    @property
    def size(self):
        return self.shape[0]

    def batches(self, count=64):
        """`count` batches as arrays: vectors of normal numbers, or uint8 images (H, W, C)."""
        generator = np.random.default_rng(0)
        shape = (count, self.batch, *self.shape)
        if self.kind == "glow":
            return list(generator.integers(0, 256, shape, dtype="uint8"))
        return list(generator.normal(size=shape).astype("float32"))

    def units(self, action):
        """What one call counts for in the unit of `action`."""
        return {"train": 1, "log_prob": self.batch, "sample": self.samples}[action]


CELLS = {
    "realnvp": Cell(
        "RealNVP 64-d, 8 couplings of 2×256, batch 512", "realnvp", (64,), 8, (256, 256), 512, 512
    ),
    "maf": Cell("MAF 64-d, 5 × (2×256), batch 512", "maf", (64,), 5, (256, 256), 512, 512),
    "maf-784": Cell("MAF 784-d, 5 × 1024, batch 100, 16 samples", "maf", (784,), 5, (1024,), 100, 16),
    "nsf": Cell("NSF 64-d, 5 couplings of 2×256, 8 bins, batch 512", "nsf", (64,), 5, (256, 256), 512, 512),
    "nsf-ar": Cell(
        "NSF 64-d, autoregressive, 5 × (2×256), 8 bins, batch 512",
        "nsf-ar",
        (64,),
        5,
        (256, 256),
        512,
        512,
    ),
    "glow": Cell("Glow 32×32×3, 3 × 8, 128 channels, batch 16", "glow", (32, 32, 3), 8, (128, 128), 16, 16),
}
