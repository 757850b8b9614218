"""Recommendations, from sweeps that follow a known law and from the published grid."""

from __future__ import annotations

import json
import shlex
import shutil

import pytest
from advice_sweeps import EPOCHS, IPCS, lawful, record, true_best_epoch, write_sweep

import engine
from beton_builder import open_dataset
from cli.main import main
from engine.advice import costs as costs_module
from engine.advice import recommendation
from engine.advice.costs import Costs, costs_at, student_plans
from engine.advice.evidence import published_evidence
from engine.advice.suggestion import suggest
from engine.analysis import fit_laws
from engine.errors import ArtefactError, MismatchError, UsageError
from engine.sweep.planning.grid import load_grids
from engine.training.optimise import Schedule

QUICK = {"student.model": "convnet-d2-w8", "student.epochs": 40, "student.precision": "fp32"}


@pytest.fixture
def sweep_of(small_data, tmp_path):
    """`sweep_of(records)` writes them as a sweep of the small dataset."""
    numbers = iter(range(100))
    own = open_dataset(small_data).id

    def write(records, dataset=own):
        return write_sweep(tmp_path / f"sweep-{next(numbers)}", records, dataset=dataset)

    return write


@pytest.mark.parametrize("ipc", [1, 7, 20])
def test_the_law_behind_a_sweep_is_found_at_ipcs_measured_and_between(small_data, sweep_of, ipc):
    found = engine.recommend(small_data, ipc, sweeps=[sweep_of(lawful())])
    truth = true_best_epoch(ipc)
    assert found["expert_epoch"] == pytest.approx(truth, rel=0.15, abs=1)
    assert found["expert_epoch_low"] <= found["expert_epoch"] <= found["expert_epoch_high"]
    assert found["extrapolates"] is None
    assert found["accuracy"] == pytest.approx(0.6 - 0.35 * ipc**-0.4, abs=0.01)
    assert found["forms"][0]["held_out_error"] < 0.5


def test_it_names_the_trials_and_sweeps_that_it_rests_on(small_data, sweep_of):
    first, second = lawful(ipcs=(1, 5)), lawful(ipcs=(10, 50))
    folders = [sweep_of(first), sweep_of(second)]
    rests_on = engine.recommend(small_data, 5, sweeps=folders)["rests_on"]
    assert sorted(rests_on["trial_ids"]) == sorted(each["id"] for each in first + second)
    assert rests_on["sweeps"] == [folder.name for folder in folders]
    assert (rests_on["ipcs"], rests_on["expert_epochs"]) == (list(IPCS), list(EPOCHS))
    assert not rests_on["published"]


def test_an_ipc_beyond_the_measured_ones_is_marked_as_extrapolated(small_data, sweep_of):
    found = engine.recommend(small_data, 30, sweeps=[sweep_of(lawful(ipcs=(1, 2, 5, 10)))])
    assert "IPC 30 lies outside 1 to 10" in found["extrapolates"]
    assert "extrapolation" in found["message"]


def test_without_an_optimum_near_the_measured_epochs_the_last_of_them_is_a_bound(
    small_data, sweep_of
):
    found = engine.recommend(small_data, 30, sweeps=[sweep_of(lawful(epochs=(2, 3, 4, 6)))])
    assert found["expert_epoch"] == 6  # the true one is 29
    assert found["expert_epoch_high"] is None
    assert found["expert_epoch_low"] in range(2, 7)
    assert found["expert_epoch_by_forms"] == [6, 6]  # all searched where the first one was
    assert found["message"].startswith("Expert epoch at least 6")
    assert "to 6)" not in found["message"]
    assert "the best may well lie later" in found["message"]
    first = found["forms"][0]
    assert (first["best_epoch"], first["high"], first["at_edge"]) == (6, None, "last")


def test_an_end_of_an_interval_that_the_search_did_not_reach_is_no_number():
    found = suggest(fit_laws(published_evidence().points, resamples=50), 115)
    assert found.optimum.at_edge is None
    assert found.epoch < found.optimum.searched[1] == 250
    assert found.epochs[1] is None


def test_the_best_of_several_learning_rates_is_suggested_with_those_that_may_be(
    small_data, sweep_of
):
    good = lawful(lr=0.01)
    worse = [
        {**each, "result": json.loads(json.dumps(each["result"]).replace("0.", "0.0"))}
        for each in lawful(lr=0.1)
    ]
    found = engine.recommend(small_data, 10, sweeps=[sweep_of([*good, *worse])])
    assert found["learning_rate"] == 0.01
    assert found["learning_rates_tried"] == [0.01, 0.1]
    assert any("0.01 may be the best" in note for note in found["notes"])
    # The other rate's trials are no part of the law.
    assert set(found["rests_on"]["trial_ids"]) == {each["id"] for each in good}


