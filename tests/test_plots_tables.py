"""Pictures of tables, of a table that gives known samples and ranks."""

import types

import numpy as np
import pandas as pd
import pytest
from matplotlib import colors, dates
from matplotlib import pyplot as plt
from scipy.stats import binom

from flowzoo import plots
from flowzoo.tabular import Schema

BLUE, ORANGE = (colors.to_rgb(name) for name in ("tab:blue", "tab:orange"))


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def people(n, seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "height": rng.normal(1.7, 0.1, n),
            "sex": rng.choice(["f", "m"], n),
            "always": 1,
            "children": rng.integers(0, 4, n),
            "house": rng.choice([True, False], n),
            "born": pd.Timestamp("1980-01-01") + pd.to_timedelta(rng.uniform(0, 9000, n), unit="D"),
        }
    )
    frame.loc[::4, "height"] = np.nan
    return frame


def table_of(frame, given=()):
    """What the pictures ask of a `TableFlow`: its samples are 9 cm taller; `asked` is what was given."""
    table = types.SimpleNamespace(schema_=Schema.infer(frame), given_=list(given), asked=None)

    def sample(n, given=None, seed=None):
        table.asked = given
        drawn = people(n, seed=1).dropna().sample(n, replace=True, random_state=0)
        return drawn.assign(height=drawn["height"] + 0.09)

    table.sample = sample
    return table


def panels(figure, count):
    return np.reshape(figure.axes, (count, count))


def colour_of(panel):
    artists = [*panel.lines, *panel.patches]
    (found,) = {
        colors.to_rgb(artist.get_facecolor() if artist in panel.patches else artist.get_color())
        for artist in artists
    }
    return found


def test_pairs_have_data_below_the_diagonal_and_samples_above():
    frame = people(200, seed=0)
    grid = panels(plots.pairs(table_of(frame), frame, seed=0), 5)
    for (row, column), panel in np.ndenumerate(grid):
        if row != column:
            assert colour_of(panel) == (BLUE if row > column else ORANGE)
    names = ["height", "sex", "children", "house", "born"]
    assert [panel.get_xlabel() for panel in grid[-1]] == names
    assert [panel.get_ylabel() for panel in grid[:, 0]] == names


def test_points_are_the_rows_without_gaps_in_their_place():
    frame = people(200, seed=0)
    figure = plots.pairs(table_of(frame), frame, columns=["height", "born"], seed=0)
    (dots,) = panels(figure, 2)[1, 0].lines
    there = frame.dropna()
    np.testing.assert_allclose(dots.get_xdata(), there["height"])
    np.testing.assert_allclose(dots.get_ydata(), dates.date2num(there["born"]), atol=1e-6)


def test_whole_numbers_and_categories_lie_about_their_place():
    frame = people(200, seed=0)
    figure = plots.pairs(table_of(frame), frame, columns=["sex", "children"], seed=0)
    grid = panels(figure, 2)
    (dots,) = grid[1, 0].lines
    np.testing.assert_array_equal(np.rint(dots.get_xdata()), frame["sex"] == "m")
    np.testing.assert_array_equal(np.rint(dots.get_ydata()), frame["children"])
    assert [label.get_text() for label in grid[1, 0].get_xticklabels()] == ["f", "m"]


def test_squares_of_two_categories_have_areas_as_their_frequencies():
    frame = people(200, seed=0)
    figure = plots.pairs(table_of(frame), frame, columns=["sex", "house"], seed=0)
    squares = panels(figure, 2)[1, 0].patches
    areas = np.array([square.get_width() * square.get_height() for square in squares])
    counts = frame.groupby(["sex", "house"]).size().to_numpy()
    np.testing.assert_allclose(areas / areas.sum(), counts / counts.sum())


def test_marginals_sum_to_the_share_of_rows_that_are_shown():
    frame = people(200, seed=0)
    figure = plots.pairs(table_of(frame), frame, columns=["sex", "height"], seed=0)
    data, samples = panels(figure, 2)[0, 0].patches
    share = (frame["sex"] == "f").mean()
    np.testing.assert_allclose(data.get_data().values, [share, 1 - share])
    assert colors.to_rgb(data.get_facecolor()) == BLUE
    assert colors.to_rgb(samples.get_edgecolor()) == ORANGE


def test_columns_that_are_given_come_from_the_frame():
    frame = people(50, seed=0)
    table = table_of(frame, given=["sex"])
    plots.pairs(table, frame, columns=["sex", "house"], seed=0)
    assert list(table.asked["sex"]) == list(frame["sex"])
    plots.pairs(table, frame, columns=["sex", "house"], given={"sex": "f"})
    assert table.asked == {"sex": "f"}


def test_odd_columns_are_refused():
    frame = people(50, seed=0)
    with pytest.raises(ValueError, match=r"columns must be among .*got \['weight'\]"):
        plots.pairs(table_of(frame), frame, columns=["height", "weight"])
    with pytest.raises(ValueError, match="two columns or more"):
        plots.pairs(table_of(frame), frame, columns=["height"])


def test_ranks_are_counted_beside_the_band_of_a_calibrated_model():
    rng = np.random.default_rng(0)
    ranks = pd.DataFrame({"a": rng.uniform(size=400), "b": rng.beta(0.5, 0.5, 400)})
    ranks.loc[:99, "b"] = np.nan
    table = types.SimpleNamespace(ranks=lambda frame, seed: ranks)
    left, right = plots.ranks(table, None, bins=10).axes
    assert (left.get_title(), right.get_title()) == ("a", "b")
    for panel, values in ((left, ranks["a"]), (right, ranks["b"].dropna())):
        *bars, band = panel.patches
        expected = len(values) / 10
        heights = [bar.get_height() for bar in bars]
        np.testing.assert_allclose(heights, np.histogram(values, 10, (0, 1))[0] / expected)
        low, high = np.array(binom.interval(0.95, len(values), 0.1)) / expected
        np.testing.assert_allclose([band.get_y(), band.get_y() + band.get_height()], [low, high])
    assert np.mean([bar.get_height() > high for bar in right.patches[:-1]]) > 0
    (only,) = plots.ranks(table, None, columns=["b"]).axes
    assert only.get_title() == "b"
    with pytest.raises(ValueError, match=r"among \['a', 'b'\]; got \['c'\]"):
        plots.ranks(table, None, columns=["c"])
