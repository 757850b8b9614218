"""The figures: one line per expert epoch or IPC, readable, and equal bytes for equal numbers."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from PIL import Image
from report_synthetic_sweep import grid
from scipy import stats

from engine.analysis import parse_trial, split_into_panels
from engine.report import figure_layout, figures

ACCURACIES = {(i, e): 0.01 * i + 0.01 * (e or 1) for i in (1, 10) for e in (0, 5, 13, None)}


def panel_of(accuracies=ACCURACIES, **options):
    (panel,) = split_into_panels([parse_trial(r) for r in grid(accuracies, **options)])
    return panel


def lines(figure):
    return {str(x.get_gid()): x for x in figure.axes[0].get_lines() if x.get_gid()}


def test_over_ipc_there_is_one_line_per_expert_epoch_and_hard_is_dashed():
    found = lines(figures.over_ipc(panel_of(), "cifar100"))
    assert set(found) == {"epoch-0", "epoch-5", "epoch-13", "hard"}
    assert found["hard"].is_dashed()
    assert not found["epoch-5"].is_dashed()


def test_the_lines_show_the_means_in_percent_at_their_ipc():
    line = lines(figures.over_ipc(panel_of(), "cifar100"))["epoch-13"]
    assert list(line.get_xdata()) == [1, 10]
    assert list(line.get_ydata()) == pytest.approx([14.2, 23.2])


def test_over_expert_epoch_there_is_one_line_per_ipc_with_its_best_ringed():
    found = lines(figures.over_expert_epoch(panel_of(), "cifar100"))
    assert set(found) == {f"{kind}ipc-{i}" for kind in ("", "best-", "hard-") for i in (1, 10)}
    assert list(found["best-ipc-10"].get_xdata()) == [13]
    assert list(found["ipc-1"].get_xdata()) == [0, 5, 13]


def test_hard_labels_without_a_soft_line_of_their_ipc_have_no_level():
    soft = {(i, e): 0.01 * e for i in (1, 10) for e in (5, 13)}
    figure = figures.over_expert_epoch(panel_of({**soft, (10, None): 0.1, (50, None): 0.3}), "d")
    assert {gid for gid in lines(figure) if gid.startswith("hard")} == {"hard-ipc-10"}
    figure = figures.over_expert_epoch(panel_of({**soft, (50, None): 0.3}), "d")
    (key,) = figure.legends
    assert "hard labels" not in [text.get_text() for text in key.get_texts()]


def test_where_every_ipc_has_an_epoch_of_its_own_one_line_names_them():
    figure = figures.over_ipc(panel_of({(1, 13): 0.1, (10, 36): 0.2, (50, 125): 0.3}), "d")
    found = lines(figure)
    assert set(found) == {"soft"}
    assert list(found["soft"].get_xdata()) == [1, 10, 50]
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert texts == {"epoch 13", "epoch 36", "epoch 125", "soft labels"}


def test_one_epoch_for_every_ipc_is_a_line_of_that_epoch():
    figure = figures.over_ipc(panel_of({(1, 13): 0.1, (10, 13): 0.2}), "d")
    assert set(lines(figure)) == {"epoch-13"}


def test_no_ring_where_there_was_no_choice():
    found = lines(figures.over_expert_epoch(panel_of({(1, 13): 0.1, (10, 13): 0.2}), "d"))
    assert set(found) == {"ipc-1", "ipc-10"}


def test_a_leader_across_the_figure_is_no_line_of_the_plot():
    figure = figures.over_ipc(panel_of({(1, 5): 0.1, (1, 13): 0.2, (10, 13): 0.3}), "d")
    styles = {t.get_text(): t.arrow_patch.get_linestyle() for t in figure.axes[0].texts}
    assert styles["epoch 13"] == "-"
    assert styles["epoch 5"] != "-"


def test_error_bars_are_the_population_std():
    axes = figures.over_ipc(panel_of({(1, 5): 0.1, (10, 5): 0.2}), "d").axes[0]
    (bars,) = axes.containers
    (segments,) = bars[2]
    low, high = segments.get_segments()[0][:, 1]
    assert (high - low) / 2 == pytest.approx(100 * np.std([0.1, 0.102, 0.104]))


def test_over_expert_epochs_error_bars_are_the_95_percent_interval():
    panel = panel_of({(1, 5): 0.1, (1, 13): 0.2})
    figure = figures.over_expert_epoch(panel, "d")
    (bars,) = figure.axes[0].containers
    (segments,) = bars[2]
    low, high = segments.get_segments()[0][:, 1]
    values = [10.0, 10.2, 10.4]
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (low, high) == pytest.approx(expected)
    assert "95 % interval over n = 3 runs" in figure.texts[1].get_text()
    assert (
        not figures.over_expert_epoch(panel_of({(1, 5): 0.1, (1, 13): 0.2}, seeds=[0]), "d")
        .axes[0]
        .containers
    )


def test_single_runs_have_no_error_bars():
    assert not figures.over_ipc(panel_of(seeds=[0]), "d").axes[0].containers


def test_the_title_names_dataset_and_measure():
    figure = figures.over_ipc(panel_of(), "cifar100", "max_on_test")
    assert figure.texts[0].get_text() == (
        "cifar100: test accuracy, max on test (the papers’ optimistic measure)"
    )


def test_later_epochs_are_darker_so_that_greyscale_keeps_their_order():
    found = lines(figures.over_ipc(panel_of(), "d"))
    light = [
        float(np.dot(to_rgb(found[f"epoch-{e}"].get_color()), [0.2126, 0.7152, 0.0722]))
        for e in (0, 5, 13)
    ]
    assert light == sorted(light, reverse=True)
    assert len({found[gid].get_marker() for gid in ("epoch-0", "epoch-5", "epoch-13")}) == 3


def test_without_test_the_figures_draw_validation_and_without_both_nothing():
    (only_validation,) = split_into_panels(
        [parse_trial(r) for r in grid({(1, 5): None}, validation=0.1)]
    )
    assert figures.measured([panel_of()]) == ("final", "test")
    assert figures.measured([only_validation]) == ("final", "validation")
    assert figures.measured([panel_of({(1, 5): None})]) is None


def test_equal_numbers_give_equal_bytes():
    for draw in (figures.over_ipc, figures.over_expert_epoch):
        once, again = draw(panel_of(), "d"), draw(panel_of(), "d")
        assert figures.svg(once) == figures.svg(again)
        assert figures.png(once) == figures.png(again)


def test_the_svg_is_well_formed_and_has_no_date():
    text = figures.svg(figures.over_ipc(panel_of(), "a <script> & $x_1$"))
    words = "".join(ElementTree.fromstring(text).itertext())
    assert b"<script" not in text
    assert "a <script> & $x_1$: test accuracy" in words
    assert b"date" not in text.lower()


def test_the_png_has_twice_the_screens_resolution():
    figure = figures.over_ipc(panel_of(), "d")
    width, height = Image.open(io.BytesIO(figures.png(figure))).size
    assert (width, height) == tuple(round(200 * inch) for inch in figure_layout.FIGURE_INCHES)


def test_two_inlined_figures_share_no_id():
    svg = figures.svg(figures.over_ipc(panel_of(), "d"))
    trees = [ElementTree.fromstring(figures.inline(svg, prefix)) for prefix in ("a", "b")]
    ids = [{e.get("id") for e in tree.iter() if e.get("id")} for tree in trees]
    assert ids[0]
    assert not ids[0] & ids[1]
    uses = {e.get("{http://www.w3.org/1999/xlink}href", "") for e in trees[0].iter()} - {""}
    assert uses <= {f"#{name}" for name in ids[0]}


def test_the_users_own_matplotlib_settings_do_not_matter():
    import matplotlib as mpl

    plain = figures.png(figures.over_ipc(panel_of(), "d"))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert figures.png(figures.over_ipc(panel_of(), "d")) == plain


def test_the_best_line_end_labels_are_all_there():
    texts = {t.get_text() for t in figures.over_ipc(panel_of(), "d").axes[0].texts}
    assert texts == {"epoch 0", "epoch 5", "epoch 13", "hard labels"}


def test_of_too_many_lines_only_some_are_labelled():
    panel = panel_of({(i, e): 0.005 * e for i in (1, 10) for e in range(1, 91)}, seeds=[0])
    figure = figures.over_ipc(panel, "d")
    assert len(lines(figure)) == 90
    assert {"epoch 1", "epoch 90"} <= {t.get_text() for t in figure.axes[0].texts}
    assert len(figure.axes[0].texts) < 30


@given(st.lists(st.floats(0, 100), min_size=1, max_size=10))
def test_labels_keep_their_order_and_distance(heights):
    heights = sorted(heights)
    placed = figure_layout.spaced(heights, 5.0, 0.0, 100.0)
    assert all(b - a >= 5.0 - 1e-6 for a, b in pairwise(placed))
    assert min(placed) >= -1e-6
    assert max(placed) <= 100 + 1e-6
    if all(b - a >= 5.0 for a, b in pairwise(heights)):
        assert placed == pytest.approx(heights)


@pytest.mark.parametrize("low", [-1.0, -0.000123, -1_000_000.0])
def test_wide_numbers_push_no_words_over_the_edge(low: float) -> None:
    with figure_layout.house_style():
        figure, axes = figure_layout.titled("residuals", "of a law")
        axes.plot([1, 2, 3], [low, 0.0, -low / 3])
        axes.set_ylabel("measured less law (points)")
    right = axes.get_position().x1
    figures.svg(figure)
    words = axes.yaxis.get_tightbbox(FigureCanvasAgg(figure).get_renderer())
    assert words.x0 >= 0
    assert axes.get_position().x1 == pytest.approx(right)
    assert figures.svg(figure) == figures.svg(figure)