def test_a_single_learning_rate_is_said_to_be_the_only_one_tried(small_data, sweep_of):
    found = engine.recommend(small_data, 7, sweeps=[sweep_of(lawful())])
    assert any("0.01 is the only one that was tried at IPC 5" in note for note in found["notes"])


def test_without_sweeps_the_published_grid_is_used_and_said_to_be_another_datasets(small_data):
    found = engine.recommend(small_data, 10)
    assert found["rests_on"]["published"]
    assert found["rests_on"]["trial_ids"] == []
    assert any("another dataset: CIFAR-100" in note for note in found["notes"])
    assert found["learning_rate"] == 0.01
    assert 20 <= found["expert_epoch"] <= 70
    assert "expects" not in found["message"]  # another dataset's accuracy means nothing here


def test_a_sweep_too_small_for_a_law_falls_back_on_the_published_grid(small_data, sweep_of):
    found = engine.recommend(small_data, 10, sweeps=[sweep_of(lawful(ipcs=(10,)))])
    assert found["rests_on"]["published"]
    assert any("too few cells" in note and "found 1 × 6" in note for note in found["notes"])


def test_hard_labels_and_epoch_0_are_no_part_of_the_law(small_data, sweep_of):
    records = lawful()
    others = [record(10, None, 0, 0.1), record(10, 0, 0, 0.02)]
    found = engine.recommend(small_data, 10, sweeps=[sweep_of([*records, *others])])
    assert set(found["rests_on"]["trial_ids"]) == {each["id"] for each in records}


def test_sweeps_of_another_dataset_are_refused_naming_both(small_data, sweep_of):
    own = open_dataset(small_data).id
    with pytest.raises(MismatchError, match=rf"{own}.*found other-data") as refused:
        engine.recommend(small_data, 10, sweeps=[sweep_of(lawful(), dataset="other-data")])
    assert "--sweep" in str(refused.value)


def test_what_is_no_sweep_is_refused(small_data, tmp_path):
    with pytest.raises(ArtefactError, match=r"expected a sweep"):
        engine.recommend(small_data, 10, sweeps=[tmp_path])


def test_more_images_than_a_class_has_and_no_time_are_refused(small_data):
    with pytest.raises(UsageError):
        engine.recommend(small_data, 1000)
    with pytest.raises(UsageError, match="expected a budget"):
        engine.recommend(small_data, 1, budget="soon")
    with pytest.raises(UsageError, match="1 or more"):
        engine.recommend(small_data, 0)


def test_a_budget_is_planned_at_the_pace_that_was_measured(small_data, sweep_of):
    found = engine.recommend(
        small_data, 5, budget="1h", sweeps=[sweep_of(lawful())], overrides=QUICK
    )
    plan = found["plan"]
    assert plan["expert_epochs"] == found["expert_epoch"]
    assert (plan["students"], plan["student_epochs"]) == (30, 40)  # ten times as many fit
    assert 0 < found["plan_seconds"]["total"] <= 3600
    assert found["whole"]["students"] == 3
    assert found["whole_seconds"]["expert"] == found["plan_seconds"]["expert"]
    assert "measured in fp32" in found["pace"]
    assert all(f"  {line}" in found["message"].splitlines() for line in found["commands"])


def test_without_an_optimum_near_the_first_epochs_measured_they_are_a_bound_from_above(
    small_data, sweep_of
):
    late = lawful(ipcs=(1, 2, 3, 4), epochs=(20, 30, 45, 60))
    found = engine.recommend(small_data, 1, sweeps=[sweep_of(late)])
    assert (found["expert_epoch"], found["expert_epoch_low"]) == (20, None)  # the true one is 7
    assert found["message"].startswith("Expert epoch at most 20")


