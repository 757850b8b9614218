"""What experiments say where runs are there and what they would be compared with is not."""

from __future__ import annotations

import pytest
from report_every_experiment import SOFT, plain, student, varied, zero_shot
from report_findings import found_by
from report_synthetic_sweep import grid

MAIN = [{**record, "student": student(augmentation="dsa")} for record in plain()]
"""The main grid, of expert epochs 4, 13 and 41."""

USUAL = {"student": student(augmentation="dsa")}
SOFTENED = {**USUAL, "cell": {"temperature": 4.0}}


@pytest.mark.parametrize(
    ("name", "options", "epoch", "said"),
    [
        (
            "students",
            {"student": student(augmentation="dsa", epochs=300)},
            36,
            "At IPC 10 there is no run of the main student with labels of expert epoch 36 to "
            "compare with: epochs 300 reaches 33.2 ± 0.2 %.",
        ),
        (
            "students",
            {"student": student(augmentation="dsa", epochs=300, batch_size=64)},
            None,
            "At IPC 10 there is no run of the main student with hard labels to compare with: "
            "batch size 64, epochs 300, hard labels reaches 33.2 ± 0.2 %.",
        ),
        (
            "cutmix",
            {"student": student(augmentation="cutmix")},
            36,
            "At IPC 10 there is no run of the usual augmentation with labels of expert epoch 36 to "
            "compare with: cutmix reaches 33.2 ± 0.2 %.",
        ),
        (
            "temperature",
            SOFTENED,
            36,
            "At IPC 10 there is no run of expert epoch 36 at the labels’ own temperature to "
            "compare with: epoch 36 at temperature 4 reaches 33.2 ± 0.2 %.",
        ),
        (
            "learning-rate",
            {"student": student(augmentation="dsa", lr=0.05), "cell": {"lr": 0.05}},
            36,
            "At IPC 10 there is no run at another rate with labels of expert epoch 36 to compare "
            "with: rate 0.05 reaches 33.2 ± 0.2 %.",
        ),
    ],
)
def test_finished_runs_without_a_baseline_are_told_with_their_accuracy(name, options, epoch, said):
    main = [each for each in MAIN if each["cell"]["expert_epoch"] is not None]
    finding = found_by(name, [*main, *grid({(10, epoch): 0.33}, **options)])
    assert finding.sentences == (said,)


def test_what_has_a_baseline_is_told_where_something_else_has_none():
    options = {"student": student(augmentation="dsa", epochs=300)}
    records = grid({(10, 13): SOFT[10, 13] - 0.1, (10, 36): 0.33}, **options)
    (said,) = found_by("students", [*MAIN, *records]).sentences
    assert said.startswith("At IPC 10, epoch 13, against the main student: epochs 300 ")


def test_the_best_softened_label_is_not_called_the_usual_one_for_want_of_that():
    (said,) = found_by(
        "temperature", [*MAIN, *grid({(10, 36): 0.3, (10, 37): 0.2}, **SOFTENED)]
    ).sentences
    assert "is epoch 36 at temperature 4; " in said
    assert said.endswith("it can’t be compared: there is no run to compare with.")


def test_selections_with_hard_labels_alone_are_told():
    records = varied({"herding": 0.5}, "selection", ipcs=[10], epoch=None)
    (said,) = found_by("selection", [*plain(), *records]).sentences
    assert said.startswith("At IPC 10, the selection (herding, hard labels) is ")
    assert "below" in said


def test_a_class_that_is_taken_from_the_labels_alone_is_told():
    column = [each for each in zero_shot() if each["cell"].get("selection", "random") == "random"]
    finding = found_by("zero-shot", [*plain(), *column])
    assert finding.sentences == (
        "With soft labels that give a class no probability on images of others, students recognise "
        "50.0 % of its test images (chance: 1.0 %).",
    )


def test_hard_labels_of_other_images_are_not_said_to_be_missing():
    records = varied({"herding": 0.8}, "selection", ipcs=[10])
    (table,) = found_by("selection", [*plain(), *records]).tables
    assert "no hard labels of the same IPC, images and student" in " ".join(table.view.legend)
