"""Run a halving: rung after rung on any executor, into a ledger of its own.

    SWEEP/halving/sweep.json, trials/…    the short trials, a folder like any sweep's
    SWEEP/halving/decisions.json          derived from them: every rung's scores, and who went on

Reports of SWEEP read nothing there. The records are the only truth: scores are read from them each
time, so a halving that was killed goes on where it was and decides the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.errors import ArtefactError, DamageError, UsageError
from engine.records import read_record, write_record
from engine.sweep.halving.questions import FAILED, Decision, Halving
from engine.sweep.ledger import Ledger
from engine.sweep.planning.trial import Trial

FOLDER = "halving"
DECISIONS = "decisions.json"


@dataclass(frozen=True, kw_only=True)
class Halved:
    """What came of a halving.

    ``winners``: the plan's own trials, to be run at full length and reported. ``rows``: every
    decision as a table, best candidate first. ``ran``: short trials of this run; ``failed``: of all
    that were decided on. ``unanswered``: questions without a winner, since every trial of a rung
    failed, each with the last line of an error.
    """

    winners: list[Trial]
    rows: list[dict[str, Any]]
    ran: int
    failed: int
    unanswered: list[str]


def halving_ledger(sweep: str | Path) -> Ledger:
    """Where the short trials of a sweep are recorded."""
    return Ledger(Path(sweep) / FOLDER)


def run_halving(
    halving: Halving,
    *,
    run: Callable[[list[Trial]], object],
    ledger: Ledger,
    on_decision: Callable[[dict[str, Any]], None] | None = None,
) -> Halved:
    """Run the short trials that the ledger lacks, rung after rung; returns the trials to report.

    A short trial that failed is not run again, for decisions rest on it; only where all of a rung
    failed are they tried once more, by the next command.

    Args:
        halving: as `plan_halving` lays it out.
        run: trains every trial of a list and has a record of each, done or failed, written to
            ``ledger``; all of one call are independent of each other.
        ledger: of the short trials alone (`halving_ledger`), with its head.
        on_decision: told of the decisions that ``run`` led to, as `Decision.describe` has them.

    Raises:
        UsageError: a record has no validation accuracy.
        ArtefactError: ``run`` left no record of a trial, or decisions can't be written.
    """
    scores: dict[str, float] = {}
    _add_recorded(scores, halving, ledger)
    again = {trial.id for hopeless in halving.unanswerable(scores) for trial in hopeless.trials}
    scores = {trial_id: score for trial_id, score in scores.items() if trial_id not in again}
    _write_decisions(halving, ledger, scores)
    ran = 0
    while trials := halving.next_rung(scores):
        before = {decision.place for decision in halving.decisions(scores)}
        run(trials)
        ran += len(trials)
        scores |= {trial.id: _score_after_run(ledger, trial) for trial in trials}
        _add_recorded(scores, halving, ledger)
        _write_decisions(halving, ledger, scores)
        for decision in halving.decisions(scores):
            if on_decision is not None and decision.place not in before:
                on_decision(decision.describe())
    decisions = halving.decisions(scores)
    return Halved(
        winners=halving.winners(scores),
        rows=summary_rows(decisions),
        ran=ran,
        failed=sum(scores[trial.id] == FAILED for each in decisions for trial in each.trials),
        unanswered=[_why(decision, ledger) for decision in halving.unanswerable(scores)],
    )


def summary_rows(decisions: Iterable[Decision]) -> list[dict[str, Any]]:
    """One row a question, rung and candidate; ``validation`` is None where a trial failed."""
    return [
        {
            "question": decision.question.name,
            "rung": decision.rung,
            "epochs": decision.epochs,
            **{key: value for key, value in candidate.items() if key != "trials"},
        }
        for decision in decisions
        for candidate in decision.describe()["candidates"]
    ]


def _add_recorded(scores: dict[str, float], halving: Halving, ledger: Ledger) -> None:
    """Add the scores of trials on disk, rung after rung as far as they lead."""
    while True:
        found = {trial.id: _score(ledger, trial.id) for trial in halving.next_rung(scores)}
        known = {trial_id: score for trial_id, score in found.items() if score is not None}
        if not known:
            return
        scores.update(known)


def _score(ledger: Ledger, trial_id: str) -> float | None:
    """A trial's validation accuracy or `FAILED`; None where there is no sound record.

    Test accuracies in the record are not looked at.
    """
    path = ledger.trial_path(trial_id)
    if not path.exists():
        return None
    try:
        record = read_record(path)
    except DamageError:
        return None
    if record["status"] != "done":
        return FAILED
    selected = record["result"]["selected"]
    if selected is None or selected["validation"] is None:
        raise UsageError(
            f"{path} has no validation accuracy, by which halving chooses: "
            "the dataset needs a validation split; leave --halving out"
        )
    return float(selected["validation"])


def _score_after_run(ledger: Ledger, trial: Trial) -> float:
    score = _score(ledger, trial.id)
    if score is None:
        raise ArtefactError(
            f"the executor left no sound record of trial {trial.id} at "
            f"{ledger.trial_path(trial.id)}; run the same command again"
        )
    return score


def _why(hopeless: Decision, ledger: Ledger) -> str:
    path = ledger.trial_path(hopeless.trials[0].id)
    error = str(read_record(path).get("error") or "no reason").strip().splitlines()[-1]
    return (
        f"{hopeless.question.name}: all {len(hopeless.trials)} students of {hopeless.epochs} "
        f"epochs failed, such as {path}: {error}"
    )


def _write_decisions(halving: Halving, ledger: Ledger, scores: dict[str, float]) -> None:
    content = {
        "kind": "halving",
        "eta": halving.eta,
        "questions": [
            {
                "question": question.name,
                "epochs": list(question.lengths),
                "seeds": [asdict(seeds) for seeds in question.seeds],
                "decisions": [decision.describe() for decision in question.decisions(scores)],
                "winners": [
                    {"lr": each.lr, "expert_epoch": each.expert_epoch}
                    for each in question.winners(scores)
                ],
            }
            for question in halving.questions
        ],
    }
    path = ledger.path / DECISIONS
    with contextlib.suppress(ArtefactError):  # absent or damaged: written anew
        if read_record(path) == content:
            return
    write_record(path, content)
