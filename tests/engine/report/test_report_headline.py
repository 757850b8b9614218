"""The cards of the first screen: what they say and where they lead."""

from __future__ import annotations

import re

import pytest
from report_every_experiment import everything, experts
from report_synthetic_sweep import grid, trial, write_sweep

from engine.report import write_report

RUN, VERDICTS = "What was run", "How the verdicts are made"
GROWING = {(1, 5): 0.2, (1, 13): 0.1, (10, 5): 0.1, (10, 13): 0.3}


def test_settings_of_which_nothing_ran_do_not_hide_how_sure_the_best_epochs_are(tmp_path):
    waiting = [trial(1, 5, 0, cell={"lr": lr}) for lr in (0.001, 0.5)]
    sweep = write_sweep(tmp_path / "s", grid(GROWING), asked=[*grid(GROWING), *waiting])
    summary = write_report([sweep], tmp_path / "r")
    (card,) = summary["headline"]
    assert card.startswith("epochs 5 → 13 of the expert are best at IPC 1 and 10")
    assert "The seeds establish a rise from IPC 1 to IPC 10 at 95 %" in card
    page = (tmp_path / "r" / "index.html").read_text()
    assert '<a class="card" href="#panel-1">' in page


def test_every_link_within_the_page_leads_somewhere(tmp_path):
    sweep = write_sweep(tmp_path / "s", everything(), experts=experts())
    write_report([sweep], tmp_path / "r")
    page = (tmp_path / "r" / "index.html").read_text()
    links = set(re.findall(r'(?<!xlink:)href="#([^"]+)"', page))
    assert {"worth", "panel-1", "claims"} <= links
    assert links <= set(re.findall(r'id="([^"]+)"', page))


@pytest.mark.parametrize(
    ("held_out", "seen"),
    [
        (True, "no expert was trained on them"),
        (False, "an expert was trained on them, too"),
        (None, "whether an expert was trained on them is not recorded"),
    ],
)
def test_without_a_test_split_every_number_says_of_which_images_it_is(tmp_path, held_out, seen):
    records = [
        trial(ipc, epoch, None, validation=level + 0.002 * seed, seed=seed)
        for (ipc, epoch), level in {**GROWING, (1, None): 0.05, (10, None): 0.15}.items()
        for seed in (0, 1, 2)
    ]
    head = {"name": "cifar100-d3-s0", "run_id": "e" * 16, "epochs": {"5": {}, "13": {}}}
    sweep = write_sweep(
        tmp_path / "s",
        records,
        dataset={"num_validation": 5000},
        experts=[head if held_out is None else head | {"held_out": held_out}],
    )
    cards = write_report([sweep], tmp_path / "r")["headline"]
    assert len(cards) == 3
    assert all("On validation images, for want of a test split." in card for card in cards)
    told = (
        "No test split: accuracies are of the 5,000 validation images that also chose the expert "
        f"epoch; {seen}."
    )
    claims = (tmp_path / "r" / "claims.md").read_text()
    run, rules = (claims.split(f"## {name}")[1].split("## ")[0] for name in (RUN, VERDICTS))
    assert told in run
    assert told in rules
    assert told in (tmp_path / "r" / "index.html").read_text()


def test_with_a_test_split_nothing_is_said_of_validation_images(tmp_path):
    sweep = write_sweep(tmp_path / "s", grid(GROWING))
    (card,) = write_report([sweep], tmp_path / "r")["headline"]
    assert "want of" not in card
    assert "No test split" not in (tmp_path / "r" / "claims.md").read_text()


def lead_of(folder, records):
    write_report([write_sweep(folder / "s", records)], folder / "r")
    (lead,) = re.findall(r'<p class="lead">(.*?)</p>', (folder / "r" / "index.html").read_text())
    return lead


def test_hard_labels_are_announced_where_they_are_of_the_same_images(tmp_path):
    soft = grid({(1, 5): 0.1})
    invented = grid({(1, None): 0.1}, cell={"transform": "generated:0.9"})
    elsewhere = grid({(1, None): 0.1}, seeds=(7, 8))
    lead = lead_of(tmp_path / "a", [*soft, *invented, *elsewhere])
    assert lead == "Students trained on 1 image per class with soft labels of cifar100-d3-s0."
    for name, transform in ("b", None), ("c", "hard"):
        cell = {} if transform is None else {"transform": transform}
        lead = lead_of(tmp_path / name, [*soft, *grid({(1, None): 0.1}, cell=cell)])
        assert lead.endswith(", beside the same images with hard labels.")


def test_an_ipc_of_hard_labels_alone_is_not_announced_as_one_of_soft_labels(tmp_path):
    soft = grid({(ipc, 5): 0.1 for ipc in (1, 10)})
    hard = grid({(ipc, None): 0.05 for ipc in (1, 10, 20, 50)})
    invented = grid({(100, None): 0.1}, cell={"transform": "generated:0.9"})
    assert lead_of(tmp_path / "a", [*soft, *hard, *invented]) == (
        "Students trained on 1 and 10 images per class with soft labels of cifar100-d3-s0, beside "
        "the same images with hard labels; on 20 and 50 with hard labels alone; on 100 with labels "
        "that no expert made alone."
    )
    assert lead_of(tmp_path / "b", grid({(1, None): 0.05})) == (
        "Students trained on 1 image per class with hard labels."
    )
