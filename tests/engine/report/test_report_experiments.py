"""Experiments: which trials they find, what they compare them with, and what they say."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from report_every_experiment import (
    EPOCHS,
    HARD,
    SOFT,
    SWAPPED,
    everything,
    experts,
    plain,
    student,
    varied,
    zero_shot,
)
from report_synthetic_sweep import asked_of, grid, trial, write_sweep

from engine.analysis import parse_trial
from engine.report import textual, write_report
from engine.report.experiments.conditions import conditions_of, key_of, steps_of
from engine.report.experiments.evidence import evidence_of
from engine.report.experiments.registry import EXPERIMENTS, run_experiments
from engine.report.sweeps import ExpertEpoch, Results


def results_of(records, *, asked=(), name="cifar100", classes=()):
    return Results(
        dataset_id="d" * 16,
        dataset_name=name,
        num_classes=100,
        sweeps=("s",),
        experts=tuple(
            ExpertEpoch(expert=each["name"], run_id=each["run_id"], epoch=int(epoch), **about)
            for each in experts()
            for epoch, about in each["epochs"].items()
        ),
        trials=tuple(parse_trial(record) for record in records),
        asked=tuple(asked_of(asked)),
        notes=(),
        classes=tuple(classes),
    )


def evidence(records, **options):
    return evidence_of(results_of(records, **options), ("final", "test"))


def found_in(records, **options):
    """Findings by the experiment's name."""
    return {each.name: finding for each, finding in run_experiments(evidence(records, **options))}


def rows_of(finding, table):
    (found,) = [each for each in finding.tables if each.name == table]
    return list(csv.DictReader(io.StringIO(textual.to_csv(found.rows))))


def lines_of(picture):
    """The drawn figure's lines by gid."""
    figure = picture.draw()
    FigureCanvasAgg(figure).draw()
    return {
        line.get_gid(): (list(line.get_xdata()), list(line.get_ydata()))
        for axes in figure.axes
        for line in axes.lines
        if line.get_gid()
    }


@pytest.fixture(scope="module")
def all_found():
    return found_in(everything())


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
    assert names == {"claims", "worth", "expert-quality", "pareto", "scaling-law"}


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


def test_swaps_are_relative_to_the_same_runs_left_alone(all_found):
    finding = all_found["swap-ith"]
    lines = lines_of(finding.pictures[0])
    xs, ys = lines["ipc-10-epoch-13"]
    assert xs == sorted(SWAPPED)
    seeds = np.array([0, 1, 2])
    expected = [
        100 * np.mean((share * SOFT[10, 13] + 0.002 * seeds) / (SOFT[10, 13] + 0.002 * seeds))
        for _, share in sorted(SWAPPED.items())
    ]
    assert ys == pytest.approx(expected)
    assert "from i = 32 on at least 95 % remains" in " ".join(finding.sentences)


def test_published_points_lie_beside_ours_where_the_dataset_is_known(all_found):
    xs, ys = lines_of(all_found["swap-ith"].pictures[0])["ipc-10-epoch-13-published"]
    assert (xs[0], ys[0]) == (1, pytest.approx(34.5))
    swaps = varied({"swap-ith:1": 0.4}, "transform")
    elsewhere = found_in([*plain(), *swaps], name="flowers")
    assert "baseline" not in elsewhere
    for finding in elsewhere.values():
        for picture in finding.pictures:
            assert not [gid for gid in lines_of(picture) if "published" in gid]


def test_differences_are_paired_with_the_baseline_of_the_same_cell(all_found):
    rows = rows_of(all_found["shuffle-tail"], "shuffle_tail")
    (row,) = [row for row in rows if row["ipc"] == "10" and row["labels"] == "shuffled"]
    assert float(row["minus_soft_final_mean"]) == pytest.approx(-0.5 * SOFT[10, 13])
    assert float(row["minus_hard_final_mean"]) == pytest.approx(0.5 * SOFT[10, 13] - HARD[10])
    # Two seeds more were run of the baseline; the pairs are what both have.
    assert (row["minus_soft_final_pairs"], row["n"]) == ("3", "3")
    assert len(row["soft_trials"].split()) == 5


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


def test_without_a_baseline_nothing_is_compared():
    records = [
        *grid({(1, 4): 0.1}),
        *varied({"swap-ith:1": 0.4, "swap-ith:2": 0.6}, "transform", ipcs=[10]),
    ]
    finding = found_in(records)["swap-ith"]
    assert finding.sentences == (
        "No swap has both a run and soft labels left alone to compare it with.",
    )
    assert not finding.pictures
    assert all(row["minus_soft_final_mean"] == "" for row in rows_of(finding, "swap_ith"))


