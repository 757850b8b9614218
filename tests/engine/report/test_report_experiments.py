"""Experiments as a whole: which trials each finds; all of it draws, renders and repeats."""

from __future__ import annotations

import csv
import re

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from report_every_experiment import (
    SOFT,
    everything,
    experts,
    plain,
    student,
    varied,
)
from report_findings import evidence, found_by, found_in, lines_of, rows_of
from report_synthetic_sweep import grid, trial, write_sweep

from engine.analysis import parse_trial
from engine.report import textual, write_report
from engine.report.experiments import weighing
from engine.report.experiments.conditions import conditions_of, key_of, steps_of
from engine.report.experiments.registry import EXPERIMENTS


def test_every_experiment_finds_its_trials_and_nobody_elses(all_found):
    by_sight = {each.name for each in EXPERIMENTS} - {"learned-labels"}
    assert set(all_found) == by_sight
    shown = [each.key for finding in all_found.values() for each in finding.shown]
    assert len(shown) == len(set(shown))
    of = evidence(everything())
    everywhere = {key_of(parse_trial(record)) for record in everything()}
    # What no experiment shows is the main grid: plain labels of the main student.
    left = [each for each in of.conditions if each.key in everywhere - set(shown)]
    assert all(of.is_plain(each) and not of.deviates(each) for each in left)
    assert {(c.ipc, c.epoch) for c in left if c.labels == "soft"} == set(SOFT)


def test_a_sweep_of_the_main_grid_alone_has_no_other_experiments():
    names = set(found_in(plain(), name="flowers"))
    assert names == {"worth", "expert-quality", "pareto", "scaling-law"}


def test_every_picture_draws_and_every_name_is_its_own(all_found):
    pictures = [each for finding in all_found.values() for each in finding.pictures]
    tables = [each for finding in all_found.values() for each in finding.tables]
    for names in ([p.name for p in pictures], [t.name for t in tables]):
        assert len(names) == len(set(names))
        assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in names)
    for each in pictures:
        FigureCanvasAgg(each.draw()).draw()
        assert each.caption


def test_no_sentence_or_table_holds_a_nan(all_found):
    for finding in all_found.values():
        text = " ".join(finding.sentences)
        for table in finding.tables:
            text += textual.to_csv(table.rows)
            text += " ".join(e.text + e.title for row in table.view.rows for e in row)
        assert finding.sentences
        assert "nan" not in re.findall(r"[a-z]+", text.lower())
        assert "None" not in text


def test_published_points_lie_beside_ours_where_the_dataset_is_known(all_found):
    xs, ys = lines_of(all_found["swap-ith"].pictures[0])["ipc-10-epoch-13-published"]
    assert (xs[0], ys[0]) == (1, pytest.approx(34.5))
    swaps = varied({"swap-ith:1": 0.4}, "transform")
    elsewhere = found_in([*plain(), *swaps], name="flowers")
    assert "baseline" not in elsewhere
    for finding in elsewhere.values():
        for picture in finding.pictures:
            assert not [gid for gid in lines_of(picture) if "published" in gid]


def test_a_baseline_in_another_sweep_is_found(tmp_path):
    swaps = varied({"swap-ith:1": 0.4}, "transform", ipcs=[10])
    a = write_sweep(tmp_path / "plain", plain())
    b = write_sweep(tmp_path / "swaps", swaps)
    alone = write_report([b], tmp_path / "alone")
    assert (alone["experiments"], alone["panels"], alone["table"]) == (["swap-ith"], 0, [])
    both = write_report([a, b], tmp_path / "both")
    assert "swap-ith" in both["experiments"]
    assert both["panels"] == 1
    (row,) = [
        row
        for row in csv.DictReader((tmp_path / "both" / "tables" / "swap_ith.csv").open())
        if row["i"] == "1"
    ]
    assert float(row["minus_soft_final_mean"]) == pytest.approx(-0.6 * SOFT[10, 13])


def test_what_was_asked_for_and_did_not_run_is_a_row_that_says_so():
    asked = varied({"swap-ith:1": 0.4, "swap-ith:2": 0.6}, "transform", ipcs=[10])
    records = [*plain(), *asked[:3]]
    finding = found_in(records, asked=[*records, *asked])["swap-ith"]
    (table,) = finding.tables
    texts = {row[2].text: row[4].text for row in table.view.rows}
    assert texts["2"] == "not run"
    assert texts["1"] != "not run"


