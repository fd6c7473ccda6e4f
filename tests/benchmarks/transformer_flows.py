"""Times of a TarFlow: training beside the same network in plain PyTorch, and ways to draw samples.

python tests/benchmarks/transformer_flows.py [train] [torch] [sample] [float32] [bfloat16]

Training: rows of T = 49 tokens of D = 16 numbers, 4 blocks of 4 layers of 128, batch 64, AdamW; images/s.
"train" needs flowzoo, "torch" PyTorch alone, in an environment of its own, eager and under torch.compile.
Sampling: T = 64 tokens of 48 numbers, 1 and 16 samples: with kept keys and values, by Jacobi iterations, and
naively, a pass over all tokens for each. KERAS_BACKEND picks the backend; pin the process to count its cores.
CLOCK=cpu counts the seconds of the processor, for a machine that others use too.
"""

import os
import pathlib
import sys
import time

import numpy as np

BATCH, TOKENS, SIZE, WIDTH, BLOCKS, LAYERS = 64, 49, 16, 128, 4, 4
SAMPLE_EVENT, COUNTS = (32, 32, 3), (1, 16)
REPEATS = 10


clock = time.process_time if os.environ.get("CLOCK") == "cpu" else time.perf_counter


def best_seconds(step, runs=3):
    """Seconds of the first call, and the least of some more."""
    times = []
    for _ in range(1 + runs):
        start = clock()
        step()
        times.append(clock() - start)
    return times[0], min(times[1:])


def report_training(name, step):
    first, best = best_seconds(step)
    print(f"{name}: first {first:.1f} s, {REPEATS * BATCH / best:.1f} images/s", flush=True)


def train(x, dtype):
    import keras

    from flowzoo import TarFlow, backend

    policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[dtype]
    x = np.concatenate([x] * REPEATS)
    for jit_compile in (True, False) if backend.name == "tensorflow" else (True,):
        flow = TarFlow(
            (TOKENS, SIZE),
            blocks=BLOCKS,
            layers_per_block=LAYERS,
            hidden_size=WIDTH,
            mix=False,
            standardize=False,
            dtype=policy,
        )
        flow.compile(optimizer=keras.optimizers.AdamW(1e-4), jit_compile=jit_compile)
        report_training(
            f"flowzoo on {backend.name}, {dtype}, jit_compile={jit_compile}",
            lambda flow=flow: flow.fit(x, batch_size=BATCH, shuffle=False, verbose=0),
        )


def torch(x, dtype):
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norms = nn.ModuleList([nn.LayerNorm(WIDTH) for _ in range(2)])
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

        def forward(self, h):
            n = h.shape[0]
            qkv = self.qkv(self.norms[0](h)).reshape(n, TOKENS, 3, WIDTH // 64, 64).permute(2, 0, 3, 1, 4)
            attended = F.scaled_dot_product_attention(*qkv, is_causal=True)
            h = h + self.out(attended.transpose(1, 2).reshape(n, TOKENS, WIDTH))
            return h + self.mlp(self.norms[1](h))

    class Block(nn.Module):
        def __init__(self, reverse):
            super().__init__()
            self.reverse = reverse
            self.embedding, self.head = nn.Linear(SIZE, WIDTH), nn.Linear(WIDTH, 2 * SIZE)
            self.start = nn.Parameter(0.02 * torch.randn(1, 1, WIDTH))
            self.positions = nn.Parameter(0.02 * torch.randn(TOKENS, WIDTH))
            self.layers = nn.Sequential(*[Layer() for _ in range(LAYERS)])
            self.norm = nn.RMSNorm(WIDTH)
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

        def forward(self, x):
            x = x.flip(1) if self.reverse else x
            first = self.start.expand(len(x), 1, WIDTH)
            h = torch.cat([first, self.embedding(x[:, :-1])], 1) + self.positions
            shift, raw = self.head(self.norm(self.layers(h))).float().chunk(2, -1)
            scale = F.softplus(4 * torch.tanh(raw / 4) + 0.5413)
            z = (x - 8 * torch.tanh(shift / 8)) / scale
            return z.flip(1) if self.reverse else z, -scale.log().sum((1, 2))

    model = nn.ModuleList([Block(i % 2 == 1) for i in range(BLOCKS)])
    x = torch.tensor(x)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def loss():
        z, total = x, 0.0
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            for block in model:
                z, log_det = block(z)
                total = total + log_det
        return (0.5 * z.square().sum((1, 2)) - total).mean()

    for compiled in (False, True):
        function = torch.compile(loss) if compiled else loss

        def step(function=function):
            for _ in range(REPEATS):
                optimizer.zero_grad()
                function().backward()
                optimizer.step()

        report_training(f"PyTorch, {dtype}, {'torch.compile' if compiled else 'eager'}", step)


def sample(x, dtype):
    from keras import ops

    from flowzoo import TarFlow
    from flowzoo.compiled import program
    from flowzoo.layers import TransformerAutoregressive
    from flowzoo.testing import perturb

    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
    from helpers import pass_for_each_token

    class Naive(TarFlow):
        """Draws samples by a pass over all tokens for each."""

        @program
        def _solved(self, z, context=None, guidance=None, tolerance=None):
            x = ops.reshape(z, (-1, *self.latent_shape))
            for layer in self.flow_layers:
                tokens = isinstance(layer, TransformerAutoregressive)
                x = pass_for_each_token(layer, x) if tokens else layer(x, forward=True)
            return x

    size = {"blocks": BLOCKS, "layers_per_block": LAYERS, "hidden_size": WIDTH}
    flow, naive = TarFlow(SAMPLE_EVENT, **size), Naive(SAMPLE_EVENT, **size)
    perturb(flow, scale=0.05)
    naive.set_weights(flow.get_weights())
    for name, model, options in (
        ("kept keys and values", flow, {}),
        ("Jacobi, tolerance 1e-3", flow, {"method": "jacobi", "tolerance": 1e-3}),
        ("Jacobi, tolerance 1e-2", flow, {"method": "jacobi", "tolerance": 1e-2}),
        ("naive", naive, {"method": "jacobi"}),
    ):
        for count in COUNTS:
            first, best = best_seconds(lambda: np.asarray(model.sample(count, seed=0, **options)))  # noqa: B023
            print(f"{name}: first {first:.1f} s, {best:.3f} s for {count} samples", flush=True)


if __name__ == "__main__":
    given = sys.argv[1:]
    dtypes = [dtype for dtype in ("float32", "bfloat16") if dtype in given] or ["float32", "bfloat16"]
    x = np.random.default_rng(0).normal(size=(BATCH, TOKENS, SIZE)).astype("float32")
    for name in [name for name in given if name not in dtypes] or ("train", "sample"):
        for dtype in dtypes[:1] if name == "sample" else dtypes:
            {"train": train, "torch": torch, "sample": sample}[name](x, dtype)
