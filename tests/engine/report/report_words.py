"""Where the words of a drawn figure lie, for the tests that no word is cut off or covered."""

from __future__ import annotations

from itertools import compress

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from engine.report.figure_layout import house_style


def words_of(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every text of a figure with its box in pixels; a legend is one."""
    canvas = FigureCanvasAgg(figure)
    with house_style():
        canvas.draw()
    renderer = canvas.get_renderer()
    words = list(figure.texts)
    for axes in figure.axes:
        words += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for axis, (low, high) in (axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim()):
            shown = [min(low, high) <= at <= max(low, high) for at in axis.get_ticklocs()]
            words += compress(axis.get_ticklabels(), shown)
    # Of an annotation the words alone, without its leader.
    boxes = [(w.get_text(), Text.get_window_extent(w, renderer)) for w in words if w.get_text()]
    return boxes + [
        (" | ".join(text.get_text() for text in legend.get_texts()), legend.get_window_extent())
        for legend in figure.legends
    ]


def cut_off(figure: Figure) -> list[str]:
    """The words that reach over the figure's edge."""
    width, height = figure.get_size_inches() * figure.dpi
    return [
        text
        for text, box in words_of(figure)
        if min(box.x0, box.y0) < 0 or box.x1 > width or box.y1 > height
    ]
