"""Successive halving: learning rate and expert epoch chosen early, on validation images alone.

In: the trials of a plan. They are grouped into *questions*, trials that are equal in everything but
learning rate, expert epoch and seeds; the pairs (learning rate, expert epoch) are a question's
*candidates*. Out: rungs of short trials, a decision after each, and at last the plan's own trials
of the candidates that are left, which are the only ones to report.

With n candidates, students of E epochs and ``eta`` 3, rung r of R trains n // 3^r candidates for
E / 3^(R - r) epochs (rounded up), so that each rung is about as much work as the one before it; the
best third goes on, and the last rung leaves one. A short student is the student that the plan would
have with fewer epochs: its schedule's lengths shrink with it. It is evaluated once, at its end, and
only its validation accuracy is looked at. All candidates of a question are trained with the same
seeds, by default the plan's first. A candidate with a failed trial goes on no further; equals go by
the earlier expert epoch, then by the lower learning rate.

Everything here is a function of the trials and of the scores so far, so a resumed halving decides
as it would have done in one go. `plan_halving` lays it out, `run_halving` runs it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

from engine.sweep.planning.trial import Trial
from engine.training import Seeds, StudentRecipe
from engine.training.optimise import Schedule

FAILED = -math.inf
"""The score of a trial that failed: below every accuracy."""

Scores = Mapping[str, float]
"""Trial id → validation accuracy, a fraction from 0 to 1, or `FAILED`."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One answer to a question, with the plan's trials of it, one a set of seeds.

    ``expert_epoch`` is None where no single epoch is chosen: hard labels, ensembles of epochs.
    """

    lr: float
    expert_epoch: int | None
    trials: tuple[Trial, ...]

    @property
    def rank(self) -> tuple[float, float]:
        """Of equals the first goes on: the earlier expert, the lower learning rate."""
        return (-1 if self.expert_epoch is None else self.expert_epoch, self.lr)

    def shortened(self, epochs: int, seeds: Seeds) -> Trial:
        """The candidate's student with fewer epochs: a trial of its own, evaluated once."""
        trial = self.trials[0]
        return replace(trial, student=shorten_student(trial.student, epochs), seeds=seeds)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a rung decided. ``ranked``: its candidates, best first, with their scores."""

    question: Question
    rung: int
    ranked: tuple[tuple[Candidate, float], ...]
    num_kept: int

    @property
    def kept(self) -> tuple[Candidate, ...]:
        return tuple(candidate for candidate, _ in self.ranked[: self.num_kept])

    @property
    def epochs(self) -> int:
        """Length of the rung's students."""
        return self.question.lengths[self.rung]

    @property
    def place(self) -> tuple[int, int]:
        """Which question's, and which rung."""
        return self.question.number, self.rung

    @property
    def trials(self) -> list[Trial]:
        """The short trials that it rests on."""
        return self.question.trials_of(self.rung, [candidate for candidate, _ in self.ranked])

    def describe(self) -> dict[str, Any]:
        """JSON-ready: question, rung, epochs, and every candidate with its score and trials."""
        question = self.question
        candidates = [
            {
                "lr": candidate.lr,
                "expert_epoch": candidate.expert_epoch,
                "validation": None if score == FAILED else score,
                "kept": place < self.num_kept,
                "trials": [trial.id for trial in question.trials_of(self.rung, [candidate])],
            }
            for place, (candidate, score) in enumerate(self.ranked)
        ]
        return {
            "question": question.name,
            "rung": self.rung,
            "epochs": self.epochs,
            "candidates": candidates,
        }


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which candidate is best where all else is equal. ``lengths``: epochs of each rung.

    ``seeds``: of every short trial; a candidate's score is their mean.
    """

    number: int
    name: str
    candidates: tuple[Candidate, ...]
    lengths: tuple[int, ...]
    seeds: tuple[Seeds, ...]
    eta: int
    _short: dict[tuple[int, int], list[Trial]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def num_candidates(self, rung: int) -> int:
        """Candidates that reach a rung; the rung after the last one is the plan's own trials."""
        return max(1, len(self.candidates) // self.eta**rung)

    def trials_of(self, rung: int, candidates: Iterable[Candidate]) -> list[Trial]:
        """The short trials of some candidates."""
        found: list[Trial] = []
        for candidate in candidates:
            key = rung, id(candidate)
            if key not in self._short:
                epochs = self.lengths[rung]
                self._short[key] = [candidate.shortened(epochs, seeds) for seeds in self.seeds]
            found.extend(self._short[key])
        return found

    def decisions(self, scores: Scores) -> Iterator[Decision]:
        """One a rung, as far as the scores reach.

        A rung in which every trial failed keeps nobody, and ends it.
        """
        alive: tuple[Candidate, ...] = self.candidates
        for rung in range(len(self.lengths)):
            if not all(trial.id in scores for trial in self.trials_of(rung, alive)):
                return
            graded = [(candidate, self._score(rung, candidate, scores)) for candidate in alive]
            graded.sort(key=lambda each: (-each[1], each[0].rank))
            num_sound = sum(score != FAILED for _, score in graded)
            num_kept = min(num_sound, self.num_candidates(rung + 1))
            decision = Decision(question=self, rung=rung, ranked=tuple(graded), num_kept=num_kept)
            yield decision
            alive = decision.kept
            if not alive:
                return

    def _score(self, rung: int, candidate: Candidate, scores: Scores) -> float:
        values = [scores[trial.id] for trial in self.trials_of(rung, [candidate])]
        return FAILED if FAILED in values else math.fsum(values) / len(values)

    def standing(self, scores: Scores) -> tuple[int, tuple[Candidate, ...]]:
        """The rung that comes next, and who takes part; past the last rung, those that are left."""
        rung, alive = 0, self.candidates
        for decision in self.decisions(scores):
            rung, alive = decision.rung + 1, decision.kept
        return rung, alive

    def winners(self, scores: Scores) -> tuple[Candidate, ...]:
        """The candidates to report; none while the scores don't decide, or where all failed."""
        rung, alive = self.standing(scores)
        return alive if rung == len(self.lengths) else ()


@dataclass(frozen=True, kw_only=True)
class Halving:
    """The questions of a plan, and what the scores so far say of them."""

    questions: tuple[Question, ...]
    eta: int

    def next_rung(self, scores: Scores) -> list[Trial]:
        """The short trials to run next: those without a score, of every open question's rung.

        Empty when every question is answered, or can't be because all of a rung failed.
        """
        wanted: dict[str, Trial] = {}
        for question in self.questions:
            rung, alive = question.standing(scores)
            if rung < len(question.lengths):
                for trial in question.trials_of(rung, alive):
                    if trial.id not in scores:
                        wanted[trial.id] = trial
        return in_running_order(wanted.values())

    def decisions(self, scores: Scores) -> list[Decision]:
        """Every decision that the scores allow, question by question."""
        return [each for question in self.questions for each in question.decisions(scores)]

    def winners(self, scores: Scores) -> list[Trial]:
        """The plan's own trials, full length and all seeds, of the candidates that are left."""
        return in_running_order(
            trial
            for question in self.questions
            for candidate in question.winners(scores)
            for trial in candidate.trials
        )

    def unanswerable(self, scores: Scores) -> list[Decision]:
        """Decisions that kept nobody, since every trial of the rung failed."""
        return [decision for decision in self.decisions(scores) if not decision.num_kept]

    @cached_property
    def rungs(self) -> list[list[Trial]]:
        """Trials as many and as long as those of each rung, whichever candidates will be left.

        For estimates: candidates of one question cost the same.
        """
        most = max(len(question.lengths) for question in self.questions)
        return [
            [
                trial
                for question in self.questions
                if rung < len(question.lengths)
                for trial in question.trials_of(
                    rung, question.candidates[: question.num_candidates(rung)]
                )
            ]
            for rung in range(most)
        ]

    @cached_property
    def reported(self) -> list[Trial]:
        """Trials as many and as long as those to report, whichever candidates will be left."""
        return [
            trial
            for question in self.questions
            for candidate in _with_most_trials(
                question.candidates, question.num_candidates(len(question.lengths))
            )
            for trial in candidate.trials
        ]

    def describe(self) -> dict[str, Any]:
        """What it amounts to, against the full grid; ``share`` is of images, evaluation at a third.

        JSON-ready. A plan whose candidates differ in their number of seeds may report fewer trials.
        """
        full = [t for q in self.questions for c in q.candidates for t in c.trials]
        parts = [*self.rungs, self.reported]
        work = sum(trial.work for trials in parts for trial in trials)
        return {
            "eta": self.eta,
            "questions": len(self.questions),
            "candidates": sum(len(question.candidates) for question in self.questions),
            "rungs": [
                {
                    "rung": rung,
                    "epochs": sorted({trial.student.epochs for trial in trials}),
                    **_amount(trials),
                }
                for rung, trials in enumerate(self.rungs)
            ],
            "reported": _amount(self.reported),
            "full_grid": _amount(full),
            "share": work / sum(trial.work for trial in full),
        }


@lru_cache(maxsize=1024)
def shorten_student(student: StudentRecipe, epochs: int) -> StudentRecipe:
    """The same student with fewer epochs, its schedule's lengths in proportion, evaluated once.

    Lengths that follow from the number of epochs are those that a plan of ``epochs`` would have.
    """
    schedule = student.schedule
    unset = schedule.model_copy(update={"every": None, "horizon": None})
    if unset.resolved(student.epochs) == schedule:
        shorter = unset.resolved(epochs)
    else:
        shorter = _scaled(schedule, epochs / student.epochs)
    return student.model_copy(update={"epochs": epochs, "schedule": shorter, "evaluations": 1})


def _scaled(schedule: Schedule, share: float) -> Schedule:
    lengths = {"every": schedule.every, "horizon": schedule.horizon}
    given = {name: max(1, round(n * share)) for name, n in lengths.items() if n is not None}
    return schedule.model_copy(update=given)


def in_running_order(trials: Iterable[Trial]) -> list[Trial]:
    """Trials of one shape and subset next to each other, as a plan has them; then by id."""
    return sorted(trials, key=lambda trial: (trial.shape, trial.subset, trial.id))


def _with_most_trials(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: -len(candidate.trials))[:count]


def _amount(trials: Sequence[Trial]) -> dict[str, int]:
    return {
        "trials": len(trials),
        "training_images": sum(trial.training_images for trial in trials),
        "evaluation_images": sum(trial.evaluation_images for trial in trials),
    }