def test_the_commands_run_what_was_planned_for(small_data, tmp_path, sweep_of, monkeypatch):
    """With the network and optimiser of the sweeps, and what was set; in a folder with a blank."""
    data = tmp_path / "my data"
    shutil.copytree(small_data, data)
    optimiser = {"kind": "adamw", "momentum": 0.0, "weight_decay": 0.01}
    student = {
        "model": "convnet-d2-w16",
        "resolution": 8,
        "batch_size": 64,
        "optimiser": optimiser,
        "schedule": {"kind": "cosine", "factor": 0.1, "every": None, "horizon": 300},
        "evaluations": 3,
        "precision": "bf16",
    }
    planned = []

    def priced(dataset, plan, students, progress):
        planned.extend(plan(students, None))
        return Costs(
            expert_epoch=1.0,
            labels=1.0,
            students=lambda count, epochs: 0.05 * count * (epochs or 400),
            basis="made up",
        )

    monkeypatch.setattr(recommendation, "measured_costs", priced)
    found = engine.recommend(
        data,
        5,
        budget="65s",
        sweeps=[sweep_of(lawful(**student))],
        overrides={"student.epochs": "400", "student.augmentation": "cutmix", "seeds": "[7]"},
    )
    assert found["plan"]["reduced"] == "shorter students"
    typed = {}
    for command, line in zip(
        ("train_expert", "dump_labels", "sweep_students"), found["commands"], strict=True
    ):
        monkeypatch.setattr(
            engine, command, lambda command=command, **o: typed.update({command: o}) or {}
        )
        assert main(shlex.split(line)[1:]) == 0
        assert typed[command]["data"] == data.resolve()
    expert = typed["train_expert"]
    assert (expert["model"], expert["epochs"]) == ("convnet-d2-w16", found["expert_epoch"])
    assert expert["overrides"] == {"resolution": "8"}
    sweep = typed["sweep_students"]
    assert (sweep["ipc"], sweep["expert_epochs"]) == ([5], str(found["expert_epoch"]))
    assert sweep["seeds"] == list(range(found["plan"]["students"]))
    (grid,) = load_grids(None, sweep["overrides"])
    assert grid.labels == ["soft"]
    (own,) = grid.students_at(5)
    length = found["plan"]["student_epochs"]
    assert (own.epochs, own.lr, own.precision) == (length, found["learning_rate"], "auto")
    (like,) = {trial.student.model_copy(update={"lr": own.lr}) for trial in planned}
    schedule = Schedule(kind="cosine", factor=0.1).resolved(length)
    assert own == like.model_copy(update={"epochs": length, "schedule": schedule})
    assert own.optimiser.model_dump() | optimiser == own.optimiser.model_dump()
    assert own.augmentation == "cutmix"


def test_costs_follow_from_the_pace_and_the_number_of_images(small_data, monkeypatch):
    dataset = open_dataset(small_data)
    plans = student_plans(dataset, ipc=2, overrides=QUICK)
    trial = plans(1, None)[0]

    class Steady:
        """10 ms an image-batch of any size, 1 ms an evaluated image, nothing besides."""

        workers, trial_seconds = 2, 0.0

        def step_seconds(self, kind):
            return 0.01

        def evaluation_seconds(self, network):
            return 0.001

        def preparation_seconds(self, kinds):
            return 1.0

        def basis(self):
            return "made up"

    found = costs_at(Steady(), dataset, plans, side_by_side=2)
    images = dataset.split("train").num_samples
    evaluated = trial.dataset.evaluation_images
    assert found.labels == pytest.approx(images * 0.001 / 2)
    assert found.expert_epoch == pytest.approx((0.01 + evaluated * 0.001) / 2)  # one batch of 120
    # Three students on two workers: two rounds of 40 epochs of one step, with their evaluations.
    one = 40 * 0.01 + trial.evaluation_images * 0.001
    assert found.students(3, None) == pytest.approx(1.0 + 2 * one)
    assert found.students(2, 80) > found.students(2, 40)
    assert costs_module.SECONDS <= 2


def test_students_of_equal_steps_and_one_longer_student_are_one_grid(small_data, sweep_of):
    lengths = {1: 300, 5: 150, 10: 75, 50: 15}
    grid = lawful()
    for each in grid:
        each["student"]["epochs"] = lengths[each["cell"]["ipc"]]
    longer = [record(10, 24, seed, 0.9, epochs=3000, evaluations=15) for seed in range(3)]
    found = engine.recommend(small_data, 5, sweeps=[sweep_of([*grid, *longer])])
    assert set(found["rests_on"]["trial_ids"]) == {each["id"] for each in grid}
    assert found["rests_on"]["ipcs"] == list(IPCS)
    assert any("150 epochs at IPC 5, 75 epochs at IPC 10" in note for note in found["notes"])


def test_a_rate_tried_at_one_epoch_takes_no_epoch_from_the_law(small_data, sweep_of):
    grid = lawful()
    better = [record(10, 24, seed, 0.9, lr=0.05) for seed in range(3)]
    found = engine.recommend(small_data, 10, sweeps=[sweep_of([*grid, *better])])
    assert found["learning_rate"] == 0.05
    assert set(found["rests_on"]["trial_ids"]) == {each["id"] for each in grid}
    assert any("rests on learning rate 0.01" in note for note in found["notes"])


def test_rates_are_compared_at_the_epochs_that_all_have(small_data, sweep_of):
    # At epoch 80 the usual rate reaches 0.40, at its best one 0.46.
    for accuracy, best in ((0.38, 0.01), (0.42, 0.05)):
        other = [record(10, 80, seed, accuracy, lr=0.05) for seed in range(3)]
        found = engine.recommend(small_data, 10, sweeps=[sweep_of([*lawful(), *other])])
        assert found["learning_rate"] == best
