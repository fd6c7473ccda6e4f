"""How well `TableFlow` fits tables, beside what people use instead.

python tests/benchmarks/tables.py [--zuko PYTHON] [--stream ROWS]

First, for three tables that come with scikit-learn, the mean log-likelihood of held-out rows in nats, in
the tables' own units, with its standard deviation over five folds and the seconds of all of them. Every
model sees the same numbers: the numeric columns, each value with uniform noise of the step to which the
column is rounded, for a density of rounded values has no bound. All but `TableFlow` see columns
standardised by the training rows, and pay for it in the density.

- TableFlow: as it is by default, the average of a flow and a mixture of Gaussians; and its flow alone
- GaussianMixture: 1 to 8 components of full, tied or diagonal covariance, by BIC
- KernelDensity: a Gaussian kernel, whose bandwidth is chosen of 20 by five-fold cross-validation
- zuko's NSF: 3 transforms of 2 x 64 units, Adam, early stopping on a tenth of the rows; in an environment of
  its own (`pip install zuko`), whose Python --zuko names. Left out without it.

Then, on a table of numbers, integers and categories made here, how well a classifier tells 10,000 new rows
from 10,000 samples (AUROC; 0.5 is chance), and from rows whose columns are independent.

--stream 1000000 instead trains on so many rows of that table for an epoch, scores and draws as many, and
tells the seconds of CPU and the peak of the memory.
"""

import argparse
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.neighbors import KernelDensity

import flowzoo
from flowzoo.datasets import tables

TABLES = ("breast_cancer", "wine", "diabetes")
FOLDS = 5


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--zuko", help="a Python that has zuko")
    parser.add_argument("--tables", nargs="*", default=TABLES, choices=TABLES)
    parser.add_argument("--models", nargs="*", default=MODELS, choices=MODELS)
    parser.add_argument("--rows", type=int, default=10_000, help="of the mixed table; 0 leaves it out")
    parser.add_argument("--stream", type=int, metavar="ROWS", help="measure time and memory of so many")
    options = parser.parse_args()
    if options.stream:
        return stream(options.stream)
    models = {name: MODELS[name] for name in options.models}
    if options.zuko:
        models["zuko NSF"] = lambda train, test: zuko(options.zuko, train, test)
    for name in options.tables:
        frame = dequantised(tables.load(name).select_dtypes("number"), np.random.default_rng(0))
        print(f"\n{name}: {len(frame)} rows, {frame.shape[1]} columns", flush=True)
        for model, fit_and_score in models.items():
            start = time.perf_counter()
            scores = [
                np.mean(fit_and_score(frame.iloc[train], frame.iloc[test]))
                for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(frame)
            ]
            seconds = time.perf_counter() - start
            print(
                f"  {model:16} {np.mean(scores):9.2f} ± {np.std(scores, ddof=1):5.2f}  {seconds:6.0f} s",
                flush=True,
            )
    if options.rows:
        told_apart(options.rows)


def dequantised(frame, rng):
    """Numbers with uniform noise of the step to which their column is rounded."""
    steps = [10.0 ** -max(decimals(value) for value in frame[name]) for name in frame]
    return frame + (rng.random(frame.shape) - 0.5) * steps


def decimals(value):
    return len(np.format_float_positional(value, trim="-").partition(".")[2])


def table_flow(train, test, **options):
    schema = {name: {"kind": "real"} for name in train}
    return flowzoo.tabular.TableFlow(schema=schema, verbose=0, **options).fit(train).score_samples(test)


def flow_alone(train, test):
    return table_flow(train, test, gaussians=False)


def standardised(train, test):
    """Both as arrays, and the log-determinant."""
    mean, deviation = train.mean(), train.std(ddof=0)
    log_det = -np.log(deviation).sum()
    return ((train - mean) / deviation).to_numpy(), ((test - mean) / deviation).to_numpy(), log_det


def mixture(train, test):
    train, test, log_det = standardised(train, test)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of mixtures that do not converge, which BIC leaves aside
        found = [
            GaussianMixture(count, covariance_type=kind, random_state=0).fit(train)
            for kind in ("full", "tied", "diag")
            for count in range(1, 9)
        ]
    best = min(found, key=lambda model: model.bic(train))
    return best.score_samples(test) + log_det


