"""The best expert epoch by IPC: the sentence, the table and the figure that say what it shows."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_synthetic_sweep import asked_of, grid, trial
from report_words import cut_off, words_of

from engine.analysis import parse_trial, split_into_panels
from engine.report import figures
from engine.report.best_epoch import best_epoch_rows, best_epoch_view, epoch_spans, growth_sentences
from engine.report.best_epoch_figure import best_epoch_over_ipc

EPOCHS = (4, 13, 41, 57)


def panel_of(best, *, seeds=(0, 1, 2), asked=(), epochs=EPOCHS, **options):
    """`best`: IPC → its best epoch, at 30 %; the others have 10 %."""
    accuracies = {(i, e): 0.3 if e == top else 0.1 for i, top in best.items() for e in epochs}
    records = grid(accuracies, seeds, **options)
    wanted = asked_of([*records, *asked]) if asked else ()
    (panel,) = split_into_panels([parse_trial(record) for record in records], wanted)
    return panel


def said_of(panel):
    return " ".join(growth_sentences(panel))


def test_growth_is_stated_with_its_evidence():
    assert said_of(panel_of({1: 13, 10: 41})) == (
        "In these data the best expert epoch grows with IPC: 13 at IPC 1, 41 at IPC 10. The seeds "
        "establish a rise from IPC 1 to IPC 10 at 95 %: at IPC 1 only epoch 13 may be the best, at "
        "IPC 10 only epoch 41 may be the best."
    )


@pytest.mark.parametrize(
    ("best", "words"),
    [
        ({1: 41, 10: 13}, "falls as IPC grows: 41 at IPC 1, 13 at IPC 10"),
        ({1: 13, 5: 41, 10: 13}, "does not grow steadily with IPC"),
        ({1: 13, 5: 13, 10: 13}, "does not grow with IPC: it is 13 from IPC 1 to IPC 10"),
    ],
)
def test_what_refutes_growth_is_stated_too(best, words):
    assert words in said_of(panel_of(best))


def test_a_sentence_names_some_of_very_many_ipcs():
    panel = panel_of({ipc: 4 if ipc < 9 else 57 for ipc in range(1, 31)}, seeds=[0, 1])
    text = said_of(panel)
    assert "grows with IPC: 4 at IPC 1 … 57 at IPC 30." in text
    assert "At 22 IPCs from 9 to 30 it is the last epoch compared" in text


def test_single_runs_are_said_to_leave_chance_open():
    text = said_of(panel_of({1: 13, 10: 41}, seeds=[0]))
    assert "Every cell has one run, so how much of this is chance is not known." in text
    assert "establish" not in text


def test_a_stray_run_is_not_said_to_be_the_only_one_of_every_cell():
    values = {(1, 4): 0.3, (1, 13): 0.1, (10, 4): 0.1, (10, 13): 0.3}
    strays = grid({(1, 41): 0.05, (10, 41): 0.05}, [0])
    records = [*grid(values), *strays]
    (panel,) = split_into_panels([parse_trial(record) for record in records])
    text = said_of(panel)
    assert "grows with IPC: 4 at IPC 1, 13 at IPC 10" in text
    assert "Some epochs share fewer than two seeds, so how much" in text
    titles = [entry.title for row in best_epoch_view(panel).rows for entry in row]
    assert not [title for title in titles if title and "one run" in title]


def test_seeds_that_establish_nothing_are_said_to():
    records = [
        trial(ipc, epoch, value, validation=value, seed=seed)
        for ipc in (1, 10)
        for epoch in EPOCHS
        for seed in (0, 1, 2)
        for value in [0.2 + 0.05 * np.sin(7.3 * ipc + epoch * 3 + 11 * seed)]
    ]
    (panel,) = split_into_panels([parse_trial(record) for record in records])
    assert "The 3 seeds do not establish that the best epoch differs" in said_of(panel)


def test_ends_of_the_range_missing_runs_and_unequal_ranges_are_cautioned():
    text = said_of(panel_of({1: 4, 10: 57}))
    assert "At IPC 10 it is the last epoch compared: the true best may be later." in text
    assert "At IPC 1 it is the first epoch compared: the true best may be earlier." in text
    assert "first epoch" not in said_of(panel_of({1: 0, 10: 13}, epochs=(0, 13, 41)))
    text = said_of(panel_of({1: 13, 10: 41}, asked=grid({(10, 125): 0.0})))
    assert text.startswith("So far the best expert epoch grows")
    assert "Runs are missing at IPC 10: this may change." in text
    text = said_of(panel_of({1: 13, 10: 41}, asked=grid({(100, 4): 0.0, (100, 13): 0.0})))
    assert "Runs are missing at IPC 100: this may change." in text


def test_the_table_has_a_row_per_ipc():
    panel = panel_of({1: 13, 10: 41}, asked=grid({(10, 125): 0.0}))
    table = best_epoch_view(panel)
    assert [[entry.text for entry in row] for row in table.rows] == [
        ["1", "13", "3 of 3", "13", "30.2 ± 0.2", "4 (4–57)"],
        ["10", "41", "3 of 3", "41", "30.2 ± 0.2", "4 of 5 (4–57)"],
    ]
    assert len(table.columns) == len(table.rows[0])
    (_, row) = best_epoch_rows([panel])
    assert (row["best_expert_epoch"], row["epochs_lacking_runs"]) == (41, "125")
    assert row["final_test_mean"] == pytest.approx(0.302)


def test_one_epoch_by_ipc_has_no_table():
    panel = panel_of({1: 13, 10: 13}, epochs=(13,))
    assert best_epoch_view(panel) is None
    assert growth_sentences(panel) == []


@given(st.sets(st.integers(0, 200), min_size=1), st.data())
def test_spans_name_exactly_their_epochs(epochs, data):
    of = sorted(epochs)
    chosen = [epoch for epoch in of if data.draw(st.booleans())]
    named = set()
    for part in filter(None, epoch_spans(chosen, of).split(", ")):
        first, _, last = part.partition("–")
        named |= {epoch for epoch in of if int(first) <= epoch <= int(last or first)}
    assert sorted(named) == chosen


def lines(figure):
    return {str(x.get_gid()): x for x in figure.axes[0].get_lines() if x.get_gid()}


def test_the_figure_shows_the_best_over_ipc_and_what_else_may_be():
    found = lines(best_epoch_over_ipc(panel_of({1: 13, 10: 41, 50: 57}), "d"))
    assert list(found["best"].get_xdata()) == [1, 10, 50]
    assert list(found["best"].get_ydata()) == [13, 41, 57]
    assert list(found["plausible-dots-ipc-10"].get_ydata()) == [41]
    assert list(found["compared-ipc-10"].get_ydata()) == list(EPOCHS)
    assert list(found["best-so-far"].get_xdata()) == []


def test_the_figure_of_single_runs_claims_nothing_more():
    found = lines(best_epoch_over_ipc(panel_of({1: 13, 10: 41}, seeds=[0]), "d"))
    assert not [gid for gid in found if gid.startswith("plausible")]


def test_a_best_that_may_change_is_hollow():
    panel = panel_of({1: 13, 10: 41}, asked=grid({(10, 125): 0.0}))
    hollow = lines(best_epoch_over_ipc(panel, "d"))["best-so-far"]
    assert (list(hollow.get_xdata()), list(hollow.get_ydata())) == ([10], [41])


def drawings(panel):
    return [
        best_epoch_over_ipc(panel, "d"),
        figures.over_ipc(panel, "d"),
        figures.over_expert_epoch(panel, "d"),
    ]


@pytest.mark.parametrize("settings", [0, 1, 6])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_words_of_a_figure_lie_within_it_and_not_on_each_other(settings, number):
    panel = panel_of({1: 13, 10: 41, 50: 57}, asked=grid({(50, 125): 0.0}))
    axes = {f"a_setting_with_a_name_{i}": 0.001 for i in range(settings)}
    panel = type(panel)(axes=axes, fixed={}, by_ipc={}, cells=panel.cells)
    figure = drawings(panel)[number]
    assert cut_off(figure) == []
    boxes = [box for _, box in words_of(figure)]
    assert not [(a, b) for a, b in combinations(boxes, 2) if a.overlaps(b)]
