"""A halving on disk: a ledger of its own, the same decisions after any interruption."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import halving_cases
import pytest
from halving_cases import (
    NoOpRunner,
    answers,
    done_record,
    failed_record,
    grid,
    halve,
    new_ledger,
    pairs,
    plan,
    quality,
)
from plan_cases import STUDENT

import beton_builder
import engine
import labelstore
from engine.errors import ArtefactError, UsageError
from engine.records import read_record
from engine.sweep import Ledger, load_grids, plan_trials
from engine.sweep.executors.local import run_local
from engine.sweep.executors.trial_runner import RunnerFactory
from engine.sweep.halving.plan import plan_halving
from engine.sweep.halving.run import DECISIONS, halving_ledger, run_halving
from engine.sweep.planning.trial import Trial

WINNER = (0.01, 7)


def decisions_of(sweep: Path) -> bytes:
    return (halving_ledger(sweep).path / DECISIONS).read_bytes()


def test_it_runs_rung_after_rung_and_returns_the_trials_to_report(tmp_path: Path) -> None:
    halved, runner = halve(tmp_path, grid())
    assert [len(trials) for trials in runner.rounds] == [9, 3]
    assert (halved.ran, halved.failed, halved.unanswered) == (12, 0, [])
    assert pairs(halved.winners) == {WINNER}
    assert {t.student.epochs for t in halved.winners} == {90}


def test_short_trials_lie_apart_from_the_sweep(tmp_path: Path) -> None:
    _, runner = halve(tmp_path, grid())
    assert list(Ledger(tmp_path).records()) == []
    recorded = {record["id"] for record in halving_ledger(tmp_path).records()}
    assert recorded == {trial.id for trials in runner.rounds for trial in trials}
    assert recorded.isdisjoint(trial.id for trial in grid())


def test_a_finished_halving_runs_and_writes_nothing_again(tmp_path: Path) -> None:
    first, _ = halve(tmp_path, grid())
    before = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*") if f.is_file()}
    again, runner = halve(tmp_path, grid())
    assert (runner.rounds, again.ran) == ([], 0)
    assert (again.winners, again.rows) == (first.winners, first.rows)
    assert {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*") if f.is_file()} == before


@pytest.mark.parametrize("stop_after", range(13))
def test_an_interruption_in_any_rung_changes_nothing(tmp_path: Path, stop_after: int) -> None:
    whole, _ = halve(tmp_path / "whole", grid())
    ledger = new_ledger(tmp_path / "stopped")
    written = 0

    def run(trials: list[Trial]) -> None:
        nonlocal written
        for trial in random.Random(stop_after).sample(trials, len(trials)):
            if written == stop_after:
                raise KeyboardInterrupt
            ledger.write(done_record(trial, quality(trial)))
            written += 1

    with contextlib.suppress(KeyboardInterrupt):
        run_halving(plan(grid()), run=run, ledger=ledger)
    resumed, runner = halve(tmp_path / "stopped", grid())
    assert sum(len(trials) for trials in runner.rounds) == 12 - stop_after
    assert (resumed.winners, resumed.rows) == (whole.winners, whole.rows)
    assert decisions_of(tmp_path / "stopped") == decisions_of(tmp_path / "whole")


@pytest.mark.long
def test_killed_at_any_moment_it_repeats_nothing_and_decides_the_same(tmp_path: Path) -> None:
    whole, _ = halve(tmp_path / "whole", grid(ipcs=(1, 5, 10)))
    noted = tmp_path / "noted"
    noted.touch()
    command = [sys.executable, halving_cases.__file__, str(tmp_path / "killed"), str(noted)]
    for lines in (1, 35, 55, 66):  # rung 0 has 2 × 27 lines, rung 1 has 2 × 9
        process = subprocess.Popen(
            command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        )
        while process.poll() is None and noted.read_bytes().count(b"\n") < lines:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    resumed, _ = halve(tmp_path / "killed", grid(ipcs=(1, 5, 10)))
    times = Counter(line for line in noted.read_text().splitlines() if "recorded" in line)
    assert sum(times.values()) > 25
    assert set(times.values()) == {1}
    assert (resumed.winners, resumed.rows) == (whole.winners, whole.rows)
    assert decisions_of(tmp_path / "killed") == decisions_of(tmp_path / "whole")


def test_a_grid_that_grows_uses_the_short_trials_that_are_there(tmp_path: Path) -> None:
    halve(tmp_path, grid())
    grown, runner = halve(tmp_path, grid(expert_epochs=(4, 7, 10, 13)))
    ran = [len(trials) for trials in runner.rounds]
    assert ran[0] == 3
    assert pairs(grown.winners) == {WINNER}


def test_decisions_are_told_once_each_with_the_scores_behind_them(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    ledger = new_ledger(tmp_path)
    halving = plan(grid())
    for _ in range(2):
        run_halving(halving, run=NoOpRunner(ledger), ledger=ledger, on_decision=told.append)
    assert [(each["question"], each["rung"], each["epochs"]) for each in told] == [
        ("ipc 1, labels soft", 0, 10),
        ("ipc 1, labels soft", 1, 30),
    ]
    scores = answers(halving, quality)
    best = told[0]["candidates"][0]
    assert (best["lr"], best["expert_epoch"], best["kept"]) == (*WINNER, True)
    assert best["validation"] == scores[best["trials"][0]]
    (recorded,) = json.loads(decisions_of(tmp_path))["questions"]
    assert recorded["decisions"] == told
    assert recorded["winners"] == [{"lr": 0.01, "expert_epoch": 7}]


def test_decisions_are_rebuilt_from_the_records(tmp_path: Path) -> None:
    halve(tmp_path, grid())
    before = decisions_of(tmp_path)
    for content in (None, before[:100], before.replace(b"true", b"false")):
        file = halving_ledger(tmp_path).path / DECISIONS
        file.unlink() if content is None else file.write_bytes(content)
        _, runner = halve(tmp_path, grid())
        assert runner.rounds == []
        assert decisions_of(tmp_path) == before


def test_the_rows_are_a_readable_table(tmp_path: Path) -> None:
    halved, _ = halve(tmp_path, grid(), failing=lambda t: t.student.lr == 0.1)
    assert (halved.failed, len(halved.rows)) == (3, 12)
    assert halved.rows[0] == {
        "question": "ipc 1, labels soft",
        "rung": 0,
        "epochs": 10,
        "lr": 0.01,
        "expert_epoch": 7,
        "validation": pytest.approx(0.8 * 10 / 11),
        "kept": True,
    }
    failed = [row for row in halved.rows if row["validation"] is None]
    assert {row["lr"] for row in failed} == {0.1}
    assert not any(row["kept"] for row in failed)


def test_test_accuracies_are_never_read(tmp_path: Path) -> None:
    """Records whose test accuracies are misleading, broken or gone lead to the same decisions."""
    plain, _ = halve(tmp_path / "plain", grid())
    for kind in ("misleading", "broken", "gone"):
        ledger = new_ledger(tmp_path / kind)

        def run(trials: list[Trial], kind: str = kind, ledger: Ledger = ledger) -> None:
            for trial in trials:
                record = done_record(trial, quality(trial))
                for at in (record["result"]["final"], *record["result"]["evaluations"]):
                    if kind == "gone":
                        at.pop("test", None)
                    else:
                        at["test"] = 1 - quality(trial) if kind == "misleading" else "high"
                ledger.write(record)

        halved = run_halving(plan(grid()), run=run, ledger=ledger)
        assert (halved.winners, halved.rows) == (plain.winners, plain.rows)


def test_a_failed_trial_is_not_run_again(tmp_path: Path) -> None:
    def diverges(trial: Trial) -> bool:
        return trial.student.lr == 0.1

    first, _ = halve(tmp_path, grid(), failing=diverges)
    again, runner = halve(tmp_path, grid())
    assert runner.rounds == []
    assert (again.winners, again.failed) == (first.winners, 3)


def test_where_all_failed_they_are_tried_again_by_the_next_command(tmp_path: Path) -> None:
    trials = grid(ipcs=(1, 5))
    first, runner = halve(tmp_path, trials, failing=lambda t: t.ipc == 5)
    assert [len(each) for each in runner.rounds] == [18, 3]
    assert {t.ipc for t in first.winners} == {1}
    (why,) = first.unanswered
    assert why.startswith("ipc 5, labels soft: all 9 students of 10 epochs failed, such as ")
    assert why.endswith("TrainingDiverged: nan")
    again, runner = halve(tmp_path, trials)
    assert [len(each) for each in runner.rounds] == [9, 3]
    assert {t.ipc for t in again.winners} == {1, 5}
    assert again.unanswered == []


def test_a_damaged_record_is_run_again(tmp_path: Path) -> None:
    first, _ = halve(tmp_path, grid())
    file = next(halving_ledger(tmp_path).path.glob("trials/*/*.json"))
    file.write_bytes(file.read_bytes().replace(b"soft", b"sofa"))
    again, runner = halve(tmp_path, grid())
    assert [[trial.id for trial in trials] for trials in runner.rounds] == [[file.stem]]
    assert again.rows == first.rows


def test_a_record_without_validation_accuracy_is_refused(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)

    def run(trials: list[Trial]) -> None:
        for trial in trials:
            ledger.write(done_record(trial, None))

    with pytest.raises(UsageError, match="no validation accuracy"):
        run_halving(plan(grid()), run=run, ledger=ledger)


def test_an_executor_that_leaves_no_record_does_not_make_it_run_for_ever(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    with pytest.raises(ArtefactError, match="left no sound record of trial"):
        run_halving(plan(grid()), run=lambda trials: None, ledger=ledger)


def test_failures_that_only_the_sweep_has_play_no_part(tmp_path: Path) -> None:
    """A failed or finished reported trial says nothing to the halving."""
    sweep = Ledger(tmp_path)
    for trial in grid()[:9]:
        sweep.write(failed_record(trial))
    halved, runner = halve(tmp_path, grid())
    assert [len(trials) for trials in runner.rounds] == [9, 3]
    assert pairs(halved.winners) == {WINNER}


@pytest.mark.long
def test_a_real_sweep_halves_and_reports_only_its_winner(
    small_data: Path, small_store: Path, tmp_path: Path
) -> None:
    """The choice is what the validation accuracies of students trained outright would make it."""
    dataset = beton_builder.open_dataset(small_data)
    store = labelstore.open_store(small_store, dataset_id=dataset.id)
    settings = {"ipc": [2], "expert_epochs": [1, 3], "seeds": [0, 1], "labels": ["soft"]}
    student = {**STUDENT, "student.epochs": 9, "student.lr": [0.001, 0.05]}
    trials = plan_trials(load_grids(None, {**settings, **student}), dataset, store)
    halving = plan_halving(
        trials, num_validation=len(dataset.validation_indices), eta=2, min_epochs=1
    )
    assert [{t.student.epochs for t in rung} for rung in halving.rungs] == [{3}, {5}]
    make_runner = RunnerFactory(data=str(small_data), labels=str(small_store), precision="fp32")
    ledger = new_ledger(tmp_path)
    halved = run_halving(
        halving, run=lambda some: run_local(some, make_runner, ledger.write), ledger=ledger
    )
    assert (halved.ran, len(halved.winners)) == (6, 2)
    (winner,) = pairs(halved.winners)
    finals = {}
    for decision in (3, 5):
        plain = {**settings, "seeds": [0], **student, "student.epochs": decision}
        rung = plan_trials(load_grids(None, plain | {"student.evaluations": 1}), dataset, store)
        out = Ledger(tmp_path / f"plain{decision}")
        run_local(rung, make_runner, out.write)
        for trial in rung:
            record = read_record(out.trial_path(trial.id))
            pair = trial.student.lr, trial.teacher.epochs[0]
            finals[decision, pair] = record["result"]["final"]["validation"]

    def first(epochs: int, among: list[tuple[float, int]]) -> list[tuple[float, int]]:
        return sorted(among, key=lambda pair: (-finals[epochs, pair], pair[1], pair[0]))

    two = first(3, list(pairs(trials)))[:2]
    assert winner == first(5, two)[0]
    assert engine.verify_sweep(ledger.path)["ok"]
