"""Nothing of a figure is cut off: axes give way where words would reach over the figure's edge."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FixedLocator, FuncFormatter

from engine.report.figure_layout import FONT_SIZE

EDGE_INCHES = 0.03  # what stays free beside all words
LEAST_WIDTH = 0.3  # of axes, as a share of the figure: without them words say nothing


def keep_inside(figure: Figure) -> None:
    """Narrow axes from the left where wide numbers push their label over the figure's edge, and
    from the right where names beside lines do."""
    renderer: Any = FigureCanvasAgg(figure).get_renderer()
    across = figure.get_figwidth() * figure.dpi
    edge = EDGE_INCHES * figure.dpi
    for axes in figure.axes:
        left, bottom, wide, tall = axes.get_position().bounds
        words = axes.yaxis.get_tightbbox(renderer)
        before = 0.0 if words is None else max(edge - words.x0, 0.0) / across
        beyond = max(_end_of_words(axes, renderer) - (across - edge), 0.0) / across
        # Names move with the axes as a whole where these give way on the left, and end there too.
        before = min(before, max(wide - LEAST_WIDTH, 0.0))
        kept = max(wide - before - beyond, min(wide - before, LEAST_WIDTH))
        if before or beyond:
            axes.set_position((left + before, bottom, kept, tall))
            _thin(axes.xaxis, renderer)


def _end_of_words(axes: Axes, renderer: Any) -> float:
    """How far to the right a text within or beside the axes reaches, in pixels."""
    ends = [0.0]
    for text in axes.texts:
        if isinstance(text, Annotation):
            text.update_positions(renderer)
        ends.append(Text.get_window_extent(text, renderer).x1)
    return max(ends)


def _thin(axis: Axis, renderer: Any) -> None:
    """Drop the numbers of an x axis that no longer fit beside each other."""
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return
    if not isinstance(axis.get_major_formatter(), FuncFormatter):
        return  # names of bars
    kept, end = [], float("-inf")
    for at, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True):
        box = label.get_window_extent(renderer)
        if box.x0 >= end:
            kept.append(float(at))
            end = box.x1 + 0.4 * FONT_SIZE
    axis.set_major_locator(FixedLocator(kept))
