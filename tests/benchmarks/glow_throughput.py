"""Training throughput of one Glow in flowzoo and, where installed, normflows and nflows.

python tests/benchmarks/glow_throughput.py [flowzoo] [normflows] [nflows]

32 x 32 x 3 images in batches of 16, 3 levels of 8 steps, 128 hidden channels, affine, float32, Adam.
flowzoo has a learned conditional prior where latents leave; normflows and nflows have none.
KERAS_BACKEND picks flowzoo's backend; the two peers run eagerly and under torch.compile.
"""

import sys
import time

import numpy as np

BATCH, LEVELS, STEPS, HIDDEN, REPEATS = 16, 3, 8, 128, 60


def timed(name, step):
    """Prints the time of the first step and the best images/s of three runs."""
    start = time.perf_counter()
    step(1)
    first = time.perf_counter() - start
    step(3)
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        step(REPEATS)
        best = max(best, REPEATS * BATCH / (time.perf_counter() - start))
    print(f"{name}: first step {first:.1f} s, {best:.1f} images/s", flush=True)


def flowzoo(images):
    import keras

    from flowzoo import Glow, backend

    for jit_compile in (False, True) if backend.name == "tensorflow" else (True,):
        flow = Glow((32, 32, 3), levels=LEVELS, steps=STEPS, hidden_channels=HIDDEN)
        flow.compile(optimizer=keras.optimizers.Adam(1e-4), jit_compile=jit_compile)
        flow.initialize(images)

        def step(count, flow=flow):
            flow.fit(np.repeat(images, count, axis=0), batch_size=BATCH, shuffle=False, verbose=0)

        timed(f"flowzoo on {backend.name}, jit_compile={jit_compile}", step)


def normflows(images):
    import normflows as nf

    bases, flows, merges = [], [], []
    for i in range(LEVELS):
        blocks = [
            nf.flows.GlowBlock(3 * 2 ** (LEVELS + 1 - i), HIDDEN, split_mode="channel", scale=True)
            for _ in range(STEPS)
        ]
        flows.append([*blocks, nf.flows.Squeeze()])
        size = 32 // 2 ** (LEVELS - i)
        if i == 0:
            bases.append(nf.distributions.DiagGaussian((3 * 2 ** (LEVELS + 1), size, size)))
        else:
            merges.append(nf.flows.Merge())
            bases.append(nf.distributions.DiagGaussian((3 * 2 ** (LEVELS - i), size, size)))
    model = nf.MultiscaleFlow(bases, flows, merges)
    train_with_torch("normflows", model, model.forward_kld, images)


def nflows(images):
    from nflows import distributions, flows, transforms
    from nflows.utils import torchutils
    from torch import nn

    def network(inputs, outputs):
        last = nn.Conv2d(HIDDEN, outputs, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        layers = [nn.Conv2d(inputs, HIDDEN, 3, padding=1), nn.ReLU(), nn.Conv2d(HIDDEN, HIDDEN, 1), nn.ReLU()]
        return IgnoreContext(*layers, last)

    class IgnoreContext(nn.Sequential):
        def forward(self, x, context=None):
            return super().forward(x)

    chain = transforms.MultiscaleCompositeTransform(num_transforms=LEVELS)
    shape = (3, 32, 32)
    for _ in range(LEVELS):
        squeeze = transforms.SqueezeTransform()
        shape = squeeze.get_output_shape(*shape)
        level = [squeeze]
        for _ in range(STEPS):
            mask = torchutils.create_mid_split_binary_mask(shape[0])
            level += [
                transforms.ActNorm(shape[0]),
                transforms.OneByOneConvolution(shape[0]),
                transforms.AffineCouplingTransform(mask, network),
            ]
        shape = chain.add_transform(transforms.CompositeTransform(level), shape) or shape
    model = flows.Flow(chain, distributions.StandardNormal([3072]))
    train_with_torch("nflows", model, lambda x: -model.log_prob(x).mean(), images)


def train_with_torch(name, model, loss, images):
    import torch

    x = torch.tensor(images / 256.0, dtype=torch.float32).permute(0, 3, 1, 2).contiguous()
    loss(x)  # starts ActNorm
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    for compiled in (False, True):
        function = torch.compile(loss) if compiled else loss

        def step(count, function=function):
            for _ in range(count):
                optimizer.zero_grad()
                value = function(x)
                value.backward()
                optimizer.step()
                value.item()

        timed(f"{name}, {'torch.compile' if compiled else 'eager'}", step)


if __name__ == "__main__":
    images = np.random.default_rng(0).integers(0, 256, (BATCH, 32, 32, 3)).astype("uint8")
    for name in sys.argv[1:] or ("flowzoo", "normflows", "nflows"):
        {"flowzoo": flowzoo, "normflows": normflows, "nflows": nflows}[name](images)