def test_what_was_asked_for_and_did_not_run_is_a_row_that_says_so():
    asked = varied({"swap-ith:1": 0.4, "swap-ith:2": 0.6}, "transform", ipcs=[10])
    records = [*plain(), *asked[:3]]
    finding = found_in(records, asked=[*records, *asked])["swap-ith"]
    (table,) = finding.tables
    texts = {row[2].text: row[4].text for row in table.view.rows}
    assert texts["2"] == "not run"
    assert texts["1"] != "not run"


def test_generated_labels_stand_beside_the_best_expert_epoch(all_found):
    rows = rows_of(all_found["generated"], "generated")
    at = {(row["ipc"], row["true-class_mass"]): row for row in rows}
    best = max(EPOCHS, key=lambda epoch: SOFT[10, epoch])
    own = at["10", "0.8"]
    assert own["expert_epoch"] == ""
    assert float(own["minus_soft_final_mean"]) == pytest.approx(
        (1 - 0.08) * HARD[10] - SOFT[10, best]
    )


def test_zero_shot_scores_the_class_that_was_taken_away_alone(all_found):
    rows = rows_of(all_found["zero-shot"], "zero_shot")
    scored = {row["taken_away"]: row for row in rows}
    assert float(scored["images"]["class_accuracy_mean"]) == pytest.approx(0.275)
    assert float(scored["images"]["minus_nothing_taken_away_mean"]) == pytest.approx(-0.325)
    assert float(scored["images, hard labels"]["class_accuracy_mean"]) == 0
    assert float(scored["both"]["class_accuracy_mean"]) == pytest.approx(0.01)
    named = found_in(zero_shot(), classes=[f"kind {i}" for i in range(100)])
    assert "kind 7" in " ".join(named["zero-shot"].sentences)


def test_zero_shot_without_accuracies_by_class_says_so():
    finding = found_in([*plain(), *varied({"drop-class:7": 1.0}, "selection")])["zero-shot"]
    assert "nothing can be scored" in finding.sentences[0]
    assert not finding.pictures


def test_other_students_are_compared_with_the_main_one_of_their_ipc(all_found):
    rows = rows_of(all_found["students"], "students")
    (row,) = [row for row in rows if "resnet18" in row["student"]]
    assert float(row["minus_soft_final_mean"]) == pytest.approx(-0.2 * SOFT[10, 13])
    assert any("epochs 300" in row["student"] for row in rows)
    (mixed,) = [
        row for row in rows_of(all_found["cutmix"], "cutmix") if row["augmentation"] == "cutmix"
    ]
    assert float(mixed["minus_soft_final_mean"]) == pytest.approx(-0.05 * SOFT[10, 13])


def test_a_longer_student_does_not_take_the_main_grid_apart(tmp_path):
    longer = grid({(10, 13): 0.5}, student=student(epochs=30_000))
    summary = write_report([write_sweep(tmp_path / "s", [*plain(), *longer])], tmp_path / "r")
    assert summary["panels"] == 1
    assert "students" in summary["experiments"]
    assert any("epochs 4 →" in text or "epochs" in text for text in summary["headline"])


def test_the_best_learning_rate_stands_beside_the_published_one(all_found):
    rows = rows_of(all_found["learning-rate"], "learning_rate_best")
    assert {row["student_lr"] for row in rows} == {"0.01"}
    assert {row["published_ConvNetD3_student_lr"] for row in rows} == {"0.01"}
    assert {row["published_ConvNetD3_expert_epoch"] for row in rows} == {"13", "36"}


def test_a_transform_that_no_experiment_knows_has_a_table(all_found):
    rows = rows_of(all_found["other-labels"], "other_labels")
    assert {row["labels"] for row in rows} >= {
        "smoothing 0.1",
        "temperature 2.0, then top k 4",
        "mean of epochs 4, 13",
    }


def test_two_experts_tell_their_part_of_the_scatter(all_found):
    rows = rows_of(all_found["robustness"], "variance_split")
    assert {row["experts"] for row in rows} == {"2"}
    # Both experts' students have the same accuracies, seed by seed, 0.2 points apart; a seed
    # changes subset and initialisation together, so these two are one source.
    (row,) = [row for row in rows if (row["ipc"], row["expert_epoch"]) == ("5", "13")]
    assert float(row["std_expert"]) == pytest.approx(0, abs=1e-9)
    assert (row["std_subset"], row["std_initialisation"]) == ("", "")
    assert float(row["std_total"]) == pytest.approx(0.002)
    (text,) = all_found["robustness"].sentences
    assert "initialisation and subset together" in text