def kernels(train, test):
    train, test, log_det = standardised(train, test)
    search = GridSearchCV(KernelDensity(), {"bandwidth": np.geomspace(0.05, 2, 20)}, cv=5)
    return search.fit(train).best_estimator_.score_samples(test) + log_det


MODELS = {
    "TableFlow": table_flow,
    "its flow alone": flow_alone,
    "GaussianMixture": mixture,
    "KernelDensity": kernels,
}


def zuko(python, train, test):
    train, test, log_det = standardised(train, test)
    worker = pathlib.Path(__file__).with_name("tables_zuko.py")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "fold.npz")
        np.savez(path, train=train.astype("float32"), test=test.astype("float32"))
        subprocess.run([python, worker, path], check=True)
        return np.load(path.with_suffix(".npy")) + log_det


def mixed_table(n, rng):
    """People: age of two groups, sex, town, children, an income with a heavy tail, sport, a house."""
    group = rng.random(n) < 0.4
    age = np.where(group, rng.normal(29, 5, n), rng.normal(55, 11, n)).clip(18, 95)
    sex = rng.choice(["f", "m"], n)
    weights = np.where(group[:, None], [0.5, 0.2, 0.1, 0.1, 0.1], [0.1, 0.1, 0.3, 0.3, 0.2])
    town = (rng.random((n, 1)) > weights.cumsum(axis=1)).sum(axis=1).clip(max=4)
    children = rng.poisson(np.where(age < 30, 0.3, 1.7))
    log_income = (
        9.4 + 0.025 * age - 0.0002 * age**2 + 0.15 * town + 0.1 * (sex == "m") + 0.4 * rng.normal(size=n)
    )
    sport = rng.gamma(2, 0.5 + 0.08 * (95 - age) / (1 + children))
    owner = rng.random(n) < 1 / (1 + np.exp(10 - log_income - 0.03 * (age - 50)))
    return pd.DataFrame(
        {
            "age": age,
            "sex": sex,
            "town": np.array(["Ash", "Birch", "Cedar", "Elm", "Fir"])[town],
            "children": children,
            "income": np.exp(log_income),
            "sport": sport,
            "owner": owner,
        }
    )


def told_apart(n):
    rng = np.random.default_rng(0)
    known, new = mixed_table(n, rng), mixed_table(n, rng)
    start = time.perf_counter()
    table = flowzoo.tabular.TableFlow(verbose=0).fit(known)
    seconds = time.perf_counter() - start
    independent = known.apply(lambda column: rng.permutation(column))
    print(f"\nAUROC of a classifier on a mixed table of {n:,} rows, new rows against")
    print(f"  samples of TableFlow  {auroc(new, table.sample(n, seed=0)):.3f}  (trained for {seconds:.0f} s)")
    print(f"  independent columns   {auroc(new, independent.astype(known.dtypes)):.3f}")
    print(f"  other new rows        {auroc(new, mixed_table(n, rng)):.3f}")


def stream(n):
    frame = mixed_table(n, np.random.default_rng(0)).drop(columns="owner")
    size = frame.memory_usage(deep=True).sum() / 2**20
    print(f"{n:,} rows, {frame.shape[1]} columns, {size:.0f} MiB; peak of the memory:")
    print(f"  {peak():7.0f} MiB  before", flush=True)
    table = flowzoo.tabular.TableFlow(verbose=0)
    for what, act in {
        "fit, one epoch": lambda: table.fit(frame, epochs=1),
        "score_samples": lambda: table.score_samples(frame),
        "sample": lambda: table.sample(n, seed=0, batch_size=100_000),
    }.items():
        start = time.process_time()
        act()
        print(f"  {peak():7.0f} MiB  {what}, {time.process_time() - start:.0f} s of CPU", flush=True)


def peak():
    """Of the memory of this process, MiB; Linux counts in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def auroc(one, other):
    rows = pd.concat([one, other], ignore_index=True)
    rows = rows.assign(**{name: pd.Categorical(rows[name]).codes for name in ("sex", "town", "owner")})
    labels = np.repeat([0, 1], [len(one), len(other)])
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    return cross_val_score(
        HistGradientBoostingClassifier(random_state=0), rows, labels, cv=folds, scoring="roc_auc"
    ).mean()


if __name__ == "__main__":
    sys.exit(main())
