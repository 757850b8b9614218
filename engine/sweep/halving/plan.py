"""From a plan's trials to a halving: which trials ask the same question, and how long rungs are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import astuple
from typing import Any

from engine.analysis.trials import flatten
from engine.errors import UsageError
from engine.sweep.halving.questions import Candidate, Halving, Question
from engine.sweep.planning.trial import Trial
from engine.training import StudentRecipe

ETA = 3
"""As the authors of Hyperband advise (3 or 4; Li et al. 2018, section 2.6)."""

MIN_EPOCHS = 10
"""A choice, not a measurement: below it, students of the papers' recipe have hardly begun."""


def plan_halving(
    trials: Sequence[Trial],
    *,
    num_validation: int,
    eta: int = ETA,
    min_epochs: int = MIN_EPOCHS,
    num_seeds: int = 1,
) -> Halving:
    """Group a plan's trials into questions, and lay out their rungs.

    Args:
        trials: of a plan, each once; the result does not depend on their order.
        num_validation: images of the dataset's validation split.
        eta: of how many candidates one goes on to the next rung, which is as many times longer.
        min_epochs: of the shortest student. Where that allows fewer rungs than it takes to leave
            one candidate, several are left, and all of these are trained and reported.
        num_seeds: sets of seeds of every short trial, the plan's first.

    Raises:
        UsageError: there is no validation split, nothing to choose from, or students are too short.
    """
    for name, value, least in (
        ("eta", eta, 2),
        ("min_epochs", min_epochs, 1),
        ("num_seeds", num_seeds, 1),
    ):
        if value < least:
            raise UsageError(f"{name} of halving is {value}: expected at least {least}")
    if num_validation < 1:
        raise UsageError(
            "halving chooses by validation accuracy, and this dataset has no validation split "
            "(a class needs 10 training images for one): leave --halving out"
        )
    groups = _grouped(trials)
    names = _names([group[0] for group in groups])
    questions = tuple(
        _question(number, name, group, eta, min_epochs, num_seeds)
        for number, (name, group) in enumerate(zip(names, groups, strict=True))
    )
    if not any(question.lengths for question in questions):
        several = any(len(question.candidates) > 1 for question in questions)
        longest = max((trial.student.epochs for trial in trials), default=0)
        raise UsageError(
            f"halving trains students of at least {min_epochs} epochs first, {eta} times fewer "
            f"than the full ones, and these have {longest}: leave --halving out"
            if several
            else "halving chooses learning rate and expert epoch, and this plan has one of each: "
            "give several, such as --expert-epochs 5,13 or --set student.lr=[0.003,0.01]"
        )
    return Halving(questions=questions, eta=eta)


def _question(
    number: int, name: str, group: Sequence[Trial], eta: int, min_epochs: int, num_seeds: int
) -> Question:
    by_candidate: dict[tuple[float, int | None], list[Trial]] = defaultdict(list)
    for trial in group:
        by_candidate[trial.student.lr, _candidate_epoch(trial)].append(trial)
    candidates = [
        Candidate(lr=lr, expert_epoch=epoch, trials=tuple(of_candidate))
        for (lr, epoch), of_candidate in by_candidate.items()
    ]
    seeds = sorted({trial.seeds for trial in group}, key=astuple)
    return Question(
        number=number,
        name=name,
        candidates=tuple(sorted(candidates, key=lambda candidate: candidate.rank)),
        lengths=_lengths(len(candidates), group[0].student.epochs, eta, min_epochs),
        seeds=tuple(seeds[:num_seeds]),
        eta=eta,
    )


def _lengths(num_candidates: int, epochs: int, eta: int, min_epochs: int) -> tuple[int, ...]:
    """Epochs of every rung, so that one candidate is left, if students may be that short."""
    rungs = 0
    while num_candidates // eta**rungs > 1 and epochs >= min_epochs * eta ** (rungs + 1):
        rungs += 1
    return tuple(-(-epochs // eta ** (rungs - rung)) for rung in range(rungs))


def _candidate_epoch(trial: Trial) -> int | None:
    """The expert epoch that a candidate stands for; which ensemble is asked for is no candidate."""
    teacher = trial.teacher
    return teacher.epochs[0] if teacher is not None and len(teacher.epochs) == 1 else None


def _grouped(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Trials equal in all but learning rate, expert epoch and seeds; in the order of a plan."""
    without_lr: dict[StudentRecipe, StudentRecipe] = {}  # there are few students, and many trials
    groups: dict[Hashable, list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.student not in without_lr:
            without_lr[trial.student] = trial.student.model_copy(update={"lr": 1.0})
        groups[_labels_and_images(trial), without_lr[trial.student]].append(trial)
    ordered = [sorted(group, key=_place) for group in groups.values()]
    return sorted(ordered, key=lambda group: (_place(group[0]), group[0].id))


def _labels_and_images(trial: Trial) -> Hashable:
    """What a student is trained on, whichever the expert epoch and the seeds."""
    teacher = trial.teacher
    labels: Hashable = trial.scorer  # of hard labels; otherwise it follows from what is below
    if teacher is not None:
        ensemble = teacher.checkpoints if len(teacher.epochs) > 1 else None
        labels = teacher.view_ids, teacher.codec, ensemble
    return trial.dataset, trial.ipc, trial.selection, str(trial.labels), labels


def _place(trial: Trial) -> tuple[Any, ...]:
    """Where a trial stands in a plan: IPC, kind of labels, expert epoch, learning rate, seeds."""
    epoch = _candidate_epoch(trial)
    return (
        trial.ipc,
        trial.teacher is None,
        -1 if epoch is None else epoch,
        trial.student.lr,
        astuple(trial.seeds),
    )


def _names(firsts: Sequence[Trial]) -> list[str]:
    """What to call questions, by their first trials: IPC, labels, and what it takes to differ."""
    described = [
        trial.cell
        | {"codec": trial.teacher and trial.teacher.codec}
        | flatten(trial.student.model_dump(mode="json"))
        for trial in firsts
    ]
    telling = ["ipc", "labels"]
    for key in dict.fromkeys(key for each in described for key in each):
        if key not in ("expert_epoch", "lr") and _how_many(described, [*telling, key]) > _how_many(
            described, telling
        ):
            telling.append(key)
    return [
        ", ".join(f"{key} {each[key]}" for key in telling if each.get(key) is not None)
        for each in described
    ]


def _how_many(described: Sequence[dict[str, Any]], keys: Sequence[str]) -> int:
    return len({tuple(each.get(key) for key in keys) for each in described})