def test_without_a_test_split_differences_are_of_validation_accuracies():
    records = [*plain(), *varied({"shuffle-tail": 0.5}, "transform")]
    for record in records:
        result = record["result"]
        for name in ("final", "selected"):
            result[name] = {**result[name], "test": None}
        result["max_on_test"] = None
    found = run_experiments(evidence_of(results_of(records), ("final", "validation")))
    (finding,) = [finding for each, finding in found if each.name == "shuffle-tail"]
    assert all("no run to compare with" not in text for text in finding.sentences)
    (row,) = [
        row
        for row in rows_of(finding, "shuffle_tail")
        if row["ipc"] == "10" and row["labels"] == "shuffled"
    ]
    assert float(row["minus_soft_final_mean"]) == pytest.approx(-0.5 * SOFT[10, 13])


def test_learning_rates_are_compared_over_the_seeds_that_all_have():
    usual = grid({(10, 13): 0.10, (10, 4): 0.09}, (0, 1, 2, 30))
    other = grid({(10, 13): 0.11}, (0, 1, 2), cell={"lr": 0.05}, student=student(lr=0.05))
    (text,) = found_in([*usual, *other])["learning-rate"].sentences
    assert "is 0.05, by validation accuracy; it is the largest one tried" in text


def test_too_few_ipcs_for_a_law_are_said_to_be_too_few():
    few = {(ipc, epoch): SOFT[ipc, epoch] for ipc in (1, 10) for epoch in EPOCHS}
    finding = found_in(grid(few))["scaling-law"]
    assert finding.sentences == ("Too few points for a law: 2 of the 3 IPCs that it takes.",)
    assert not finding.tables


def test_one_label_is_worth_as_many_images_as_hard_labels_need(all_found):
    rows = {row["ipc"]: row for row in rows_of(all_found["worth"], "worth_in_images")}
    hard = [(np.log(ipc), value) for ipc, value in HARD.items()]
    best = max(SOFT[10, epoch] for epoch in EPOCHS)
    logs, values = zip(*hard, strict=True)
    expected = np.exp(np.interp(best, values, logs)) / 10
    assert float(rows["10"]["images_per_label"]) == pytest.approx(expected, rel=0.02)


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


def test_hard_labels_on_the_same_chosen_images_are_found_by_the_epoch_they_name():
    records = [
        *plain(),
        *varied({"difficulty:9": 0.8}, "selection", ipcs=[10]),
        *varied({"difficulty:9@13": 0.5}, "selection", ipcs=[10], epoch=None),
    ]
    rows = rows_of(found_in(records)["selection"], "selection")
    (row,) = [row for row in rows if row["selection"] == "decile 9"]
    assert float(row["minus_hard_final_mean"]) == pytest.approx(0.8 * SOFT[10, 13] - 0.5 * HARD[10])


def test_columns_of_the_expert_are_left_out_where_only_hard_labels_lack_them():
    records = [*plain(), *varied({"herding": 0.8}, "selection", ipcs=[10])]
    records += varied({"herding@13": 0.5}, "selection", ipcs=[10], epoch=None)
    (table,) = found_in(records)["selection"].tables
    assert table.view.columns[:4] == ("IPC", "expert epoch", "selection", "n")


def test_an_invented_label_stands_beside_the_first_experts_labels():
    others = grid({(10, 13): 0.5}, (0, 1, 2), cell={"expert": "cifar100-d3-s1"})
    invented = varied({"generated:0.8": 0.9}, "transform", ipcs=[10], epoch=None)
    rows = rows_of(found_in([*plain(), *others, *invented])["generated"], "generated")
    (row,) = [row for row in rows if row["true-class_mass"] == "0.8"]
    best = max(SOFT[10, epoch] for epoch in EPOCHS)
    assert float(row["minus_soft_final_mean"]) == pytest.approx(0.9 * HARD[10] - best)


def test_the_best_expert_is_told_with_what_its_students_gain(all_found):
    (text,) = [t for t in all_found["expert-quality"].sentences if "At IPC 1 " in t]
    assert re.search(r"not the most accurate one’s .*; its students are \d", text)
