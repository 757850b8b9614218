"""A recommendation in sentences, with what it rests on."""

from __future__ import annotations

from engine.advice.costs import Plan
from engine.advice.evidence import Evidence, LearningRate
from engine.advice.suggestion import Suggestion
from engine.sweep.timing.estimate import in_words


def conclusion(evidence: Evidence, found: Suggestion, rate: LearningRate) -> str:
    """Expert epoch and learning rate, by which law, and how far that can be trusted."""
    bound = {"last": "at least ", "first": "at most "}.get(found.optimum.at_edge or "", "")
    said = (
        f"Expert epoch {bound}{found.epoch}{_interval(found)} and learning rate {rate.best:g} for "
        f"IPC {found.ipc}, by the form “{found.law.form}”, which "
    )
    error = found.law.held_out_error
    said += (
        "could not be checked on IPCs left out of its fit"
        if error is None
        else f"missed IPCs left out of its fit by {100 * error:.1f} points"
    )
    # The level of another dataset's accuracies says nothing about this one.
    if not evidence.is_published:
        said += f"; it expects {100 * found.accuracy.mean:.1f} % ({evidence.accuracy})"
    said += "."
    if found.by_forms[0] < found.by_forms[1]:
        said += f" Forms that predict about as well say {found.by_forms[0]} to {found.by_forms[1]}."
    if found.optimum.at_edge:
        rises, where = {"last": ("rises", "later"), "first": ("falls", "earlier")}[
            found.optimum.at_edge
        ]
        said += (
            f" It {rises} over all epochs measured, and beyond: the best may well lie {where}, so "
            "train and sweep further."
        )
    if found.beyond:
        said += f" This is an extrapolation: {'; '.join(found.beyond)}."
    return said


def _interval(found: Suggestion) -> str:
    """The 95 % interval of its epoch; nothing where that is as open as the epoch itself."""
    low, high = found.epochs
    if low is None and high is None:
        return ""
    if high is None:
        return "" if low == found.epoch else f" (95 %: from {low} on)"
    if low is None:
        return "" if high == found.epoch else f" (95 %: up to {high})"
    return f" (95 %: {low} to {high})"


def notes_on(evidence: Evidence, rate: LearningRate, ipc: int) -> list[str]:
    """What to beware of: the evidence, the learning rates, and what was measured at that IPC."""
    return [*evidence.notes, _note_on_rate(rate, ipc), *_measured_there(evidence, ipc)]


def plan_in_words(budget: float, plan: Plan | None, wanted: Plan, found: Suggestion) -> str:
    """What fits a budget, and what gave way."""
    whole = (
        f"{wanted.expert_epochs} expert epochs, their labels and {wanted.students} students of "
        f"{wanted.student_epochs:,} epochs take {in_words(wanted.seconds)}"
    )
    if plan is None:
        return f"Nothing useful fits {in_words(budget)}: {whole}."
    said = (
        f"Of {in_words(budget)}, {plan.expert_epochs} expert epochs take "
        f"{in_words(plan.expert_seconds)}, their labels {in_words(plan.labels_seconds)} and "
        f"{plan.students} students of {plan.student_epochs:,} epochs "
        f"{in_words(plan.students_seconds)}"
    )
    if plan.reduced:
        said += f". This plan has {plan.reduced}, since {whole}"
    if plan.expert_epochs < found.epoch:
        said += (
            f". By the law the earlier epoch costs "
            f"{100 * found.loss_at(plan.expert_epochs):.1f} points"
        )
    return f"{said}."


def _note_on_rate(rate: LearningRate, ipc: int) -> str:
    where = "" if rate.ipc == ipc else f" at IPC {rate.ipc}, the nearest measured"
    if len(rate.tried) == 1:
        return f"Learning rate {rate.best:g} is the only one that was tried{where}."
    tried = ", ".join(f"{each:g}" for each in rate.tried)
    if rate.plausible is None:
        return f"Learning rate {rate.best:g} did best of {tried}{where}; too few seeds to be sure."
    plausible = ", ".join(f"{each:g}" for each in rate.plausible)
    return f"Of the learning rates {tried}{where}, {plausible} may be the best (95 %)."


def _measured_there(evidence: Evidence, ipc: int) -> list[str]:
    found = next((each for each in evidence.measured if each.ipc == ipc), None)
    if found is None:
        return []
    said = (
        f"Measured at IPC {ipc}, epoch {found.epoch} did best, chosen on {found.choice.chosen_on}"
    )
    if found.contest.plausible is None:
        return [f"{said}; too few seeds to tell how sure that is."]
    plausible = ", ".join(map(str, found.contest.plausible))
    return [f"{said}; of those compared {plausible} may be the best (95 %)."]
