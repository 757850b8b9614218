"""Trials, scores and a runner for tests of halving: no dataset, no store, no training."""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.experiments import parse_label_transform, parse_selection
from engine.records import write_record
from engine.sweep.halving.plan import plan_halving
from engine.sweep.halving.questions import Halving
from engine.sweep.halving.run import Halved, halving_ledger, run_halving
from engine.sweep.ledger import HEAD, Ledger
from engine.sweep.planning.teachers import Teacher
from engine.sweep.planning.trial import DatasetFacts, Trial
from engine.training import Seeds, StudentRecipe
from engine.training.optimise import Schedule

FACTS = DatasetFacts(
    id="d0",
    mean=(0.5,),
    std=(0.2,),
    channels=1,
    num_classes=3,
    evaluation_images=60,
)


def teacher_of(*epochs: int, expert: str = "ada") -> Teacher:
    return Teacher(
        experts=(expert,),
        epochs=epochs,
        view="plain",
        codec="dense",
        view_ids=(f"view-of-{expert}",),
        checkpoints=tuple(f"{expert}{epoch:04d}" for epoch in epochs),
        resolution=16,
    )


def student_of(lr: float = 0.01, epochs: int = 90, **settings: Any) -> StudentRecipe:
    schedule = settings.pop("schedule", Schedule(kind="step", factor=0.3))
    return StudentRecipe(
        model="convnet-d2-w8",
        epochs=epochs,
        lr=lr,
        batch_size=4,
        resolution=16,
        schedule=schedule.resolved(epochs),
        **settings,
    )


def soft_trial(
    *,
    ipc: int = 1,
    lr: float = 0.01,
    expert_epoch: int | tuple[int, ...] = 4,
    seed: int = 0,
    epochs: int = 90,
    expert: str = "ada",
) -> Trial:
    several = (expert_epoch,) if isinstance(expert_epoch, int) else expert_epoch
    return Trial(
        dataset=FACTS,
        ipc=ipc,
        selection=parse_selection("random"),
        labels=parse_label_transform("soft"),
        teacher=teacher_of(*several, expert=expert),
        seeds=Seeds(subset_seed=seed, init_seed=seed, order_seed=seed, augment_seed=seed),
        student=student_of(lr, epochs),
        store="s0",
    )


def hard_trial(*, ipc: int = 1, lr: float = 0.01, seed: int = 0, epochs: int = 90) -> Trial:
    return Trial(
        dataset=FACTS,
        ipc=ipc,
        selection=parse_selection("random"),
        labels=parse_label_transform("hard"),
        teacher=None,
        seeds=Seeds(subset_seed=seed, init_seed=seed, order_seed=seed, augment_seed=seed),
        student=student_of(lr, epochs),
    )


def grid(
    *,
    ipcs: Sequence[int] = (1,),
    lrs: Sequence[float] = (0.001, 0.01, 0.1),
    expert_epochs: Sequence[int] = (4, 7, 10),
    seeds: Sequence[int] = (0, 1),
    epochs: int = 90,
) -> list[Trial]:
    return [
        soft_trial(ipc=ipc, lr=lr, expert_epoch=epoch, seed=seed, epochs=epochs)
        for ipc, lr, epoch, seed in itertools.product(ipcs, lrs, expert_epochs, seeds)
    ]


def plan(trials: Sequence[Trial], **options: Any) -> Halving:
    return plan_halving(trials, **{"num_validation": 30, "min_epochs": 1, **options})


def quality(trial: Trial) -> float:
    """A synthetic validation accuracy: best at expert epoch 7 and learning rate 0.01."""
    assert trial.teacher is not None
    epoch, lr = trial.teacher.epochs[0], trial.student.lr
    badness = abs(epoch - 7) / 10 + abs(math.log10(lr) + 2)
    return 0.8 / (1 + badness) * (1 - 1 / (1 + trial.student.epochs))


def done_record(trial: Trial, validation: float | None) -> dict[str, Any]:
    """A record as a trial's runner makes it, of a dataset without a test split."""
    last = {"epoch": trial.student.epochs, "test": None, "validation": validation}
    result = {
        "final": last,
        "selected": last if validation is not None else None,
        "max_on_test": None,
        "train_loss": 1.0,
        "evaluations": [last],
    }
    return trial.identity() | {"status": "done", "result": result, "seconds": {"steps": 0.0}}


def failed_record(trial: Trial) -> dict[str, Any]:
    return trial.identity() | {"status": "failed", "error": "Traceback\nTrainingDiverged: nan"}


def new_ledger(sweep: Path) -> Ledger:
    ledger = halving_ledger(sweep)
    if not ledger.exists():
        dataset = {"id": "d0", "name": "tiny"}
        write_record(ledger.path / HEAD, {"kind": "sweep", "dataset": dataset, "experts": []})
    return ledger


class NoOpRunner:
    """Writes a record of every trial at once, and notes which trials it ran."""

    def __init__(
        self,
        ledger: Ledger,
        score: Callable[[Trial], float] = quality,
        failing: Callable[[Trial], bool] = lambda _trial: False,
    ) -> None:
        self.ledger, self.score, self.failing = ledger, score, failing
        self.rounds: list[list[Trial]] = []

    def __call__(self, trials: list[Trial]) -> None:
        self.rounds.append(list(trials))
        for trial in trials:
            self.ledger.write(self.record(trial))

    def record(self, trial: Trial) -> dict[str, Any]:
        if self.failing(trial):
            return failed_record(trial)
        return done_record(trial, self.score(trial))


def halve(sweep: Path, trials: Sequence[Trial], **options: Any) -> tuple[Halved, NoOpRunner]:
    """Run a halving of a plan in a folder, with a runner that trains nothing."""
    ledger = new_ledger(sweep)
    runner = NoOpRunner(ledger, **options)
    return run_halving(plan(trials), run=runner, ledger=ledger), runner


def pairs(trials: Sequence[Trial]) -> set[tuple[float, int]]:
    """(learning rate, expert epoch) of trials with soft labels."""
    return {(t.student.lr, t.teacher.epochs[0]) for t in trials if t.teacher is not None}


def answers(halving: Halving, accuracy: Callable[[Trial], float]) -> Mapping[str, float]:
    """Every score that a halving asks for, until it asks no more."""
    scores: dict[str, float] = {}
    while trials := halving.next_rung(scores):
        scores |= {trial.id: accuracy(trial) for trial in trials}
    return scores


def main(sweep: str, noted: str) -> None:
    """Halve a plan slowly, noting each trial before and after it is recorded: to be killed."""
    ledger = new_ledger(Path(sweep))

    def run(trials: list[Trial]) -> None:
        with Path(noted).open("a", buffering=1) as file:
            for trial in trials:
                file.write(f"begins {trial.id}\n")
                time.sleep(0.002)
                ledger.write(done_record(trial, quality(trial)))
                file.write(f"recorded {trial.id}\n")

    run_halving(plan(grid(ipcs=(1, 5, 10))), run=run, ledger=ledger)


if __name__ == "__main__":
    main(*sys.argv[1:])
