"""How far NICE, RealNVP, MAF and NSF stay from the entropy of five densities in the plane.

python tests/benchmarks/toy_densities.py densities.png [FLOW ...]

Prints the gap, mean(log p - log q) over 50,000 new points in nats, which is KL(p || q), and
draws the densities. It takes about half an hour on two cores.
"""

import sys

import keras
import matplotlib.pyplot as plt
import numpy as np

import flowzoo
from flowzoo import plots
from flowzoo.datasets import Checkerboard, EightGaussians, Rings, Spiral, TwoMoons, midpoint_grid

DENSITIES = {
    "two moons": TwoMoons(),
    "eight Gaussians": EightGaussians(),
    "checkerboard": Checkerboard(),
    "spiral": Spiral(),
    "rings": Rings(),
}
FLOWS = {  # each with the peak of its learning rate
    "NICE": (lambda: flowzoo.NICE(event_shape=2, couplings=12, activation="gelu", name="NICE"), 5e-3),
    "RealNVP": (
        lambda: flowzoo.RealNVP(
            event_shape=2, couplings=12, activation="gelu", log_scale_bound=2.0, name="RealNVP"
        ),
        5e-3,
    ),
    "MAF": (
        lambda: flowzoo.MAF(
            event_shape=2,
            autoregressive_layers=10,
            activation="gelu",
            log_scale_bound=2.0,
            normalization="actnorm",
            name="MAF",
        ),
        1e-2,
    ),
    "NSF": (lambda: flowzoo.NSF(event_shape=2, hidden_units=(64, 64), activation="gelu", name="NSF"), 5e-3),
}


def main(path, *names):
    flows = {name: FLOWS[name] for name in names or FLOWS}
    limit = 2.8
    figure, axes = plt.subplots(len(DENSITIES), 1 + len(flows), figsize=(12.5, 12.7))
    for row, (name, density) in zip(axes, DENSITIES.items(), strict=True):
        points, _ = midpoint_grid(limit, 200)
        truth = np.exp(density.log_prob(points)).reshape(200, 200)
        row[0].imshow(truth, origin="lower", cmap="magma")
        row[0].set(xticks=[], yticks=[], title=f"{name}: {density.entropy():.3f} nats")
        test = density.sample(50000, seed=1)
        for panel, (make, peak) in zip(row[1:], flows.values(), strict=True):
            keras.utils.set_random_seed(0)
            flow = make()
            batch_size, epochs, x = 500, 50, density.sample(50000, seed=0)
            rate = keras.optimizers.schedules.CosineDecay(peak, epochs * len(x) // batch_size)
            flow.compile(optimizer=keras.optimizers.Adam(rate, clipnorm=5.0))
            flow.fit(x, batch_size=batch_size, epochs=epochs, verbose=0)
            log_prob = flow.predict(test, batch_size=10000, verbose=0)
            gap = float(np.mean(density.log_prob(test) - log_prob))
            plots.density(flow, limit=limit, axes=panel)
            panel.set_title(f"{flow.name}: +{gap:.3f} nats")
            print(f"{name}, {flow.name}: {gap:.4f} nats over the entropy {density.entropy():.4f}", flush=True)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
