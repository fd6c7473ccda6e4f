"""The models of one table: categories and integers, reals given these, and any columns given any others."""

import inspect

import numpy as np
from keras import ops

from flowzoo import backend, models
from flowzoo.tabular.blocks import in_blocks
from flowzoo.tabular.chain import ColumnChain
from flowzoo.tabular.features import Features
from flowzoo.tabular.gaussians import LEAST_ROWS, MOST_ROWS, Gaussians, best_share
from flowzoo.tabular.training import Rows, train

LEAST_IDENTITY = 1e-6  # part of a covariance


class Discrete:
    """p(categories and integers | given columns): a `ColumnChain` whose targets are all in T."""

    def __init__(self, layout, chain):
        self.layout, self.chain = layout, chain

    @classmethod
    def made(cls, layout, width):
        columns = [*layout.discrete, *layout.given]
        return cls(layout, ColumnChain(columns, len(layout.discrete), width=width, name="discrete"))

    def _examples(self, encoded):
        encoded = encoded[:, self.layout.seen_by_flow]
        there = np.isfinite(encoded)
        target = np.arange(encoded.shape[1]) < self.chain.targets
        return encoded, there & ~target, there & target

    def log_prob(self, encoded, progress=True):
        return self.chain.log_prob(*self._examples(encoded), progress)

    def fit(self, encoded, weight, held, **options):
        self.chain.start(encoded[:, self.layout.seen_by_flow])

        def make(places, rng):
            return self.chain.inputs(*self._examples(encoded[places])), weight[places]

        return fit(self.chain, len(encoded), make, lambda: self.log_prob(held[0], False), held[1], **options)

    def draw(self, encoded, rng):
        """`encoded` with categories and integers drawn."""
        own, given, _ = self._examples(encoded)
        target = np.zeros_like(given) | (np.arange(own.shape[1]) < self.chain.targets)
        encoded = encoded.copy()
        encoded[:, self.layout.seen_by_flow] = self.chain.draw(own, given, target, rng)
        return encoded


class Reals:
    """p(reals | categories, integers, given columns): a flow of the catalogue, after whitening.

    The standardised reals y become L^-1 y with L L' their covariance, so that the flow, which starts at
    a rotation, is a Gaussian of all columns before its training; log_det = -log |det L|. Of few rows, the
    density may be an average of the flow's and that of `Gaussians`.
    """

    def __init__(self, layout, flow, lower=None, gaussians=None):
        self.layout, self.flow, self.lower, self.gaussians = layout, flow, lower, gaussians
        self.features = Features([*layout.discrete, *layout.given])

    @classmethod
    def made(cls, layout, builder, n, width, seed):
        context = len(Features([*layout.discrete, *layout.given]).column_of)
        return cls(layout, flow_of(builder, len(layout.reals), context, n, width, seed))

    def _context(self, encoded):
        return self.features(encoded[:, self.layout.seen_by_flow]) if self.features.columns else None

    def _examples(self, encoded):
        y = encoded[:, self.layout.real_places]
        return np.linalg.solve(self.lower, y.T).T.astype("float32"), self._context(encoded)

    def _explained(self, encoded):
        """What `Gaussians` explain, and what by."""
        context = self._context(encoded)
        by = np.zeros((len(encoded), 0)) if context is None else context.astype("float64")
        return encoded[:, self.layout.real_places], by

    def log_prob(self, encoded, progress=True):
        found = self._log_flow(encoded, progress)
        if self.gaussians is None:
            return found
        return self.gaussians.averaged(found, self.gaussians.log_prob(*self._explained(encoded)))

    def _log_flow(self, encoded, progress=True):
        def density(rows):
            return self.flow.log_prob(*self._examples(rows))

        return in_blocks(density, [encoded], progress=progress) - np.log(np.diag(self.lower)).sum()

    def fit(self, encoded, weight, held, **options):
        self.lower = covariance_root(encoded[:, self.layout.real_places])

        def make(places, rng):
            x, context = self._examples(encoded[places])
            return x, context, weight[places]

        return fit(self.flow, len(encoded), make, lambda: self._log_flow(held[0], False), held[1], **options)

    def fit_gaussians(self, encoded, held, seed):
        """Averages the fitted flow with Gaussians, by the share that is best for held-out rows.

        In the end they are fitted to all rows; where the rows are too few or too many, there are none.
        """
        if not LEAST_ROWS <= len(encoded) <= MOST_ROWS or not len(held):
            return
        first = Gaussians.fitted(*self._explained(encoded), seed)
        share = best_share(self._log_flow(held, False), first.log_prob(*self._explained(held)))
        self.gaussians = Gaussians.fitted(*self._explained(np.concatenate([encoded, held])), seed)
        self.gaussians.share = share

    def draw(self, encoded, rng):
        """`encoded` with reals drawn."""
        z = self.flow.base_layer.sample(len(encoded), backend.random_key(int(rng.integers(2**31))))

        def decoded(z, rows):
            return self.flow.decode(z, self._context(rows))

        x = in_blocks(decoded, [ops.convert_to_numpy(z), encoded])
        y = x.astype("float64") @ self.lower.T
        if self.gaussians is not None:
            others = rng.uniform(size=len(y)) > self.gaussians.share
            y[others] = self.gaussians.draw(self._explained(encoded[others])[1], rng)
        encoded = encoded.copy()
        encoded[:, self.layout.real_places] = y
        return encoded


