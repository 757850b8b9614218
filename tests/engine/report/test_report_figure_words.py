"""No word of any figure is cut off, however long the names are that it has to carry."""

from __future__ import annotations

from itertools import pairwise

import pytest
from report_every_experiment import SOFT, plain, student
from report_findings import found_by
from report_synthetic_sweep import grid
from report_words import cut_off, words_of

from engine.report import figures
from engine.report.experiments.bars import Bar, draw_bars
from engine.report.experiments.curves import Curve, Plot, Point, draw_curves
from engine.report.figure_edges import LEAST_WIDTH

SGD = {"kind": "sgd", "momentum": 0.9, "weight_decay": 0.0005}
ADAMW = {"kind": "adamw", "momentum": 0.0, "weight_decay": 0.01}
STEPS = {"kind": "step", "every": 750, "factor": 0.3}
OTHER_EXPERT = "convnet-d3-seed1-159364b0"


def drawn(picture):
    """The figure as it is written to a file."""
    figure = picture.draw()
    figures.svg(figure)
    return figure


def test_no_word_of_any_experiments_picture_is_cut_off(all_found):
    pictures = [each for finding in all_found.values() for each in finding.pictures]
    assert {each.name: cut_off(drawn(each)) for each in pictures} == {
        each.name: [] for each in pictures
    }


def other_students():
    """Students of step-wise SGD, and one that differs in nearly every setting."""
    usual = {"optimiser": SGD, "schedule": STEPS, "augmentation": "dsa"}
    records = grid({(10, epoch): SOFT[10, epoch] for epoch in (4, 13)}, student=student(**usual))
    records += grid({(1, 13): SOFT[1, 13]}, student=student(**usual))
    other = {
        "model": "resnet18_of_a_long_name",
        "optimiser": ADAMW,
        "schedule": {"kind": "cosine", "horizon": 3000},
        "batch_size": 64,
    }
    records += grid({(10, 13): 0.2}, student=student(**{**usual, **other}))
    quarter = {"epochs": 300, "schedule": {**STEPS, "every": 75}}
    return records + grid({(10, 13): 0.3}, student=student(**{**usual, **quarter}))


def test_other_students_are_named_by_what_they_differ_in():
    (picture,) = found_by("students", other_students()).pictures
    rows = [label.get_text() for label in picture.draw().axes[0].get_yticklabels()]
    assert [" ".join(row.split()) for row in rows] == [
        "the main student",
        "epochs 300",
        "resnet18_of_a_long_name, adamw, batch size 64, optimiser momentum 0, "
        "optimiser weight decay 0.01, schedule horizon 3000, schedule kind cosine",
    ]


def test_a_student_of_many_settings_leaves_room_for_its_plot():
    (picture,) = found_by("students", other_students()).pictures
    figure = drawn(picture)
    assert cut_off(figure) == []
    assert figure.axes[0].get_position().width >= LEAST_WIDTH


@pytest.mark.parametrize("experts", [[None], [None, OTHER_EXPERT]])
def test_names_beside_lines_are_not_cut_off(experts):
    records = plain()
    for expert in experts:
        cell = {"expert": expert} if expert else {}
        records += grid({(10, epoch): SOFT[10, epoch] for epoch in (4, 13)}, cell=cell)
        for share, alpha in (0.1, 0.01), (0.5, 0.01), (0.1, 0.1), (0.5, 0.1):
            noisy = {"transform": f"noise-lowest-entropy:{share},{alpha}", **cell}
            records += grid({(10, 4): 0.2 - share * alpha, (10, 13): 0.2}, cell=noisy)
    (picture,) = found_by("noise-lowest-entropy", records).pictures
    figure = drawn(picture)
    assert any("epoch 13" in text and "α 10 %" in text for text, _ in words_of(figure))
    assert cut_off(figure) == []


def test_ticks_of_narrowed_axes_keep_apart():
    points = tuple(Point(x=float(x), y=1.0) for x in range(20))
    curve = Curve(label="m" * 22, points=points)
    plot = Plot(title="t", under="u", xlabel="x", ylabel="y", xscale="linear")
    figure = draw_curves(plot, [curve])
    figures.svg(figure)
    boxes = sorted(
        (box for text, box in words_of(figure) if text.isdigit() and box.y1 < 60),
        key=lambda box: box.x0,
    )
    assert len(boxes) > 5
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))
    assert figures.svg(figure) == figures.svg(figure)


def test_names_of_groups_of_bars_keep_apart():
    records = [*plain(), *grid({(10, e): SOFT[10, e] for e in (4, 13)}, cell={"expert": "x" * 30})]
    for epoch in (4, 13):
        for cell in {}, {"expert": "x" * 30}:
            records += grid({(10, epoch): 0.1}, cell={"transform": "shuffle-tail", **cell})
    (picture,) = found_by("shuffle-tail", records).pictures
    figure = drawn(picture)
    assert cut_off(figure) == []
    boxes = [box for text, box in words_of(figure) if text.startswith("IPC 10")]
    assert len(boxes) == 4
    assert not [1 for a, b in pairwise(sorted(boxes, key=lambda box: box.x0)) if a.overlaps(b)]


def test_a_long_key_has_lines_and_stacked_bars_end_below_the_top():
    kinds = ["initialisation", "subset", "expert", "interaction", "all of them taken together"]
    heights = dict(zip(kinds, (0.1, 0.2, 0.3, 0.0, 0.0), strict=True))
    bars = {("IPC 10", kind): Bar(height=height) for kind, height in heights.items()}
    figure = draw_bars("t", "u", ["IPC 10"], kinds, bars, ylabel="y", stacked=True)
    figures.svg(figure)
    assert cut_off(figure) == []
    (key,) = [box for text, box in words_of(figure) if text.startswith("initialisation | ")]
    (under,) = [box for text, box in words_of(figure) if text == "u"]
    assert key.y1 < under.y0
    assert 0.6 < figure.axes[0].get_ylim()[1] < 0.7


WORTH = {
    "within": ({1: 9.2, 2: 11.4, 5: 13.1, 10: 14.3}, {1: 4.3, 2: 5.9, 5: 9.6, 10: 12.1, 20: 14.6}),
    "extrapolated": ({1: 9.2, 10: 16.0}, {1: 4.3, 2: 5.9, 5: 9.6, 10: 12.1}),
    "far beyond": ({1: 24.5, 10: 25.5}, {1: 2.0, 5: 20.0, 10: 23.5, 50: 24.0}),
    "a bound": ({1: 9.0, 5: 24.0}, {1: 2.0, 10: 14.0}),
}


@pytest.mark.parametrize("case", WORTH)
def test_every_arrow_of_worth_is_drawn_and_its_words_cross_no_curve(case):
    soft, hard = WORTH[case]
    cells = {(ipc, 13): value / 100 for ipc, value in soft.items()}
    cells |= {(ipc, None): value / 100 for ipc, value in hard.items()}
    (picture,) = found_by("worth", grid(cells)).pictures
    figure = drawn(picture)
    axes = figure.axes[0]
    arrows = [text for text in axes.texts if text.arrow_patch and not text.get_text()]
    assert len(arrows) == len(soft)
    assert all(axes.get_xlim()[0] <= arrow.xy[0] <= axes.get_xlim()[1] for arrow in arrows)
    words = [box for text, box in words_of(figure) if text.startswith("×")]
    assert len(words) == len(soft)
    for box in words:
        assert box.x1 <= axes.bbox.x1
        for line in axes.lines:
            path = line.get_path().transformed(line.get_transform())
            assert not path.intersects_bbox(box, filled=False)
    assert cut_off(figure) == []
