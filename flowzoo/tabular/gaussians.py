"""A mixture of Gaussians about a linear regression, with which a flow of few rows is averaged."""

import dataclasses
import warnings
from typing import Any, Self

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import expit, logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

LEAST_ROWS, MOST_ROWS = 20, 5_000
MOST_COMPONENTS = 8
RIDGE = 1.0  # rows' worth of the pull of the regression's coefficients to 0


@dataclasses.dataclass
class Gaussians:
    """p(y | f) = sum_k w_k N(y; f B + m_k, L_k L_k'), and its share in an average with a flow q,

    share * q(y | f) + (1 - share) * p(y | f).

    Arguments:
        slopes: B, (features, d).
        weights, means, roots: w (K,), m (K, d), L (K, d, d).
        share: of the flow, from 0 to 1.

    References:
        Linearly Combining Density Estimators via Stacking (Smyth and Wolpert, 1999)
    """

    slopes: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    roots: np.ndarray
    share: float = 0.5

    @classmethod
    def fitted(cls, y: np.ndarray, features: np.ndarray, seed: int | None) -> Self:
        """To y (n, d) and features (n, F): the covariances, full, tied or diagonal, and K of the best BIC."""
        gram = features.T @ features + RIDGE * np.eye(features.shape[1])
        slopes = np.linalg.solve(gram, features.T @ (y - y.mean(axis=0)))
        found = best_mixture(y - features @ slopes, seed)
        if found.covariance_type == "diag":
            covariances = found.covariances_[:, None, :] * np.eye(y.shape[1])
        else:
            covariances = np.broadcast_to(found.covariances_, (found.n_components, *2 * y.shape[1:]))
        return cls(slopes, found.weights_, found.means_, np.linalg.cholesky(covariances))

    def log_prob(self, y: np.ndarray, features: np.ndarray) -> np.ndarray:
        """log p(y | f) in nats, (n,)."""
        y = y - features @ self.slopes
        parts = []
        for weight, mean, root in zip(self.weights, self.means, self.roots, strict=True):
            away = solve_triangular(root, (y - mean).T, lower=True)
            log_det = np.log(np.diag(root)).sum() + 0.5 * len(mean) * np.log(2 * np.pi)
            parts.append(np.log(weight) - 0.5 * np.square(away).sum(axis=0) - log_det)
        return np.asarray(logsumexp(parts, axis=0))

    def draw(self, features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A draw of y for each row of features, (n, d)."""
        chosen = rng.choice(len(self.weights), len(features), p=self.weights)
        drawn = rng.normal(size=(len(features), self.means.shape[1]))
        for k, root in enumerate(self.roots):
            drawn[chosen == k] = self.means[k] + drawn[chosen == k] @ root.T
        return drawn + features @ self.slopes

    def averaged(self, log_flow: np.ndarray, log_own: np.ndarray) -> np.ndarray:
        """The log-density of the average, from those of the flow and of these Gaussians."""
        return np.logaddexp(np.log(self.share) + log_flow, np.log1p(-self.share) + log_own)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: np.asarray(value).tolist() for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, parts: dict[str, Any]) -> Self:
        slopes, means = np.array(parts["slopes"]), np.array(parts["means"])
        arrays = {name: np.array(parts[name]) for name in ("weights", "roots")}
        return cls(slopes.reshape(-1, means.shape[1]), means=means, share=parts["share"], **arrays)


def best_mixture(y, seed):
    """The `GaussianMixture` of the best BIC; of each kind, more components while two more bring a gain."""
    found = []
    for kind in ("full", "tied", "diag"):
        scores = []
        for count in range(1, min(MOST_COMPONENTS, len(y) // 10) + 1):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # one of such is chosen if it is the best
                mixture = GaussianMixture(count, covariance_type=kind, random_state=seed).fit(y)
            scores.append(mixture.bic(y))
            found.append((scores[-1], mixture))
            if int(np.argmin(scores)) < len(scores) - 2:
                break
    return min(found, key=lambda pair: pair[0])[1]


def best_share(log_flow, log_own):
    """The share of the first density that gives held-out rows the highest, with a row more for each.

    By EM, of the log-densities (n,) of both.
    """
    share = 0.5
    for _ in range(200):
        belongs = expit(np.log(share) - np.log1p(-share) + log_flow - log_own)
        share = (belongs.sum() + 1) / (len(belongs) + 2)
    return float(share)