class Imputer:
    """p(any columns | any others): a `ColumnChain` of all columns, trained on random splits of them.

    In each step a row's columns are given, targets, or left out: with probability 1/3 all that is there is
    target; otherwise each column is given with probability u, of Uniform(0, 1), and all others are targets.
    """

    def __init__(self, layout, chain):
        self.layout, self.chain = layout, chain

    @classmethod
    def made(cls, layout, width):
        free = [*layout.discrete, *layout.reals]
        return cls(layout, ColumnChain([*free, *layout.given], len(free), width=width, name="imputer"))

    @property
    def free(self):
        return np.arange(len(self.layout.columns)) < self.chain.targets

    def log_prob(self, encoded):
        """Of what is there, given the columns that always are."""
        there = np.isfinite(encoded)
        return self.chain.log_prob(encoded, there & ~self.free, there & self.free)

    def splits(self, encoded, rng):
        """Masks of given columns and of targets, drawn for each row."""
        n = len(encoded)
        there = np.isfinite(encoded)
        part = rng.uniform(size=(n, 1)) * (rng.uniform(size=(n, 1)) > 1 / 3)
        given = rng.uniform(size=encoded.shape) < part
        return there & (given | ~self.free), there & ~given & self.free

    def fit(self, encoded, weight, held, seed, again=False, **options):
        """`again`: whether the chain goes on from where it is."""
        if not again:
            self.chain.start(encoded)

        def make(places, rng):
            rows = encoded[places]
            return self.chain.inputs(rows, *self.splits(rows, rng)), weight[places]

        held, held_weight = held
        splits = self.splits(held, np.random.default_rng(seed)) if len(held) else None
        return fit(
            self.chain,
            len(encoded),
            make,
            lambda: self.chain.log_prob(held, *splits, False),
            held_weight,
            seed=seed,
            **options,
        )

    def draw(self, encoded, rng):
        """`encoded` with all that is missing, but for given columns, drawn."""
        there = np.isfinite(encoded)
        return self.chain.draw(encoded, there, ~there & self.free, rng)


def fit(model, n, make, log_prob, weight, *, batch_size, seed, **options):
    """Trains a part; `log_prob` is that of the held-out rows, which have `weight`."""

    def loss():
        return -float(np.average(log_prob(), weights=weight))

    return train(model, Rows(n, batch_size, make, seed), loss if weight.sum() > 0 else None, **options)


def covariance_root(y):
    """The lower triangular L of L L' = S, the covariance of standardised y, shrunk to the identity.

    The part of the identity, at most (d + 1) / (n + d + 1) and at least a millionth, is that which gives each
    fifth of the first 20,000 rows the highest Gaussian density, with the covariance of the others.
    """
    n, d = y.shape
    most = max((d + 1) / (n + d + 1), LEAST_IDENTITY)
    parts = np.geomspace(most, LEAST_IDENTITY, 7)
    losses = np.zeros(len(parts))
    for rows in np.array_split(np.arange(min(n, 20_000)), 5) if n >= 20 else ():
        covariance = covariance_of(np.delete(y[:20_000], rows, axis=0))
        for i, part in enumerate(parts):
            root = shrunk_root(covariance, part)
            away = np.linalg.solve(root, y[rows].T)
            losses[i] += 0.5 * np.square(away).sum() + len(rows) * np.log(np.diag(root)).sum()
    return shrunk_root(covariance_of(y), parts[np.argmin(losses)])


def covariance_of(y):
    return np.atleast_2d(np.cov(y, rowvar=False, bias=True))


def shrunk_root(covariance, part):
    return np.linalg.cholesky((1 - part) * covariance + part * np.eye(len(covariance)))


def flow_of(builder, size, context, n, width, seed):
    """The flow for `size` reals and a context of that many numbers, or 0."""
    arguments = {"event_shape": (size,)} | ({"context_shape": (context,)} if context else {})
    if callable(builder) and not inspect.isclass(builder):
        return builder(**arguments)
    catalogue = {name.lower(): name for name in models.__all__}
    if isinstance(builder, str):
        if builder.lower() not in catalogue:
            raise ValueError(
                "flow must name a flow of the catalogue for vectors, such as 'nsf', 'maf' or 'realnvp', or "
                f"be a function of event_shape and context_shape that gives a flow; got {builder!r}."
            )
        builder = getattr(models, catalogue[builder.lower()])
    if not callable(builder):
        raise TypeError(f"flow must be a name, a class or a function; got {builder!r}.")
    takes = inspect.signature(builder).parameters
    sized = {
        "hidden_units": (width, width),
        "spline_layers": 3 if n < 20_000 else 5,
        "standardize": False,  # the data are; of rare categories it would make contexts far from 0
        "seed": seed,
    }
    return builder(**arguments, **{name: value for name, value in sized.items() if name in takes})
