"""A scikit-learn estimator that models data frames by flows."""

import numbers
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from flowzoo import checks
from flowzoo.frames import form_of, in_form, to_pandas
from flowzoo.tabular import storage
from flowzoo.tabular.layout import Layout
from flowzoo.tabular.matching import given_names, matched, rows_given, schema_of, weights_of
from flowzoo.tabular.parts import Discrete, Imputer, Reals
from flowzoo.tabular.seeds import seeded
from flowzoo.tabular.training import batch_size_for, epochs_for, held_out, width_for
from flowzoo.types import ArrayLike, PathLike, Seed

FILLED = 5  # draws of the gaps of a row that the flow learns from
COMPARED = 256  # draws among which the score of a row is placed
DRAWS = 20_000  # rows from which an imputer learns where the table was fitted without one


class TableFlow(BaseEstimator):
    """Densities, samples, conditional samples and imputation of tables with columns of mixed kinds.

    Each row has categories and integers c_1, c_2, ... and reals x_1, x_2, ..., and

        log p(row) = sum_k log p(c_k | c_1 ... c_(k-1)) + log q(y | c) + sum_j log |dy_j / dx_j|

    The p are softmaxes of categories and discretised mixtures of logistics of integers (see
    `flowzoo.tabular.conditionals`), q is a flow of the catalogue, conditional on c, and y_j(x_j) takes a
    column to the real line, heeding its bounds, and to mean 0 and variance 1, in float64. So categories and
    integers have probabilities, dates too where they are whole days; reals have densities, per unit of the
    column; the sum is in nats. Columns `given` in `fit` are conditions of all parts, and constant ones are
    kept and count for nothing.

    What is missing is left to a second model, the imputer: a `flowzoo.tabular.chain.ColumnChain` of all
    columns, trained on random splits of each row into given and target columns, which gives p(any columns |
    any others), exactly normalised. Rows with gaps have its density of what is there, p(x_O), and `impute`,
    `ranks` and `sample` given any columns draw from it. Where the training frame has gaps, the imputer is
    trained first, on what is there, and fills the gaps of each row in five ways; from these rows p and q
    learn, and the imputer once more. So gaps may depend on what is there: "missing at random" (Rubin, 1976).
    Where whether a value is missing depends on that value itself, no data tell what it would be, and what is
    drawn for it, and all that hangs on it, has the distribution of the values that are there.

    Arguments:
        flow: of the real columns: "nsf" or another name of the catalogue, such as "maf"; a class of it; or
            a function (event_shape, context_shape) -> `flowzoo.Flow`, the second where there is a context.
        schema: None to infer it from the frame; a dict of what is not to be guessed, such as
            {"income": {"low": 0}, "zip": {"kind": "category"}}; or a `flowzoo.tabular.Schema`.
        imputer: whether `fit` also trains the imputer where the frame has no gaps. Otherwise the first call
            that needs it does, on samples of the table.
        gaussians: whether, in tables of 20 to 5,000 rows without gaps and weights, q becomes an average of
            the flow's density and that of a mixture of Gaussians about a linear regression on c, of 1 to 8
            components, chosen by BIC. Held-out rows set the flow's share, `reals_.gaussians.share`.
            From few rows a flow alone learns less than that mixture where the data are near to one.
        epochs, batch_size, width: None for what suits the number of rows.
        learning_rate: of Adam, at the start.
        validation_fraction: of the rows, held out to end training in time; 0 to train all epochs.
        patience: epochs without a gain until the learning rate is cut; the third time training ends.
        seed: integer that sets weights, held-out rows and the order of the others.
        verbose: whether training that takes over two seconds shows its progress.

    After `fit`: `schema_`, which prints the columns; `given_`; `losses_`, the held-out losses of each part
    from the start on, in nats of encoded columns; `n_features_in_` and `feature_names_in_`.

    Example:
        >>> import pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> frame = pd.DataFrame({"visits": rng.poisson(2, size=64), "sex": rng.choice(["f", "m"], 64)})
        >>> table = flowzoo.tabular.TableFlow(schema={"visits": {"low": 0}}, epochs=1, width=8, verbose=0)
        >>> table.fit(frame).score_samples(frame).shape
        (64,)
        >>> table.sample(3, seed=0).dtypes.tolist() == frame.dtypes.tolist()
        True
    """

    def __init__(
        self,
        flow: Any = "nsf",
        *,
        schema: Any = None,
        imputer: Any = False,
        gaussians: bool = True,
        epochs: int | None = None,
        batch_size: int | None = None,
        width: int | None = None,
        learning_rate: float = 2e-3,
        validation_fraction: float = 0.15,
        patience: int = 15,
        seed: Seed = 0,
        verbose: int = 1,
    ):
        self.flow = flow
        self.schema = schema
        self.imputer = imputer
        self.gaussians = gaussians
        self.epochs = epochs
        self.batch_size = batch_size
        self.width = width
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.seed = seed
        self.verbose = verbose

    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        *,
        given: Any = None,
        sample_weight: ArrayLike | None = None,
        epochs: int | None = None,
    ) -> Self:
        """Learns p(columns), or with `given`, a list of names, p(other columns | these).

        Arguments:
            X: a frame of pandas, polars or whatever narwhals knows, or an array (n, columns).
            y: nothing; for scikit-learn.
            given: names of the columns, numbers of those of an array, that are only conditioned on.
            sample_weight: (n,) weights of the rows, not negative.
            epochs: in place of the estimator's own.

        Returns: self.
        Raises: ValueError or TypeError that names an argument, or column and row, that cannot be used.
        """
        epochs = self._checked(self.epochs if epochs is None else epochs)
        frame = to_pandas(X, "X")
        self.form_ = form_of(X)
        self.schema_ = schema_of(frame, self.schema)
        self.given_ = given_names(frame, given)
        self.n_features_in_ = frame.shape[1]
        if all(isinstance(name, str) for name in frame.columns):
            self.feature_names_in_ = np.array(frame.columns, dtype=object)
        self.layout_ = Layout(self.schema_, self.given_)
        encoded, _ = self.layout_.encode(frame)
        with seeded(self.seed):
            self._fit(encoded, weights_of(sample_weight, len(frame)), epochs)
        return self

    def _checked(self, epochs):
        """The epochs, after a check of these and of the estimator's own arguments."""
        whole = {"batch_size": self.batch_size, "width": self.width, "epochs": epochs}
        for name, value in {**whole, "patience": self.patience}.items():
            if value is not None or name == "patience":
                checks.positive_integer(name, value)
        checks.positive_number("learning_rate", self.learning_rate)
        part = self.validation_fraction
        if not isinstance(part, numbers.Real) or not 0 <= part < 1:
            raise ValueError(f"validation_fraction must be 0 or more and less than 1; got {part!r}.")
        return epochs

    def _fit(self, encoded, weight, epochs):
        layout, seed = self.layout_, self.seed
        rng = np.random.default_rng(seed)
        training, held = held_out(len(encoded), self.validation_fraction, rng)
        self.losses_ = {}
        self.discrete_ = self.reals_ = self.imputer_ = None
        free = np.arange(len(layout.columns)) < len(layout.free)
        gaps = np.isnan(encoded[:, free]).any(axis=1)
        filled, weights = [encoded[training], encoded[held]], (weight[training], weight[held])
        if self.imputer or gaps.any():
            self._fit_imputer(filled, weights, epochs)
        if gaps.any():
            times = np.where(gaps, FILLED, 1)
            training, held = (np.repeat(places, times[places]) for places in (training, held))
            weight = weight / times
            filled = [self.imputer_.draw(encoded[places], rng) for places in (training, held)]
            weights = weight[training], weight[held]
            self._fit_imputer(filled, weights, epochs)
        if layout.discrete:
            self.discrete_ = Discrete.made(layout, self._width(len(encoded)))
            self._train("categories and integers", self.discrete_, filled, weights, epochs)
        if layout.reals:
            self.reals_ = Reals.made(layout, self.flow, len(encoded), self._width(len(encoded)), seed)
            self._train("reals", self.reals_, filled, weights, epochs)
            if self.gaussians and (weight == 1).all():
                self.reals_.fit_gaussians(*filled, seed)

    def _fit_imputer(self, encoded, weights, epochs):
        """Trains the imputer, or goes on with it: on rows with gaps first, then on those that it filled."""
        again = self.imputer_ is not None
        if not again:
            self.imputer_ = Imputer.made(self.layout_, self._width(len(encoded[0])))
        what = "the imputer on filled rows" if again else "the imputer"
        self._train(what, self.imputer_, encoded, weights, epochs, again=again)

    def _train(self, what, part, encoded, weights, epochs, **options):
        batch_size = self.batch_size or batch_size_for(len(encoded[0]))
        self.losses_[what] = part.fit(
            encoded[0],
            weights[0].astype("float32"),
            (encoded[1], weights[1]),
            what=what,
            batch_size=batch_size,
            epochs=epochs or epochs_for(len(encoded[0]), batch_size),
            patience=self.patience,
            learning_rate=self.learning_rate,
            seed=self.seed,
            verbose=self.verbose,
            **options,
        )

    def _width(self, n):
        return self.width or width_for(n)

    def _need_imputer(self):
        """Trains the imputer on samples of the table, if there is none."""
        if self.imputer_ is not None:
            return
        if self.given_:
            raise ValueError(
                f"This needs the imputer, which a table fitted given {self.given_} can only learn from data: "
                "fit it with TableFlow(imputer=True)."
            )
        with seeded(self.seed):
            drawn = self._drawn(
                np.full((DRAWS, len(self.layout_.columns)), np.nan), np.random.default_rng(self.seed)
            )
            training, held = held_out(DRAWS, 0.1, np.random.default_rng(self.seed))
            weights = np.ones(len(training)), np.ones(len(held))
            self._fit_imputer((drawn[training], drawn[held]), weights, None)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = tags.input_tags.string = True
        return tags

    # What the fitted table answers.

    def _matched(self, X):
        """A table as a pandas frame of the columns of training, in their order."""
        check_is_fitted(self)
        return matched(X, self.schema_.names, hasattr(self, "feature_names_in_"))

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Log-density of the reals plus log-probability of the categories and integers of each row.

        In nats, in the units of the table: per unit of each real column, per day of a date. Rows with gaps
        get that of what is there: of fewer values, which does not compare with that of whole rows.

        Returns: float64 (n,).
        """
        frame = self._matched(X)
        return self._scores(*self.layout_.encode(frame))

    def _scores(self, encoded, log_dets):
        free = slice(0, len(self.layout_.free))
        gaps = np.isnan(encoded[:, free]).any(axis=1)
        scores = log_dets[:, free].sum(axis=1)
        if (~gaps).any():
            scores[~gaps] += self._complete(encoded[~gaps])
        if gaps.any():
            self._need_imputer()
            scores[gaps] += self.imputer_.log_prob(encoded[gaps])
        return scores

    def _complete(self, encoded):
        parts = [part for part in (self.discrete_, self.reals_) if part is not None]
        return sum((part.log_prob(encoded) for part in parts), start=np.zeros(len(encoded)))

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """The mean of `score_samples`, in nats."""
        return float(np.mean(self.score_samples(X)))

    def sample(
        self, n: int = 1, given: Any = None, *, seed: Seed = None, batch_size: int | None = None
    ) -> Any:
        """Draws rows: a frame of the kind, columns, dtypes, categories and bounds of that in training.

        Arguments:
            n: number of rows.
            given: dict from names to values, or to n values each, or a frame of n rows. What was `given`
                in training must be; of other columns the imputer draws the rest given them.
            seed: integer, or None for another draw each time.
            batch_size: rows drawn at a time.
        """
        check_is_fitted(self)
        n = checks.positive_integer("n", n)
        parts, rng = [], np.random.default_rng(seed)
        size = n if batch_size is None else checks.positive_integer("batch_size", batch_size)
        contexts, _ = self.layout_.encode(rows_given(n, given, self.schema_.names, self.given_))
        asked = np.isfinite(contexts[:, : len(self.layout_.free)]).any()
        if asked:
            self._need_imputer()
        for start in range(0, n, size):
            encoded = contexts[start : start + size]
            drawn = self.imputer_.draw(encoded, rng) if asked else self._drawn(encoded, rng)
            parts.append(self.layout_.decode(drawn))
        frame = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
        return in_form(frame, self.form_)

    def _drawn(self, encoded, rng):
        if self.discrete_ is not None:
            encoded = self.discrete_.draw(encoded, rng)
        if self.reals_ is not None:
            encoded = self.reals_.draw(encoded, rng)
        return encoded

    def impute(self, X: ArrayLike, n: int = 1, *, seed: Seed = None) -> Any:
        """Draws what is missing in a frame, given what is there; values that are there stay.

        Returns: for n = 1 a frame like X; for more, a list of n of them.
        """
        n = checks.positive_integer("n", n)
        frame = self._matched(X)
        encoded, _ = self.layout_.encode(frame)
        rng = np.random.default_rng(seed)
        self._need_imputer()
        return_form = form_of(X)
        found = []
        for _ in range(n):
            drawn = self.imputer_.draw(encoded, rng)
            found.append(in_form(self.layout_.decode(drawn, frame), return_form))
        return found[0] if n == 1 else found

    def ranks(self, X: ArrayLike, *, seed: Seed = None, draws: int | None = None) -> Any:
        """Where each value lies in its distribution given the rest of the row: uniform, if all is right.

        The rank of a value is the part of its conditional distribution below it, and of what lies at it, for
        categories and integers, a uniform part.

        Arguments:
            draws: None for the distribution itself; or of how many draws the rank is wanted, k / draws.

        Returns: pandas frame of numbers from 0 to 1, NaN where a value is missing; a column for each that
            is modelled.
        """
        frame = self._matched(X)
        encoded, _ = self.layout_.encode(frame)
        self._need_imputer()
        rng, there = np.random.default_rng(seed), np.isfinite(encoded)
        found = np.full((len(frame), len(self.layout_.free)), np.nan)
        for k in range(found.shape[1]):
            rows = there[:, k]
            if rows.any():
                others = there[rows]
                others[:, k] = False
                found[rows, k] = self.imputer_.chain.ranks(encoded[rows], others, k, rng)
        if draws is not None:
            found = np.where(np.isnan(found), np.nan, rng.binomial(draws, np.nan_to_num(found)) / draws)
        ranks = pd.DataFrame(found, frame.index, [column.name for column in self.layout_.free])
        return ranks[[name for name in frame.columns if name in set(ranks.columns)]]

    def strangest(self, X: ArrayLike, n: int = 10) -> Any:
        """The n strangest rows, the strangest first, with `score_samples` in a further column "score".

        A row with gaps has the density of fewer values, which is often higher. So that rows compare, each is
        ranked by how many standard deviations its score lies below the mean score of 256 rows that the table
        draws, with the same gaps. Rows without gaps are in the order of their scores.
        """
        frame, form, name = self._matched(X), form_of(X), "score"
        encoded, log_dets = self.layout_.encode(frame)
        scores = self._scores(encoded, log_dets)
        order = np.argsort(self._standardised_scores(encoded, scores), kind="stable")[:n]
        while name in frame.columns:
            name += "_"
        if form["library"] == "numpy":
            form["dtype"] = str(np.result_type(form["dtype"], "float64"))
        return in_form(frame.iloc[order].assign(**{name: scores[order]}), form)

    def _standardised_scores(self, encoded, scores):
        """Scores less their mean, over their deviation, of drawn rows with the same gaps."""
        rng = np.random.default_rng(0)
        free = np.arange(encoded.shape[1]) < len(self.layout_.free)
        there, place = np.unique(np.isfinite(encoded) | ~free, axis=0, return_inverse=True)
        if len(there) == 1:
            return scores
        given = np.where(free, np.nan, encoded[rng.integers(len(encoded), size=COMPARED)])
        drawn, log_dets = self.layout_.encode(self.layout_.decode(self._drawn(given, rng)))
        found = np.empty(len(scores))
        for i, pattern in enumerate(there):
            expected = self._scores(np.where(pattern, drawn, np.nan), log_dets * pattern)
            rows = place.reshape(-1) == i
            found[rows] = (scores[rows] - expected.mean()) / max(expected.std(), 1e-6)
        return found

    def save(self, path: PathLike) -> None:
        """Writes the table's models, schema and arguments into one file, without pickle."""
        check_is_fitted(self)
        storage.save(self, path)

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """The table that `save` wrote."""
        return storage.load(cls, path)
