"""Each experiment's numbers: what it compares its trials with, and what it says of them."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from report_every_experiment import (
    EPOCHS,
    HARD,
    SOFT,
    SWAPPED,
    plain,
    student,
    varied,
    zero_shot,
)
from report_findings import found_by, found_in, lines_of, results_of, rows_of
from report_others import learned
from report_synthetic_sweep import grid

from engine.analysis.bootstrap import Interval
from engine.analysis.scaling_law import fit_laws
from engine.report.experiments import laws
from engine.report.experiments.evidence import evidence_of
from engine.report.experiments.registry import EXPERIMENTS, run_experiments


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


def test_differences_are_paired_with_the_baseline_of_the_same_cell(all_found):
    rows = rows_of(all_found["shuffle-tail"], "shuffle_tail")
    (row,) = [row for row in rows if row["ipc"] == "10" and row["labels"] == "shuffled"]
    assert float(row["minus_soft_final_mean"]) == pytest.approx(-0.5 * SOFT[10, 13])
    assert float(row["minus_hard_final_mean"]) == pytest.approx(0.5 * SOFT[10, 13] - HARD[10])
    # Two seeds more were run of the baseline; the pairs are what both have.
    assert (row["minus_soft_final_pairs"], row["n"]) == ("3", "3")
    assert len(row["soft_trials"].split()) == 5


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


def test_generated_labels_stand_beside_the_best_expert_epoch(all_found):
    rows = rows_of(all_found["generated"], "generated")
    at = {(row["ipc"], row["true-class_mass"]): row for row in rows}
    best = max(EPOCHS, key=lambda epoch: SOFT[10, epoch])
    own = at["10", "0.8"]
    assert own["expert_epoch"] == ""
    assert float(own["minus_soft_final_mean"]) == pytest.approx(
        (1 - 0.08) * HARD[10] - SOFT[10, best]
    )


def test_generated_labels_end_at_hard_labels_of_the_same_seeds():
    more_seeds = grid({(10, None): HARD[10] + 0.2}, (7, 8))
    invented = varied({"generated:0.8": 0.9}, "transform", ipcs=[10], epoch=None)
    finding = found_in([*plain(), *more_seeds, *invented])["generated"]
    lines = lines_of(finding.pictures[0])
    ((xs, ys),) = [line for gid, line in lines.items() if not gid.endswith("-published")]
    assert xs == [0.8, 1.0]
    assert ys[1] == pytest.approx(100 * (HARD[10] + 0.002))


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


def test_the_best_learning_rate_stands_beside_the_published_one(all_found):
    rows = rows_of(all_found["learning-rate"], "learning_rate_best")
    assert {row["student_lr"] for row in rows} == {"0.01"}
    assert {row["published_ConvNetD3_student_lr"] for row in rows} == {"0.01"}
    assert {row["published_ConvNetD3_expert_epoch"] for row in rows} == {"13", "36"}


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


def test_outer_losses_are_means_over_a_tenth_of_the_steps_and_students_lengths_are_named():
    losses = [9.0, 1.0, *[5.0] * 16, 3.0, 0.5]
    history = [{"step": step, "outer_loss": loss} for step, loss in enumerate(losses, 1)]
    history[0] |= {"validation_accuracy": 0.05, "student_epochs": 300}
    history[9] |= {"validation_accuracy": 0.04, "student_epochs": 60}
    (one,) = [each for each in EXPERIMENTS if each.name == "learned-labels"]
    results = results_of(plain())
    of = evidence_of(results, ("final", "test"), learned=(learned(history=tuple(history)),))
    finding = one.find(of)
    (row,) = rows_of(finding, "learned_labels")
    assert (row["outer_loss_first_tenth"], row["outer_loss_last_tenth"]) == ("5.0", "1.75")
    assert (row["validation_accuracy_last"], row["student_epochs_last"]) == ("0.04", "60")
    assert not any("held-out" in line for line in finding.tables[0].view.legend)


def test_an_end_of_an_interval_that_is_the_bound_of_the_search_is_marked(monkeypatch):
    ends = {"a": (0.3, 0.2, 1.0), "b": (0.0, 0.0, 0.9999), "c": (0.5, 0.4, 0.6)}

    def fitted(points, **_):
        (fit,) = [each for each in fit_laws(points) if each.form == "data only"]
        return [
            replace(
                fit,
                parameters={
                    name: Interval(mean=mean, low=low, high=high)
                    for name, (mean, low, high) in ends.items()
                },
            )
        ]

    monkeypatch.setattr(laws, "fit_laws", fitted)
    finding = found_by("scaling-law", plain())
    rows = {row["parameter"]: row for row in rows_of(finding, "scaling_law_parameters")}
    assert {name: row["at_bound"] for name, row in rows.items()} == {
        "a": "ci_high",
        "b": "value ci_low",
        "c": "",
    }
    table = finding.tables[1].view
    assert [[entry.text for entry in row] for row in table.rows] == [
        ["a", "0.300", "0.200 to 1.000 (bound)"],
        ["b", "0.000 (bound)", "0.000 (bound) to 1.000"],
        ["c", "0.500", "0.400 to 0.600"],
    ]
    assert any(line.startswith("Bound: the bound of the search") for line in table.legend)


def test_one_label_is_worth_as_many_images_as_hard_labels_need(all_found):
    rows = {row["ipc"]: row for row in rows_of(all_found["worth"], "worth_in_images")}
    hard = [(np.log(ipc), value) for ipc, value in HARD.items()]
    best = max(SOFT[10, epoch] for epoch in EPOCHS)
    logs, values = zip(*hard, strict=True)
    expected = np.exp(np.interp(best, values, logs)) / 10
    assert float(rows["10"]["images_per_label"]) == pytest.approx(expected, rel=0.02)


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
