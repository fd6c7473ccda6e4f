"""Pictures of tables: pairs of columns in data and samples, and ranks beside those of a calibrated model."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from flowzoo.types import ArrayLike, Seed

COLOURS = {"data": "tab:blue", "samples": "tab:orange"}
MOST_POINTS = 2000  # of a panel
LONGEST_LABEL = 14  # characters


def pairs(
    table: Any,
    frame: ArrayLike,
    *,
    columns: Sequence[str] | None = None,
    given: ArrayLike | None = None,
    seed: Seed = None,
) -> Any:
    """Data and samples of a table in a grid: each column on the diagonal, each two of them off it.

    Below the diagonal are rows of the data, above it as many samples. Numbers are points, categories and
    small integers jittered about their place, and two categories squares whose areas are their frequencies.
    An axis reaches from the 0.5 % to the 99.5 % quantile of the data, and a little beyond; a row with a gap
    is left out where the gap would be drawn.

    Arguments:
        table: a fitted `flowzoo.tabular.TableFlow`.
        frame: rows of the data, of which at most 2,000 are shown.
        columns: names of two columns or more; by default the first six that are not constant.
        given: as `table.sample` takes it; by default, for a table with columns that are given, those of
            the rows that are shown.
        seed: an integer that fixes rows, samples and jitter, or None.

    Returns: the matplotlib figure.
    Raises: ValueError for fewer than two columns, or names that the table does not have.
    """
    import matplotlib.pyplot as plt

    from flowzoo.frames import to_pandas

    rng = np.random.default_rng(seed).spawn(1)[0]  # independent of the samples
    names, frame = _names(table, columns), to_pandas(frame)
    chosen = rng.permutation(len(frame))[:MOST_POINTS]
    shown = frame.iloc[np.sort(chosen)]
    if given is None and table.given_:
        given = shown[table.given_]
    samples = to_pandas(table.sample(len(shown), given=given, seed=seed))
    axes_of = [_Axis(table.schema_[name], frame[name]) for name in names]
    parts = [
        {"color": colour, "values": [axis.places(rows[axis.name]) for axis in axes_of]}
        for rows, colour in zip((shown, samples), COLOURS.values(), strict=True)
    ]
    count = len(names)
    size = 1.6 * count + 0.6
    figure, panels = plt.subplots(count, count, figsize=(size, size), layout="constrained", squeeze=False)
    for (row, column), panel in np.ndenumerate(panels):
        if row == column:
            for part, filled in zip(parts, (True, False), strict=True):
                axes_of[row].draw_marginal(panel, part["values"][row], part["color"], filled)
        else:
            part = parts[0] if row > column else parts[1]
            x, y = part["values"][column], part["values"][row]
            _draw_pair(panel, axes_of[column], x, axes_of[row], y, part["color"], rng)
            axes_of[row].label(panel.yaxis, ticks=column == 0)
            panel.set_ylim(axes_of[row].limits)
        axes_of[column].label(panel.xaxis, ticks=row == count - 1)
        panel.set_xlim(axes_of[column].limits)
    for row, axis in enumerate(axes_of):
        panels[row, 0].set_ylabel(_short(axis.name, 18))
        panels[-1, row].set_xlabel(_short(axis.name, 18))
    figure.align_labels()
    handles = [Line2D([], [], marker="s", linestyle="", color=colour) for colour in COLOURS.values()]
    labels = ["data, below the diagonal", "samples, above it"]
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    return figure


def ranks(
    table: Any,
    frame: ArrayLike,
    *,
    columns: Sequence[str] | None = None,
    bins: int | None = None,
    seed: Seed = None,
) -> Any:
    """Histograms of the ranks of rows among what the table expects of them, a panel a column.

    Where the table is right, ranks are uniform, and a bar lies within the grey band 95 times of 100. Bars
    that rise at both ends tell of a conditional density that is too narrow, bars that fall there of one too
    wide, and a slope of one that lies too low (rising) or too high.

    Arguments:
        table: a fitted `flowzoo.tabular.TableFlow`.
        frame: rows that it was not trained on.
        columns: names; by default all that have ranks.
        bins: of a histogram; by default 20, or fewer for fewer than 400 rows.
        seed: as `table.ranks` takes it.

    Returns: the matplotlib figure.
    Raises: ValueError for columns without ranks.
    """
    import matplotlib.pyplot as plt
    from scipy.stats import binom

    found = table.ranks(frame, seed=seed)
    names = list(found.columns) if columns is None else list(columns)
    if unknown := [name for name in names if name not in found.columns]:
        raise ValueError(f"columns must be among {list(found.columns)}; got {unknown}.")
    bins = bins or int(np.clip(len(found) // 20, 4, 20))
    across = min(len(names), 4)
    down = math.ceil(len(names) / across)
    figure, panels = plt.subplots(
        down,
        across,
        figsize=(2.4 * across + 0.4, 1.9 * down + 0.4),
        layout="constrained",
        squeeze=False,
        sharey=True,
    )
    for panel in panels.ravel()[len(names) :]:
        panel.remove()
    for panel, name in zip(panels.ravel(), names, strict=False):
        values = found[name].dropna().to_numpy("float64")
        counts, edges = np.histogram(values, bins, (0, 1))
        expected = max(len(values), 1) / bins
        panel.bar(edges[:-1], counts / expected, 1 / bins, align="edge", color=COLOURS["data"])
        low, high = binom.interval(0.95, len(values), 1 / bins)
        panel.axhspan(low / expected, high / expected, color="0.5", alpha=0.35)
        panel.axhline(1, color="black", linewidth=0.8)
        panel.set(title=_short(name, 24), xlim=(0, 1))
        panel.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        panel.title.set_fontsize("medium")
    figure.supxlabel("rank")
    figure.supylabel("rows, relative to uniform")
    return figure


class _Axis:
    """How values of a column lie on an axis.

    Arguments:
        column: `flowzoo.tabular` tells its name, kind and values.
        series: the data, which set the limits.
    """

    def __init__(self, column, series):
        self.name = column.name
        self.is_date = column.is_date
        self.categories = list(column.values) if column.kind == "category" else None
        self.whole = column.kind != "real" and not self.is_date
        places = self.places(series)
        places = places[np.isfinite(places)]
        if self.categories is not None:
            self.steps, self.limits = True, (-0.6, len(self.categories) - 0.4)
            return
        low, high = np.quantile(places, [0.005, 0.995]) if len(places) else (0.0, 1.0)
        self.steps = self.whole and high - low <= 30
        margin = 0.6 if self.steps else 0.05 * (high - low) or 0.5
        self.limits = (low - margin, high + margin)

    def places(self, series):
        """Of values on the axis, float64, NaN where one is missing."""
        import pandas as pd

        series = pd.Series(series)
        if self.categories is not None:
            codes = pd.Categorical(series, categories=self.categories).codes
            return np.where(codes < 0, np.nan, codes.astype("float64"))
        if series.dtype.kind == "m":
            series = series / pd.Timedelta(days=1)
        elif self.is_date:
            series = (pd.to_datetime(series, utc=True) - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)
        return series.to_numpy("float64", na_value=np.nan)

    def draw_marginal(self, panel, places, colour, filled):
        low, high = self.limits
        inside = places[(places >= low) & (places <= high)]
        edges = np.linspace(low, high, 31)
        if self.whole:
            step = 1 if self.steps else math.ceil((high - low) / 30)
            edges = np.arange(math.ceil(low) - 0.5, math.floor(high) + step, step)
        heights = np.histogram(inside, edges)[0] / max(np.isfinite(places).sum(), 1)
        style = {"alpha": 0.55} if filled else {"linewidth": 1.5}
        panel.stairs(heights, edges, fill=filled, color=colour, **style)
        panel.set_ylim(0, max(panel.get_ylim()[1], 1.1 * heights.max()))
        panel.set_yticks([])

    def label(self, axis, ticks):
        """Ticks of the values on a matplotlib axis, or none."""
        from matplotlib import dates, ticker

        upright = axis.axis_name == "y"
        if not ticks:
            axis.set_ticks([])
        elif self.categories is not None:
            labels = [_short(value) for value in self.categories]
            every = math.ceil(len(labels) / 8)
            turned = {} if upright or max(map(len, labels)) * len(labels) <= 12 else {"rotation": 90}
            axis.set_ticks(range(0, len(labels), every), labels[::every], fontsize="small", **turned)
        else:
            axis.set_major_locator(ticker.MaxNLocator(3, integer=self.steps))
            if not 0.01 < np.abs(self.limits).max() < 1e4:
                axis.set_major_formatter(ticker.EngFormatter(sep=""))
            if self.is_date:
                locator = dates.AutoDateLocator(maxticks=4)
                axis.set_major_locator(locator)
                axis.set_major_formatter(dates.ConciseDateFormatter(locator, show_offset=False))
            axis.set_tick_params(labelsize="small")


def _draw_pair(panel, x_axis, x, y_axis, y, colour, rng):
    there = np.isfinite(x) & np.isfinite(y)
    x, y = x[there], y[there]
    if x_axis.categories is not None and y_axis.categories is not None:
        points, counts = np.unique(np.stack([x, y], axis=1), axis=0, return_counts=True)
        widest = 0.9 * np.sqrt(counts / max(counts.max(initial=1), 1))
        for (left, bottom), width in zip(points - widest[:, None] / 2, widest, strict=True):
            panel.add_patch(_square(left, bottom, width, colour))
        return
    x, y = (
        values + rng.uniform(-0.35, 0.35, len(values)) if axis.steps else values
        for values, axis in ((x, x_axis), (y, y_axis))
    )
    alpha = float(np.clip(500 / max(len(x), 1), 0.25, 0.8))
    panel.plot(x, y, ".", markersize=3, alpha=alpha, color=colour, markeredgewidth=0)


def _square(left, bottom, width, colour):
    from matplotlib.patches import Rectangle

    return Rectangle((left, bottom), width, width, color=colour, alpha=0.7, linewidth=0)


def _names(table, columns):
    known = [column.name for column in table.schema_.columns]
    if columns is None:
        columns = [column.name for column in table.schema_.columns if column.kind != "constant"][:6]
    columns = list(columns)
    if unknown := [name for name in columns if name not in known]:
        raise ValueError(f"columns must be among {known}; got {unknown}.")
    if len(columns) < 2:
        raise ValueError(f"pairs needs two columns or more; got {columns}.")
    return columns


def _short(value, longest=LONGEST_LABEL):
    text = str(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"
