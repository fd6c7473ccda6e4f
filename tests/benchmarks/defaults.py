"""What flows reach with their defaults, beside those of an older flowzoo and of zuko.

python tests/benchmarks/defaults.py --old FOLDER

trains MAF, RealNVP and NICE with their default arguments by 20 epochs of Adam, and prints a table of their
held-out loss in nats, the lowest of all epochs, its mean and deviation over five seeds: on 4,000 points of
two moons, eight Gaussians and four Gaussians in the plane, and on four fifths of scikit-learn's breast
cancer and diabetes tables. FOLDER is a checkout of the older flowzoo. zuko's flows have the same depths and
widths, in a virtual environment in --envs (see `peers/environments.py`). Every library gets the data
standardised, so that the losses compare; with --units flowzoo's are also trained on them in other units,
column by column, of which the logarithm is taken off the loss again.

With JAX one program trains all seeds of a flow.
"""

import argparse
import inspect
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

SEEDS = 5
RATE = 2e-3
SETTINGS = {  # epochs and batch size
    "two moons": (20, 200),
    "eight Gaussians": (20, 200),
    "four Gaussians": (20, 200),
    "breast cancer": (20, 50),
    "diabetes": (20, 50),
}
FLOWS = ("MAF", "RealNVP", "NICE")
ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as work:
        np.savez(pathlib.Path(work) / "data.npz", **data())
        versions = {"flowzoo": ROOT} | ({"older": options.old} if options.old else {})
        contestants = {}
        for name, path in versions.items():
            for units in (False, True) if options.units else (False,):
                contestants[name + ", units" * units] = (sys.executable, path, units)
        if not options.no_zuko:
            from peers.environments import python_of

            contestants["zuko"] = (python_of("zuko", options.envs), "", False)
        found = {}
        for name, (python, path, units) in contestants.items():
            found[name] = run(python, path, work, "zuko" if name == "zuko" else "flowzoo", units, options)
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def arguments():
    import platformdirs  # here, for zuko's environment lacks it

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cache = platformdirs.user_cache_path("flowzoo-peers")
    parser.add_argument("--old", type=pathlib.Path, help="a checkout of an older flowzoo")
    parser.add_argument("--units", action="store_true", help="train flowzoo in other units, too")
    parser.add_argument("--no-zuko", action="store_true", help="leave zuko out")
    parser.add_argument("--envs", type=pathlib.Path, default=cache, help="folder of the peers' environments")
    parser.add_argument("--flows", nargs="+", default=list(FLOWS), choices=FLOWS)
    parser.add_argument("--sets", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--json", type=pathlib.Path, help="file to write the losses to")
    return parser.parse_args()


def data():
    """Training and held-out examples of every set, standardised."""
    from sklearn.datasets import load_breast_cancer, load_diabetes

    from flowzoo.datasets import EightGaussians, TwoMoons

    sets = {}
    for name, sample in (
        ("two moons", TwoMoons().sample),
        ("eight Gaussians", EightGaussians().sample),
        ("four Gaussians", four_gaussians),
    ):
        sets[name] = sample(4000, seed=0), sample(4000, seed=1)
    for name, load in (("breast cancer", load_breast_cancer), ("diabetes", load_diabetes)):
        x = load().data
        x = x[np.random.default_rng(0).permutation(len(x))]
        sets[name] = np.split(x, [len(x) * 4 // 5])
    arrays = {}
    for name, parts in sets.items():
        mean, scale = parts[0].mean(axis=0), parts[0].std(axis=0)
        for part, x in zip(("train", "test"), parts, strict=True):
            arrays[f"{name}/{part}"] = ((x - mean) / scale).astype("float32")
        # Losses are told in the units of the density that is known, of the tables in standard ones.
        arrays[f"{name}/log_scale"] = np.log(scale).sum() if mean.size == 2 else 0.0
    return arrays


def four_gaussians(n, seed):
    """`n` points of four Gaussians of deviation 0.2 around (+-1, +-1), whose entropy is 1.005 nats."""
    random = np.random.default_rng(seed)
    return random.choice([-1.0, 1.0], (n, 2)) + 0.2 * random.normal(size=(n, 2))


def run(python, path, work, library, units, options):
    """Held-out losses by set and flow, of every seed, from a process of its own."""
    told = json.dumps({"work": str(work), "units": units, "flows": options.flows, "sets": options.sets})
    code = (
        f"import sys; sys.path.insert(0, {str(pathlib.Path(__file__).resolve().parent)!r}); import defaults; "
    )
    code += f"defaults.{library}_losses({told!r})"
    environment = {
        **os.environ,
        "PYTHONPATH": str(path and pathlib.Path(path).resolve()),
        "KERAS_BACKEND": "jax",
    }
    result = subprocess.run(
        [python, "-c", code],
        cwd=work,  # not a checkout, which would come before the path
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(result.stdout.splitlines()[-1])


def losses(told, train):
    """What `train(flow, x, test, epochs, batch_size)` gives of each set and flow, printed as JSON."""
    told, found = json.loads(told), {}
    arrays = np.load(pathlib.Path(told["work"]) / "data.npz")
    for name in told["sets"]:
        x, test, shift = (arrays[f"{name}/{part}"] for part in ("train", "test", "log_scale"))
        if told["units"]:
            random = np.random.default_rng(2)
            scale = np.exp(random.normal(0, 5, x.shape[1]))
            place = scale * random.normal(0, 100, x.shape[1])
            x, test = ((place + scale * part).astype("float32") for part in (x, test))
            shift = shift - np.log(scale).sum()
        found[name] = {}
        for flow in told["flows"]:
            result = train(flow, x, test, *SETTINGS[name])
            if result is not None:
                found[name][flow] = [float(loss + shift) for loss in result]
                print(told["units"], name, flow, np.round(found[name][flow], 3), file=sys.stderr, flush=True)
    print(json.dumps(found))


def flowzoo_losses(told):
    import jax
    import jax.numpy as jnp
    import keras

    import flowzoo

    def train(name, x, test, epochs, batch_size):
        trainable, fixed = [], []
        for seed in range(SEEDS):
            keras.utils.set_random_seed(seed)
            flow = getattr(flowzoo, name)(event_shape=x.shape[1])
            data = ({"x": x}, batch_size)  # as `fit` does
            if len(inspect.signature(flow._initialize_from).parameters) == 3:  # an older flowzoo
                data = (x, None, batch_size)
            flow._initialize_from(*data)
            trainable.append([v.value for v in flow.trainable_variables])
            fixed.append([v.value for v in flow.non_trainable_variables])
        optimizer = keras.optimizers.Adam(RATE)
        optimizer.build(flow.trainable_variables)
        state = [v.value for v in optimizer.variables]
        steps = len(x) // batch_size
        examples, test = jnp.asarray(x), jnp.asarray(test)

        def loss(weights, others, batch):
            log_prob, _ = flow.stateless_call(weights, others, batch)
            return -jnp.mean(log_prob)

        def one(weights, others, key):
            def step(carry, rows):
                weights, state = carry
                gradients = jax.grad(loss)(weights, others, examples[rows])
                return optimizer.stateless_apply(state, gradients, weights), None

            def epoch(carry, key):
                rows = jax.random.permutation(key, len(x))[: steps * batch_size].reshape(steps, batch_size)
                carry, _ = jax.lax.scan(step, carry, rows)
                return carry, loss(carry[0], others, test)

            _, of_epochs = jax.lax.scan(epoch, (weights, state), jax.random.split(key, epochs))
            return jnp.min(of_epochs)

        stacked = [[jnp.stack(values) for values in zip(*of, strict=True)] for of in (trainable, fixed)]
        return jax.jit(jax.vmap(one))(*stacked, jax.random.split(jax.random.PRNGKey(0), SEEDS))

    losses(told, train)


def zuko_losses(told):
    import torch
    import zuko

    torch.set_num_threads(1)

    def train(name, x, test, epochs, batch_size):
        depth = {"MAF": 5, "RealNVP": 8}.get(name)
        if depth is None:  # its NICE has affine couplings
            return None
        x, test, found = torch.tensor(x), torch.tensor(test), []
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            flow = getattr(zuko.flows, name)(x.shape[1], transforms=depth, hidden_features=(64, 64))
            optimizer = torch.optim.Adam(flow.parameters(), lr=RATE)
            of_epochs = []
            for _ in range(epochs):
                rows = torch.randperm(len(x))
                for i in range(len(x) // batch_size):
                    loss = -flow().log_prob(x[rows[i * batch_size : (i + 1) * batch_size]]).mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                with torch.no_grad():
                    of_epochs.append(-flow().log_prob(test).mean().item())
            found.append(min(of_epochs))
        return found

    losses(told, train)


def table(found):
    """Markdown: a row for each set and flow, a column for each contestant."""
    lines = [f"| data | flow | {' | '.join(found)} |", "| --- " * (2 + len(found)) + "|"]
    for name in next(iter(found.values())):
        for flow in FLOWS:
            cells = [
                f"{np.mean(of):.3f} ± {np.std(of):.3f}" if of else ""
                for of in (library[name].get(flow) for library in found.values())
            ]
            if any(cells):
                lines.append(f"| {name} | {flow} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