def test_what_is_outstanding_is_not_called_not_asked_for():
    left_out = [*grid({(50, 4): 0.3, (50, 41): 0.3, (50, None): 0.3, (10, None): 0.1})]
    left_out += grid({(5, 41): 0.2})
    places = {(each["cell"]["ipc"], each["cell"]["expert_epoch"]) for each in left_out}
    records = [
        each
        for each in plain()
        if (each["cell"]["ipc"], each["cell"]["expert_epoch"]) not in {*places, (50, 13)}
    ]
    found = found_in(records, asked=[*records, *left_out])

    def row(experiment, first):
        rows = found[experiment].tables[0].view.rows
        (texts,) = [[e.text for e in row] for row in rows if row[0].text == first]
        return texts

    assert row("baseline", "50")[1:5] == ["not run"] * 4
    assert row("baseline", "10")[4] == "not run"
    assert row("baseline", "100")[1:5] == ["·"] * 4
    assert row("worth", "10")[3] == "not run"
    # IPC 1, 5 and 10 at epoch 41.
    assert row("expert-quality", "41")[4] == "not run"
    assert "not run" not in (*row("expert-quality", "41")[3::2], *row("expert-quality", "13"))


def test_the_spread_of_a_baseline_is_explained_where_every_variant_has_one_run():
    records = [*plain(), *varied({"swap-ith:1": 0.4}, "transform", ipcs=[10], seeds=[0])]
    (table,) = found_by("swap-ith", records).tables
    assert any("±" in entry.text for row in table.view.rows for entry in row)
    assert any("population standard deviation" in line for line in table.view.legend)
    alone = [*grid({(10, 13): 0.3, (10, None): 0.1}, [0]), *records[-1:]]
    (table,) = found_by("swap-ith", alone).tables
    assert any("no spread is given" in line for line in table.view.legend)


def test_what_labels_are_worth_is_computed_once_for_the_whole_report(tmp_path, monkeypatch):
    asked, compute = [], weighing.worth_in_images

    def counted(*given, **options):
        asked.append(given)
        return compute(*given, **options)

    monkeypatch.setattr(weighing, "worth_in_images", counted)
    summary = write_report([write_sweep(tmp_path / "s", plain())], tmp_path / "r")
    assert any("one soft label is worth" in text for text in summary["headline"])
    assert {"worth", "claims"} <= set(summary["experiments"])
    assert len(asked) == 1


def test_a_longer_student_does_not_take_the_main_grid_apart(tmp_path):
    longer = grid({(10, 13): 0.5}, student=student(epochs=30_000))
    summary = write_report([write_sweep(tmp_path / "s", [*plain(), *longer])], tmp_path / "r")
    assert summary["panels"] == 1
    assert "students" in summary["experiments"]
    assert any("epochs 4 →" in text or "epochs" in text for text in summary["headline"])


def test_a_transform_that_no_experiment_knows_has_a_table(all_found):
    rows = rows_of(all_found["other-labels"], "other_labels")
    assert {row["labels"] for row in rows} >= {
        "smoothing 0.1",
        "temperature 2.0, then top k 4",
        "mean of epochs 4, 13",
    }


def test_conditions_of_records_that_do_not_mention_an_axis_are_the_same():
    old = parse_trial(trial(1, 13, 0.1))
    new = parse_trial(trial(1, 13, 0.2, seed=1, cell={"selection": "random", "transform": "soft"}))
    (condition,) = conditions_of([old, new], [])
    assert len(condition.cell.trials) == 2


def test_steps_of_a_composition_are_told_apart():
    assert steps_of("temperature:2.0+top-k:4,keep") == [
        ("temperature", ("2.0",)),
        ("top-k", ("4", "keep")),
    ]


def test_latex_escapes_what_latex_would_read():
    finding = found_in([*plain(), *varied({"a_b%&{}": 0.9}, "transform")])["other-labels"]
    text = textual.to_latex([(t.view.title, t.view) for t in finding.tables])
    assert r"a\_b\%\&\{\}" in text
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert not re.search(r"(?<!\\)[%_#]", "\n".join(body))
    assert r"$\pm$" in text
    widths = {len(re.split(r"(?<!\\)&", line)) for line in body if line.endswith(r"\\")}
    assert len(widths) == 2  # the groups' row, and all others


def test_the_page_has_every_section_and_every_number_its_trials(tmp_path):
    names = [f"<b>{i}</b>" for i in range(100)]
    sweep = write_sweep(tmp_path / "s", everything(), experts=experts(), dataset={"classes": names})
    plan = write_report([sweep], tmp_path / "r", dry_run=True)
    summary = write_report([sweep], tmp_path / "r")
    assert {**plan, "dry_run": False} == summary
    page = (tmp_path / "r" / "index.html").read_text()
    for experiment in summary["experiments"]:
        assert f'<section id="{experiment}">' in page
        assert f'href="#{experiment}"' in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert "<b>7</b>" not in page
    for name in summary["files"]:
        if name.endswith((".csv", ".md", ".tex")):
            assert (tmp_path / "r" / name).read_text()


def test_the_same_experiments_give_the_same_bytes(tmp_path):
    records = [*plain(), *varied({"swap-ith:1": 0.4, "residual": 0.5}, "transform")]
    sweep = write_sweep(tmp_path / "s", records, experts=experts())
    files = write_report([sweep], tmp_path / "a")["files"]
    backwards = write_sweep(tmp_path / "b" / "s", records[::-1], experts=experts()[::-1])
    write_report([backwards], tmp_path / "c")
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()
