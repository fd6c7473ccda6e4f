"""The models of one table: categories and integers, reals given these, and any columns given any others."""

import inspect

import numpy as np
from keras import ops

from flowzoo import backend, models
from flowzoo.tabular.blocks import in_blocks
from flowzoo.tabular.chain import ColumnChain
from flowzoo.tabular.features import Features
from flowzoo.tabular.training import Rows, train


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
    the identity, is a Gaussian of all columns before its training; log_det = -log |det L|.
    """

    def __init__(self, layout, flow, lower=None):
        self.layout, self.flow, self.lower = layout, flow, lower
        self.features = Features([*layout.discrete, *layout.given])

    @classmethod
    def made(cls, layout, builder, n, width, seed):
        context = len(Features([*layout.discrete, *layout.given]).column_of)
        return cls(layout, flow_of(builder, len(layout.reals), context, n, width, seed))

    def _examples(self, encoded):
        y = encoded[:, self.layout.real_places]
        x = np.linalg.solve(self.lower, y.T).T.astype("float32")
        if not self.features.columns:
            return x, None
        return x, self.features(encoded[:, self.layout.seen_by_flow])

    def log_prob(self, encoded, progress=True):
        found = in_blocks(self.flow.log_prob, self._examples(encoded), progress=progress)
        return found - np.log(np.diag(self.lower)).sum()

    def fit(self, encoded, weight, held, **options):
        self.lower = covariance_root(encoded[:, self.layout.real_places])

        def make(places, rng):
            x, context = self._examples(encoded[places])
            return x, context, weight[places]

        return fit(self.flow, len(encoded), make, lambda: self.log_prob(held[0], False), held[1], **options)

    def draw(self, encoded, rng):
        """`encoded` with reals drawn."""
        z = self.flow.base_layer.sample(len(encoded), backend.random_key(int(rng.integers(2**31))))
        context = self.features(encoded[:, self.layout.seen_by_flow]) if self.features.columns else None
        x = in_blocks(self.flow.decode, [ops.convert_to_numpy(z), context])
        encoded = encoded.copy()
        encoded[:, self.layout.real_places] = x.astype("float64") @ self.lower.T
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

    def fit(self, encoded, weight, held, seed, **options):
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

    The part of the identity is (d + 1) / (n + d + 1), small where rows are many.
    """
    n, d = y.shape
    covariance = np.atleast_2d(np.cov(y, rowvar=False, bias=True))
    part = max((d + 1) / (n + d + 1), 1e-6)
    return np.linalg.cholesky((1 - part) * covariance + part * np.eye(d))


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
    takes = inspect.signature(builder).parameters
    sized = {
        "hidden_units": (width, width),
        "spline_layers": 3 if n < 20_000 else 5,
        "standardize": False,  # the data are; of rare categories it would make contexts far from 0
        "seed": seed,
    }
    return builder(**arguments, **{name: value for name, value in sized.items() if name in takes})
