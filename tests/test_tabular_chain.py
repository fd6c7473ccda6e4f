"""Chains of columns: exact conditional distributions of any columns given any others."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from flowzoo.tabular import Schema, conditionals
from flowzoo.tabular.chain import ColumnChain
from flowzoo.tabular.layout import Layout


def frame_of(n=200):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "c": rng.choice(list("pqr"), n),
            "narrow": rng.poisson(2, n),
            "closed": rng.integers(0, 101, n),
            "wide": rng.integers(-500, 500, n),
            "x": rng.normal(size=n),
            "g": rng.normal(size=n),
        }
    )


@pytest.fixture(scope="module")
def layout():
    return Layout(Schema.infer(frame_of(), {"closed": {"low": 0, "high": 100}}), ["g"])


@pytest.fixture(scope="module")
def encoded(layout):
    return layout.encode(frame_of())[0]


@pytest.fixture(scope="module")
def chain(layout, encoded):
    """A chain whose weights are at random, so that every column depends on the others."""
    chain = ColumnChain(layout.columns, len(layout.free), width=8, components=3)
    chain.start(encoded)
    rng = np.random.default_rng(1)
    for weight in chain.weights:
        start = np.asarray(weight) if "bias" in weight.name else 0.0  # from the data
        weight.assign(start + 0.3 * rng.normal(size=weight.shape))
    return chain


def masks(layout, given, target, n):
    names = [column.name for column in layout.columns]
    return [np.tile(np.isin(names, chosen), (n, 1)) for chosen in (given, target)]


RANGES = {
    "c": np.arange(3),
    "narrow": np.arange(-60, 80),
    "closed": np.arange(101),
    "wide": np.arange(-4000, 4001),
}


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("given", [[], ["g", "x", "c"]], ids=["alone", "given others"])
def test_probabilities_of_categories_and_integers_add_up_to_one(chain, layout, encoded, name, given):
    place = [column.name for column in layout.columns].index(name)
    rows = np.repeat(encoded[:1], len(RANGES[name]), axis=0)
    rows[:, place] = layout.columns[place].encode(RANGES[name].astype("float64"))[0]
    given = [other for other in given if other != name]
    found = chain.log_prob(rows, *masks(layout, given, [name], len(rows)))
    assert abs(np.exp(found.astype("float64")).sum() - 1) < 1e-4


def test_densities_of_reals_integrate_to_one(chain, layout, encoded):
    grid = np.linspace(-40, 40, 8001)
    rows = np.repeat(encoded[:1], len(grid), axis=0)
    rows[:, layout.real_places] = grid[:, None]
    found = chain.log_prob(rows, *masks(layout, ["c", "wide", "g"], ["x"], len(rows)))
    assert abs(np.exp(found).sum() * (grid[1] - grid[0]) - 1) < 1e-4


def test_the_chain_rule_holds(chain, layout, encoded):
    n, free = len(encoded), [column.name for column in layout.free]
    whole = chain.log_prob(encoded, *masks(layout, ["g"], free, n))
    parts = [
        chain.log_prob(encoded, *masks(layout, ["g", *free[:k]], [free[k]], n)) for k in range(len(free))
    ]
    np.testing.assert_allclose(sum(parts), whole, atol=1e-4)


def test_what_is_neither_given_nor_target_does_not_matter(chain, layout, encoded):
    hidden = np.array(encoded)
    hidden[:, [1, 3]] = np.nan
    chosen = masks(layout, [layout.columns[0].name], ["x"], len(encoded))
    np.testing.assert_array_equal(chain.log_prob(hidden, *chosen), chain.log_prob(encoded, *chosen))
    chosen = masks(layout, ["c", "narrow"], ["x"], len(encoded))
    assert np.abs(chain.log_prob(hidden, *chosen) - chain.log_prob(encoded, *chosen)).max() > 1e-3


def test_draws_have_uniform_ranks_and_the_entropy_of_the_density(chain, layout, encoded):
    rows = np.repeat(encoded[:1], 2000, axis=0)
    given, target = masks(layout, ["g", "c"], [c.name for c in layout.free if c.name != "c"], len(rows))
    rng = np.random.default_rng(0)
    drawn = chain.draw(rows, given, target, rng)
    np.testing.assert_array_equal(drawn[:, [0, -1]], rows[:, [0, -1]])
    seen = given.copy()
    for k, column in enumerate(layout.free):
        if column.name == "c":
            continue
        ranks = chain.ranks(drawn, seen, k, rng)
        assert stats.kstest(ranks, "uniform").pvalue > 1e-3, column.name
        seen[:, k] = True


def test_units_far_from_all_means_keep_their_share():
    parameters = np.array([[[0.0, 0.0, 0.0, 1.0, -5.0, -3.0]]], "float32")  # two logistics
    y = np.array([[100.0]], "float32")
    sides = np.zeros((1, 1), bool)
    found = float(conditionals.log_mixture(y, parameters, np.array([1e-6], "float32"), sides, sides)[0, 0])
    scale = np.exp(-3.0)
    wanted = np.log(0.5) + np.log(1e-6) - (100 - 1) / scale - np.log(scale)
    assert found == pytest.approx(wanted, rel=1e-5)


def test_a_chain_comes_back_from_its_config(chain, layout, encoded):
    again = ColumnChain.from_config(chain.get_config())
    again.set_weights(chain.get_weights())
    chosen = masks(layout, ["g"], ["c", "x"], len(encoded))
    np.testing.assert_array_equal(again.log_prob(encoded, *chosen), chain.log_prob(encoded, *chosen))
