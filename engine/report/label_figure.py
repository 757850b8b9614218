"""One picture of a label store: what its labels are like epoch by epoch, and what codecs cost.

In: the folder of a store. Out: a PNG or SVG file. Left: the labels' entropy (mean, and the range of
the middle 80 % of the samples) and their cross-entropy with the true class. Right: for every codec
the Kullback-Leibler divergence of its labels from those it was given, mean and worst sample.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

import labelstore
from engine.errors import ArtefactError, UsageError
from engine.records import write_bytes
from engine.report.figure_layout import GREY, MARKERS, SEQUENCE, house_style
from engine.report.figures import png, svg

_FORMATS = {".png": png, ".svg": svg}


def plot_labels(store: str | Path, out: str | Path) -> dict[str, Any]:
    """Draw a label store into the file ``out``, a .png or .svg; returns {"plot": its path}.

    Raises UsageError for another file name, ArtefactError where no epoch is complete.
    """
    out = Path(out)
    if out.suffix not in _FORMATS:
        raise UsageError(f"--plot {out}: expected a file name that ends in .png or .svg")
    opened = labelstore.open_store(store)
    views = [
        view
        for names in opened.views()
        for codec in opened.codecs(*names)
        if (view := opened.view(*names, codec)).epochs
    ]
    if not views:
        raise ArtefactError(
            f"{store}: no epoch is complete, so there is nothing to draw; finish it with `engine "
            "dump-labels`"
        )
    with house_style():
        figure = Figure(figsize=(10.2, 5.2))
        left = figure.add_axes((0.06, 0.11, 0.41, 0.58))
        right = figure.add_axes((0.57, 0.11, 0.41, 0.58))
        size = f"{opened.num_samples:,} samples, {opened.num_classes:,} classes"
        figure.text(0.02, 0.95, Path(store).name, fontsize=11, fontweight="bold")
        figure.text(0.02, 0.91, size, fontsize=8.5, color=GREY)
        distinct = {(view.expert, view.name): view for view in reversed(views)}
        for number, view in enumerate(reversed(distinct.values())):
            _draw_statistics(left, view, number, len(distinct))
        for number, view in enumerate(views):
            _draw_codec(right, view, number, len(views), several=len(distinct) > 1)
        left.set_ylabel("nats")
        left.set_title(
            "the labels: entropy, and cross-entropy with the true class", loc="left", fontsize=9
        )
        right.set_title(
            "KL divergence of stored from given labels, mean (nats)", loc="left", fontsize=9
        )
        right.set_yscale("log")
        right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}"))
        right.plot([], [], color=GREY, linestyle=":", linewidth=1.1, label="worst sample")
        for axes in (left, right):
            axes.set_xlabel("expert epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend(
                frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1.08), ncols=2
            )
    write_bytes(out, _FORMATS[out.suffix](figure))
    return {"plot": str(out)}


def _draw_statistics(axes: Axes, view: labelstore.LabelView, number: int, of: int) -> None:
    epochs = view.epochs
    colour = SEQUENCE((number + 1) / (of + 1))
    entropy = [view.entropy(epoch) for epoch in epochs]
    low, high = np.array([np.quantile(each, [0.1, 0.9]) for each in entropy]).T
    name = f"{view.expert}, {view.name}: " if of > 1 else ""
    marker = MARKERS[number % len(MARKERS)]
    mean = [each.mean(dtype=np.float64) for each in entropy]
    axes.plot(epochs, mean, color=colour, marker=marker, label=f"{name}mean entropy")
    band = f"{name}entropy of the middle 80 % of samples"
    axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0, label=band)
    axes.plot(
        epochs,
        [view.cross_entropy(epoch).mean(dtype=np.float64) for epoch in epochs],
        color=colour,
        marker=marker,
        markerfacecolor="white",
        linestyle=(0, (4, 2)),
        label=f"{name}mean cross-entropy",
    )


def _draw_codec(
    axes: Axes, view: labelstore.LabelView, number: int, of: int, *, several: bool
) -> None:
    errors = [view.codec_error(epoch) for epoch in view.epochs]
    colour = SEQUENCE((number + 1) / (of + 1))
    name = f"{view.expert}, {view.name}, " if several else ""
    label = f"{name}{view.codec} ({view.geometry.rows.row_bytes} bytes)"
    marker = MARKERS[number % len(MARKERS)]
    # Zero has no place on a logarithmic axis; it means "nothing that float64 could measure".
    mean, worst = ([max(error[key], 1e-12) for error in errors] for key in ("kl_mean", "kl_worst"))
    axes.plot(view.epochs, mean, color=colour, marker=marker, label=label)
    axes.plot(view.epochs, worst, color=colour, linestyle=":", linewidth=1.1)
