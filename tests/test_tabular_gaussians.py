"""The Gaussians with which the flow of a small table is averaged."""

import numpy as np
import pytest
from scipy import stats

from flowzoo.tabular.gaussians import Gaussians, best_share
from flowzoo.tabular.parts import covariance_root

ROOTS = np.array([[[1.0, 0], [0.5, 0.3]], [[0.2, 0], [0, 0.4]]])
MEANS = np.array([[0.0, 0], [3, -2]])


@pytest.fixture(scope="module")
def known():
    """p(y | f) with a slope of 2 of the first column of y."""
    return Gaussians(np.array([[2.0, 0.0]]), np.array([0.7, 0.3]), MEANS, ROOTS)


def test_the_density_is_that_of_the_mixture(known):
    y, f = np.array([[1.0, 0.5], [5.5, -2.5]]), np.array([[0.5], [1.0]])
    wanted = sum(
        weight * stats.multivariate_normal(mean, root @ root.T).pdf(y - [[1, 0], [2, 0]])
        for weight, mean, root in zip([0.7, 0.3], MEANS, ROOTS, strict=True)
    )
    np.testing.assert_allclose(known.log_prob(y, f), np.log(wanted))


def test_a_fit_to_draws_finds_what_they_were_drawn_from(known):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4000, 1))
    y = known.draw(features, rng)
    found = Gaussians.fitted(y, features, 0)
    np.testing.assert_allclose(found.slopes, known.slopes, atol=0.1)
    order = np.argsort(-found.weights)
    np.testing.assert_allclose(found.weights[order], known.weights, atol=0.03)
    np.testing.assert_allclose(found.means[order], known.means, atol=0.1)
    np.testing.assert_allclose(found.roots[order], known.roots, atol=0.1)


def test_without_features_there_is_no_regression():
    y = np.random.default_rng(0).normal(size=(50, 2))
    found = Gaussians.fitted(y, np.zeros((50, 0)), 0)
    again = Gaussians.from_dict(found.as_dict())
    assert found.slopes.shape == again.slopes.shape == (0, 2)
    np.testing.assert_array_equal(again.log_prob(y, np.zeros((50, 0))), found.log_prob(y, np.zeros((50, 0))))


def test_the_share_is_that_of_the_rows_which_are_of_the_first_density():
    rng = np.random.default_rng(0)
    x = np.where(rng.uniform(size=4000) < 0.3, rng.normal(size=4000), rng.normal(4, 1, size=4000))
    assert best_share(stats.norm.logpdf(x), stats.norm.logpdf(x, 4)) == pytest.approx(0.3, abs=0.03)


def test_whitening_keeps_what_columns_share():
    rng = np.random.default_rng(0)
    first = rng.normal(size=200)
    root = covariance_root(np.stack([first, first + 0.01 * rng.normal(size=200)], axis=1))
    assert root[1, 1] == pytest.approx(0.01, rel=0.2)
    alone = covariance_root(rng.normal(size=(12, 10)))  # too few rows for a covariance
    assert np.linalg.cond(alone) < 10
