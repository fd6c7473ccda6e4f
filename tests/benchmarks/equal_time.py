"""What image flows reach on CIFAR-10 in equal time.

python tests/benchmarks/equal_time.py couplings transformers [--minutes 40] [--state FOLDER]

"couplings" are affine, spline and mixture of logistics in the Glow of the zoo, 3 levels of 8 steps of 128
channels, with uniform and with variational dequantization; "transformers" are that Glow, Jet, and TarFlow of
patches of 4 without and with `mix`, and of patches of 2, narrower. Each trains for so many processor
minutes from its third batch on, since the first two compile, its learning rate a cosine of the share of time
that is over. Prints bits/dim of the first 2,000 test images with one draw of noise each, a bound where the
noise is learned.

Interrupted, it goes on from the last five minutes when called again with the same --state. TFDS_DATA_DIR
names the folder of the data; OMP_NUM_THREADS=1 with `taskset -c 1` keeps it to one core.
"""

import argparse
import json
import math
import pathlib
import time

import keras
import numpy as np

import flowzoo
from flowzoo.datasets import ImageBatches, load_arrays

SHAPE = (32, 32, 3)


def glow(**kwargs):
    return flowzoo.Glow(SHAPE, levels=3, steps=8, hidden_channels=128, log_scale_bound=1.0, **kwargs)


def tarflow(**kwargs):
    return flowzoo.TarFlow(SHAPE, **{"blocks": 4, "layers_per_block": 3, "hidden_size": 192, **kwargs})


ADAM = {"batch_size": 16, "rate": 1.5e-3, "warmup": 1000, "clip": 1000.0}
ADAMW = {"batch_size": 32, "rate": 8e-4, "warmup": 250, "clip": 1.0, "weight_decay": 1e-4}
SETS = {
    "couplings": {
        f"Glow, {coupling}, {noise}": (glow, {"coupling": coupling, "dequantization": noise}, ADAM)
        for coupling in ("affine", "spline", "mixture_of_logistics")
        for noise in ("uniform", "variational")
    },
    "transformers": {
        "Glow": (glow, {}, ADAM),
        "Jet": (lambda: flowzoo.Jet(SHAPE, depth=16, block_depth=2, hidden_size=128), {}, ADAMW),
        "TarFlow, patches of 4, no mix": (tarflow, {"mix": False}, ADAMW),
        "TarFlow, patches of 4, mix": (tarflow, {"mix": True}, ADAMW),
        "TarFlow, patches of 2, mix": (tarflow, {"patch_size": 2, "hidden_size": 96}, ADAMW),
    },
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", choices=SETS)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--state", type=pathlib.Path, default=pathlib.Path(".training/equal_time"))
    options = parser.parse_args()
    images, test = (load_arrays("cifar10", split)[0] for split in ("train", "test"))
    for name in options.sets:
        for title, (make, kwargs, recipe) in SETS[name].items():
            keras.utils.set_random_seed(0)
            flow = make(**kwargs)
            used, steps = train(flow, images, recipe, 60 * options.minutes, options.state / name / title)
            bits = np.mean(flow.bits_per_dim(test[:2000], seed=0, batch_size=100))
            print(
                f"{title}: {bits:.3f} bits/dim, {flow.count_params() / 1e6:.2f} M weights, "
                f"{steps * recipe['batch_size'] / used:.1f} images/s, {steps} batches",
                flush=True,
            )


def train(flow, images, recipe, seconds, folder):
    """Trains for `seconds` of the processor, kept in `folder`; returns (seconds, batches)."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, told = folder / "flow.weights.h5", folder / "told.json"
    adam = keras.optimizers.Adam(0.0, global_clipnorm=recipe["clip"], weight_decay=recipe.get("weight_decay"))
    flow.compile(optimizer=adam, jit_compile="auto" if isinstance(flow, flowzoo.Glow) else True)
    flow.initialize(images[:256])
    used, steps, size = 0.0, 0, recipe["batch_size"]
    if told.exists():
        flow.train_on_batch(images[:size])  # makes the optimizer's variables
        flow.load_weights(weights)
        used, steps = json.loads(told.read_text())
    per_epoch, begun, saved = len(images) // size, steps, used  # whole batches
    while used < seconds:
        if steps == begun or steps % per_epoch == 0:
            batches = ImageBatches(images, batch_size=size, seed=0, epoch=steps // per_epoch)
        x = batches[steps % per_epoch]
        start, share = time.process_time(), used / seconds
        rate = recipe["rate"] * min(1, steps / recipe["warmup"]) * (1 + math.cos(math.pi * share)) / 2
        flow.optimizer.learning_rate = rate
        bits = flow.train_on_batch(x, return_dict=True)["bits_per_dim"]
        steps += 1
        if steps > begun + 2:
            used += time.process_time() - start
        if steps % 200 == 0:
            print(f"  {folder.name}: {used / 60:.1f} minutes, batch {steps}: {bits:.3f}", flush=True)
        if used - saved > 300 or used >= seconds:
            flow.save_weights(weights)
            told.write_text(json.dumps([used, steps]))
            saved = used
    return used, steps


if __name__ == "__main__":
    main()
