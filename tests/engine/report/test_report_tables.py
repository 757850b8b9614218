"""The tables: numbers against numpy, cells in their places, absences as absences."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest
from report_synthetic_sweep import asked_of, grid, trial, write_sweep

from engine.analysis import parse_trial, split_into_panels
from engine.analysis.trials import MEASURES
from engine.report import entries, main_table, tables, textual, views
from engine.report.sweeps import read_sweeps


def panels_of(records, asked=()):
    """Panels of a sweep that was asked for the records `asked`."""
    return split_into_panels([parse_trial(record) for record in records], asked_of(asked))


def texts(table):
    return [[entry.text for entry in row] for row in table.rows]


def test_the_main_row_agrees_with_numpy():
    records = grid({(1, 5): 0.12, (1, 13): 0.15, (1, None): 0.04})
    (row,) = tables.main_rows(panels_of(records))
    assert (row["expert_epoch"], row["expert_epoch_chosen_on"]) == (13, "validation")
    soft = [0.15, 0.152, 0.154]
    assert row["soft_final_mean"] == pytest.approx(np.mean(soft))
    assert row["soft_final_std"] == pytest.approx(np.std(soft))
    assert row["gain_final_mean"] == pytest.approx(0.11)
    assert (row["n_soft"], row["n_hard"], row["gain_final_pairs"]) == (3, 3, 3)
    assert row["soft_trials"] == " ".join(r["id"] for r in records[3:6])


def test_every_cell_of_the_grid_lands_in_its_place():
    accuracies = {(i, e): 0.01 * i + 0.001 * (e or 0) for i in (1, 10) for e in (5, 13, None)}
    rows = tables.grid_rows(panels_of(grid(accuracies, seeds=[0])))
    assert {(r["ipc"], r["expert_epoch"]): r["final_mean"] for r in rows} == pytest.approx(
        accuracies
    )
    assert {r["labels"] for r in rows if r["expert_epoch"] is None} == {"hard"}


def test_the_grid_view_tells_what_was_not_run_from_what_nobody_asked_for():
    accuracies = {(1, 5): 0.1, (10, 5): 0.2, (10, 13): 0.3, (1, None): 0.04}
    (panel,) = panels_of(grid(accuracies), grid({**accuracies, (10, None): 0.1}))
    table = views.grid_view(panel, "final")
    assert table.columns == ("expert epoch", "IPC 1", "IPC 10")
    assert texts(table) == [
        ["5", "10.2 ± 0.2", "20.2 ± 0.2"],
        ["13", "·", "30.2 ± 0.2"],
        ["hard", "4.2 ± 0.2", "not run"],
    ]
    assert "·: not asked for." in table.legend
    # IPC 1 had one epoch, which is no choice.
    assert [e.text for row in table.rows for e in row if e.style == "best"] == ["30.2 ± 0.2"]


def test_an_unusual_number_of_runs_is_written_beside_the_number():
    records = [*grid({(1, 5): 0.1, (1, 13): 0.2}), *grid({(10, 5): 0.3}, seeds=[0])]
    (panel,) = panels_of(records)
    table = views.grid_view(panel, "final")
    assert texts(table)[0] == ["5", "10.2 ± 0.2", "30.0 (n = 1)"]
    assert "n = 3 unless stated." in table.legend


def test_cells_without_a_test_split_are_empty_never_zero_or_nan():
    (panel,) = panels_of(grid({(1, 1): None, (1, None): None}))
    main = views.main_view(panel)
    assert texts(main) == [["1", "—", "3", *["—"] * 9, "—", "—"]]
    assert any("the dataset has no test split and no validation images" in x for x in main.legend)
    text = textual.to_csv(tables.grid_rows([panel])) + textual.to_csv(tables.main_rows([panel]))
    assert "nan" not in text.lower()
    (row, _) = csv.DictReader(io.StringIO(textual.to_csv(tables.grid_rows([panel]))))
    assert (row["n_final"], row["final_mean"], row["final_std"]) == ("0", "", "")


def test_validation_alone_still_chooses_the_epoch():
    records = [
        trial(1, epoch, None, validation=validation, max_on_test=None)
        for epoch, validation in ((1, 0.01), (2, 0.02))
    ]
    (panel,) = panels_of(records)
    assert texts(views.main_view(panel))[0][:4] == ["1", "2", "1", "—"]


def test_a_choice_made_on_test_is_marked():
    accuracies = {(1, 5): 0.1, (1, 13): 0.05, (1, None): 0.05}
    (panel,) = panels_of(grid(accuracies, validation=None))
    table = views.main_view(panel)
    assert table.rows[0][1].text == "5*"
    assert any(line.startswith("* Chosen on test") for line in table.legend)


def test_the_papers_choice_stands_beside_ours():
    records = [
        trial(1, 5, 0.10, validation=0.2, max_on_test=0.11),
        trial(1, 13, 0.12, validation=0.1, max_on_test=0.15),
    ]
    (row,) = tables.main_rows(panels_of(records))
    assert (row["expert_epoch"], row["papers_expert_epoch"]) == (5, 13)
    assert row["papers_soft_max_on_test_mean"] == 0.15


def test_the_legend_says_what_plus_minus_is_over():
    fixed = [trial(1, 13, 0.1, seed=s, subset_seed=0) for s in (0, 1)]
    varied = [trial(1, 13, 0.1, seed=s) for s in (0, 1)]
    legends = [views.main_view(panels_of(r)[0]).legend for r in (fixed, varied)]
    assert "initial weights, order and augmentation on one subset" in " ".join(legends[0])
    assert "subsets, initial weights, order and augmentation together" in " ".join(legends[1])
    assert all("ddof = 0" in " ".join(legend) for legend in legends)


def test_failed_missing_and_repeated_runs_are_listed():
    records = [
        *grid({(1, 5): 0.1, (10, 5): 0.2, (10, 13): 0.3}, seeds=[0]),
        trial(1, 13, None, error="Traceback\n  line\nTrainingDiverged: the loss became NaN"),
        trial(1, 5, 0.9),
        trial(1, None, 0.05),
    ]
    asked = [*records, trial(10, None, 0.1)]
    rows = tables.problem_rows(panels_of(records, asked))
    found = {(r["what"], r["ipc"], r["expert_epoch"]): r["detail"] for r in rows}
    assert found[("failed", 1, 13)] == "TrainingDiverged: the loss became NaN"
    assert {key for key in found if key[0] == "not run"} == {("not run", 10, None)}
    assert ("set aside", 1, 5) in found


def test_a_cell_whose_runs_failed_says_failed():
    (panel,) = panels_of([trial(1, 5, 0.1), trial(10, 5, None, error="boom")])
    assert texts(views.grid_view(panel, "final")) == [["5", "10.0", "failed"]]


def test_an_epoch_that_was_the_only_one_is_not_called_the_best():
    (panel,) = panels_of(grid({(1, 13): 0.1, (10, 36): 0.2}))
    legend = " ".join(views.main_view(panel).legend)
    assert "nothing was chosen" in legend
    assert "best on validation" not in legend


def test_without_hard_labels_their_columns_are_left_out():
    (panel,) = panels_of(grid({(1, 5): 0.1, (10, 5): 0.2}))
    table = views.main_view(panel)
    assert (table.title, table.columns.count("soft")) == ("Soft labels", 4)
    assert not {"hard", "gain"} & set(table.columns)
    assert sum(width for _, width in table.groups) == len(table.columns)
    (asked_for,) = panels_of(grid({(1, 5): 0.1}), grid({(1, None): 0.1}))
    assert "hard" in views.main_view(asked_for).columns


def test_an_ipc_that_has_not_begun_has_its_row():
    (panel,) = panels_of(grid({(1, 5): 0.1, (1, 13): 0.2}), grid({(100, 5): 0, (100, 13): 0}))
    table = views.main_view(panel)
    assert texts(table)[1] == ["100", "not run", "0", *["not run"] * 5]
    assert any(line.startswith("Runs are missing") for line in table.legend)


def test_what_follows_from_the_length_of_a_student_has_no_column_of_its_own():
    records = [
        trial(ipc, 5, 0.1, student={"epochs": epochs, "schedule": {"every": epochs // 4}})
        for ipc, epochs in ((1, 300), (10, 75))
    ]
    (panel,) = panels_of(records)
    assert set(panel.by_ipc) == {"student.epochs", "student.schedule.every"}
    assert views.main_view(panel).columns[:3] == ("IPC", "student epochs", "expert epoch")


def test_of_very_many_missing_cells_the_page_lists_some_and_says_where_the_others_are():
    asked = [trial(1, epoch, 0.1) for epoch in range(200)]
    panels = panels_of([trial(1, 0, 0.1)], asked)
    view = views.problem_view(panels)
    assert len(view.rows) == views.MOST_PROBLEMS < len(tables.problem_rows(panels)) == 199
    assert any("tables/problems.csv" in line for line in view.legend)


MEAN = re.compile(r"[0-9.]+ ± ")


def test_every_number_leads_to_its_trials():
    records = grid({(i, e): 0.05 * i + 0.01 * (e or 0) for i in (1, 2) for e in (5, 13, None)})
    ids: dict[tuple[int, int | None], list[str]] = {}
    for record in records:
        ids.setdefault((record["cell"]["ipc"], record["cell"]["expert_epoch"]), []).append(
            record["id"]
        )
    (panel,) = panels_of(records)
    for measure in MEASURES:
        for epoch, row in zip((5, 13, None), views.grid_view(panel, measure).rows, strict=True):
            for ipc, entry in zip((1, 2), row[1:], strict=True):
                assert entry.anchor == f"trials-{ids[ipc, epoch][0]}"
                assert all(each[:12] in entry.title for each in ids[ipc, epoch])
                assert "95 % CI" in entry.title
    for ipc, row in zip((1, 2), views.main_view(panel).rows, strict=True):
        soft, hard = (f"trials-{ids[ipc, epoch][0]}" for epoch in (13, None))
        of_measure = [soft, hard, soft]  # a gain leads to the soft labels, beside the hard ones
        assert [entry.anchor for entry in row[3:]] == [*of_measure * 3, "", soft]


def test_every_accuracy_of_an_experiment_leads_to_its_trials(all_found):
    means = {
        (table.name, entry.anchor)
        for finding in all_found.values()
        for table in finding.tables
        for row in table.view.rows
        for entry in row
        if MEAN.match(entry.text) and not entry.title.startswith("published")
    }
    assert len({name for name, _ in means}) > 10
    assert [name for name, anchor in means if not anchor.startswith("trials-")] == []


def test_every_row_of_results_names_its_trials(full_report):
    known = {row["trial"] for row in read_table(full_report, "trials")}
    silent = {"claims", "comparisons", "experts", "problems", "trials"}
    found = {file.stem for file in (full_report / "tables").glob("*.csv")} - silent
    assert {"best_epoch", "worth_in_images", "scaling_law_forms", "top_k"} <= found
    for name in found:
        for row in read_table(full_report, name):
            named = [ids for key, text in row.items() if "trials" in key for ids in text.split()]
            assert set(named) <= known
            was_run = row.get("n") != "0" and row.get("soft_max_on_test_mean") != ""
            assert named or not was_run, (name, row)
    for row in read_table(full_report, "comparisons"):
        assert row["ids"]


def read_table(report, name):
    return list(csv.DictReader((report / "tables" / f"{name}.csv").open()))


def test_a_setting_per_ipc_is_shown_in_its_row():
    records = [
        trial(1, 5, 0.1, cell={"lr": 0.001}, student={}),
        trial(10, 5, 0.2, cell={"lr": 0.005}, student={}),
    ]
    table = views.main_view(panels_of(records)[0])
    assert table.columns[:2] == ("IPC", "lr")
    assert [row[:2] for row in texts(table)] == [["1", "0.001"], ["10", "0.005"]]


def test_experts_without_a_measured_split_have_a_dash(tmp_path):
    experts = [{"name": "rn18", "run_id": "r", "epochs": {"2": {"test": None, "train": 0.01}}}]
    sweep = write_sweep(tmp_path / "s", grid({(1, 2): None}), experts=experts)
    results = read_sweeps([sweep])
    assert texts(views.expert_view(results)) == [["rn18", "2", "—", "1.0", "—"]]
    assert tables.expert_rows(results)[0]["test"] is None


def test_the_console_table_has_one_dict_per_ipc_and_panel(tmp_path):
    records = [
        record
        for view, value in (("flip", 0.1), ("plain", 0.2))
        for record in grid({(1, 5): value, (10, 5): 0.2}, cell={"view": view})
    ]
    sweep = write_sweep(tmp_path / "s", [*records, *grid({(1, None): 0.05, (10, None): 0.1})])
    rows = main_table([sweep])
    assert [(r["view"], r["IPC"]) for r in rows] == [
        ("flip", "1"),
        ("flip", "10"),
        ("plain", "1"),
        ("plain", "10"),
    ]
    assert rows[2]["final soft"] == "20.2 ± 0.2"
    assert rows[2]["gain"] == "+15.0"


def test_csv_reads_back_to_the_same_numbers():
    rows = tables.main_rows(panels_of(grid({(1, 5): 0.1234567890123, (1, None): 0.05})))
    (back,) = csv.DictReader(io.StringIO(textual.to_csv(rows)))
    assert float(back["soft_final_mean"]) == rows[0]["soft_final_mean"]


def test_markdown_shows_markup_in_names_as_text():
    table = entries.Table(
        title="t",
        columns=("a|b",),
        rows=((entries.Entry(text="<script>*x*|_y_\nz", style="words"),),),
    )
    text = textual.to_markdown([("h", table)])
    assert "| a\\|b |" in text
    assert "| &lt;script>\\*x\\*\\|\\_y\\_ z |" in text
