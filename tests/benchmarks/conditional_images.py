"""How near conditional image flows come to a conditional entropy that is known.

python tests/benchmarks/conditional_images.py [EPOCHS]

An image of 8 x 8 pixels is its context, of independent pixels c, put through a curve, and noise:
x = floor(124 (1 + sin(2 c))) + n, with c ~ Uniform[-1, 1] and n ~ Uniform{0 ... 6}, so that the entropy of x
given c is log2(7) = 2.807 bits a pixel. Prints the bits/dim of new images for a Glow of 2 levels of 4 steps
that sees c as an image, as a flat vector, through a context network, or not at all.
"""

import argparse
import time

import keras
import numpy as np

import flowzoo


def draw(n, seed):
    rng = np.random.default_rng(seed)
    context = rng.uniform(-1, 1, (n, 8, 8, 1)).astype("float32")
    x = np.floor(124 * (1 + np.sin(2 * context))) + rng.integers(0, 7, context.shape)
    return x.astype("uint8"), context


def network():
    return keras.Sequential(
        [keras.layers.Conv2D(width, 3, padding="same", activation="gelu") for width in (32, 8)]
    )


KINDS = {
    "an image": {"context_shape": (8, 8, 1)},
    "an image, through a network": {"context_shape": (8, 8, 1), "context_network": network},
    "a flat vector": {"context_shape": 64},
    "not at all": {},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("epochs", nargs="?", type=int, default=12)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    arguments = parser.parse_args()
    (x, context), (test, test_context) = draw(4000, 0), draw(1000, 1)
    for kind in arguments.kinds:
        keras.utils.set_random_seed(0)
        kwargs = {name: value() if callable(value) else value for name, value in KINDS[kind].items()}
        flow = flowzoo.Glow((8, 8, 1), levels=2, steps=4, hidden_channels=64, **kwargs)
        shape = flow.context_shape
        pairs = [
            (images, None if shape is None else seen.reshape(-1, *shape))
            for images, seen in ((x, context), (test, test_context))
        ]
        rate = keras.optimizers.schedules.CosineDecay(2e-3, arguments.epochs * 80)
        flow.compile(optimizer=keras.optimizers.Adam(rate))
        start = time.time()
        flow.fit(*pairs[0], batch_size=50, epochs=arguments.epochs, verbose=0)
        seconds = time.time() - start
        bits = float(np.mean(flow.bits_per_dim(*pairs[1], seed=0, batch_size=500)))
        print(f"{kind:28} {bits:.3f} bits/dim, {flow.count_params():,} weights, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
