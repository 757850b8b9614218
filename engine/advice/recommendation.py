"""Which expert epoch and learning rate to use for an IPC, on what evidence, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from beton_builder import Dataset, open_dataset
from engine.advice.budget import parse_budget
from engine.advice.commands import commands, settings_of
from engine.advice.costs import Plan, Wish, fit_budget, measured_costs, student_plans
from engine.advice.evidence import Evidence, LearningRate, evidence_of, published_evidence
from engine.advice.suggestion import Suggestion, interval_of, suggest, whole_epoch
from engine.advice.wording import conclusion, notes_on, plan_in_words
from engine.analysis import LawFit, fit_laws
from engine.errors import UsageError
from engine.training.progress import Progress

STUDENTS = 3
"""Fewer have no interval worth its name."""


def recommend(
    data: str | Path,
    ipc: int,
    *,
    budget: str | None = None,
    sweeps: Sequence[str | Path] = (),
    students: int = STUDENTS,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The expert epoch and learning rate that the evidence suggests for an IPC.

    Args:
        data: the dataset to advise on.
        ipc: images per class.
        budget: of time, such as ``2h``; the pace of this machine is then measured for a few
            seconds, to say what fits. None measures nothing.
        sweeps: finished sweeps of that dataset; without any, the published grid of CIFAR-100.
        students: at least so many are planned for.
        overrides: dotted keys of the students' plan, such as ``student.epochs``.
        progress: called with (stage, done, total).

    Returns:
        ``expert_epoch`` with its 95 % interval (None for an end that was not reached, where the
        epoch may be a bound itself), ``learning_rate``, ``accuracy`` (of the law at that place, a
        fraction, with interval), ``extrapolates`` (in words, or None), ``forms`` (each
        form's held-out error in percentage points and its own best epoch, searched as far as the
        answer's; ``at_edge`` where that is a bound), ``rests_on``, ``notes`` and a ``message``.
        With a budget also ``pace``, what was measured; ``whole`` and ``plan``, all that one would
        do and what fits (None where nothing does), each with ``…_seconds``; and ``commands``.

    Raises:
        UsageError: an IPC or a budget that can't work, or a class with too few images.
        MismatchError: the sweeps are of another dataset.
        ArtefactError, DamageError: as `engine.report.sweeps.read_sweeps`; RankError: the pace can't
            be measured; beton_builder.BetonBuilderError: no dataset lies there.
    """
    if ipc < 1 or students < 1:
        raise UsageError(f"expected 1 or more images per class and students: {ipc}, {students}")
    seconds = None if budget is None else parse_budget(budget)
    dataset = open_dataset(data)
    evidence = evidence_of(sweeps, dataset, data) if sweeps else published_evidence()
    settings = {**settings_of(evidence, dataset), **(overrides or {})}
    plans = student_plans(dataset, ipc=ipc, overrides=settings)
    student = plans(1, None)[0].student  # refused before anything is fitted or measured
    laws = fit_laws(evidence.points)
    found = suggest(laws, ipc)
    rate = evidence.learning_rate_near(ipc)
    answer = _in_short(dataset, evidence, found, rate)
    answer["forms"] = [_row(law, ipc, found.searched_beyond) for law in laws]
    answer["rests_on"] = _basis(evidence)
    said = [conclusion(evidence, found, rate)]
    if seconds is not None:
        wish = Wish.of(plans, found.epoch, students)
        costs = measured_costs(dataset, plans, students, progress)
        plan = fit_budget(costs, seconds, wish)
        whole = wish.planned(costs)
        answer["budget_seconds"] = seconds
        answer["pace"] = costs.basis
        answer["whole"] = _counts(whole)
        answer["whole_seconds"] = _seconds(whole)
        answer["plan"] = None if plan is None else _counts(plan) | {"reduced": plan.reduced or None}
        answer["plan_seconds"] = None if plan is None else _seconds(plan)
        said.append(plan_in_words(seconds, plan, whole, found))
        if plan is not None:
            answer["commands"] = commands(
                dataset, ipc, rate, plan, model=student.model, settings=settings
            )
            said += [f"  {line}" for line in answer["commands"]]
    answer["notes"] = notes_on(evidence, rate, ipc)
    answer["message"] = "\n".join(said)
    return answer


def _in_short(
    dataset: Dataset, evidence: Evidence, found: Suggestion, rate: LearningRate
) -> dict[str, Any]:
    return {
        "dataset": dataset.name,
        "ipc": found.ipc,
        "expert_epoch": found.epoch,
        "expert_epoch_low": found.epochs[0],
        "expert_epoch_high": found.epochs[1],
        "expert_epoch_by_forms": list(found.by_forms),
        "learning_rate": rate.best,
        "learning_rates_tried": list(rate.tried),
        "accuracy": found.accuracy.mean,
        "accuracy_low": found.accuracy.low,
        "accuracy_high": found.accuracy.high,
        "accuracy_is": evidence.accuracy,
        "extrapolates": "; ".join(found.beyond) or None,
    }


def _row(law: LawFit, ipc: int, beyond: float) -> dict[str, Any]:
    """A form: errors in percentage points, and the epoch that it would suggest.

    `beyond`: how many times beyond the measured epochs it is searched. `at_edge`: "first" or
    "last" where that epoch is where the search ends, a bound and no optimum.
    """
    optimum = law.best_knowledge(ipc, beyond=beyond)
    errors = {
        "held_out_error": law.held_out_error,
        "inner_ipcs": law.interpolation_error,
        "largest_ipc": law.extrapolation_error,
        "fit_error": law.fitted_error,
    }
    low, high = interval_of(optimum) if optimum else (None, None)
    epochs = {
        "best_epoch": optimum and whole_epoch(optimum.knowledge),
        "low": low,
        "high": high,
        "at_edge": optimum and optimum.at_edge,
    }
    return {
        "form": law.form,
        "formula": law.formula,
        **{name: None if error is None else 100 * error for name, error in errors.items()},
        **epochs,
        "parameters": {name: asdict(value) for name, value in law.parameters.items()},
    }


def _counts(plan: Plan) -> dict[str, Any]:
    return {
        "expert_epochs": plan.expert_epochs,
        "students": plan.students,
        "student_epochs": plan.student_epochs,
    }


def _seconds(plan: Plan) -> dict[str, float]:
    return {
        "expert": plan.expert_seconds,
        "labels": plan.labels_seconds,
        "students": plan.students_seconds,
        "total": plan.seconds,
    }


def _basis(evidence: Evidence) -> dict[str, Any]:
    points = evidence.points
    return {
        "dataset": evidence.dataset,
        "published": evidence.is_published,
        "cells": len(points),
        "ipcs": sorted({point.ipc for point in points}),
        "expert_epochs": sorted({int(point.knowledge) for point in points}),
        "sweeps": list(evidence.sweeps),
        "trials": len(evidence.trial_ids),
        "trial_ids": list(evidence.trial_ids),
    }
