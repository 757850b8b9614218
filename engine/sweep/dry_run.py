"""What a sweep would do, and how long it would take: `--dry-run`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from beton_builder.machine import usable_cores
from engine.sweep.execution import Execution, unfinished, visible_gpus
from engine.sweep.halving.questions import Halving
from engine.sweep.ledger import Ledger
from engine.sweep.planning.plan import amount_of_work
from engine.sweep.planning.trial import Trial
from engine.sweep.timing.estimate import dry_run_estimates
from engine.training.launch import Progress


def describe_plan(
    head: dict[str, Any],
    ledger: Ledger,
    trials: Sequence[Trial],
    search: Halving | None,
    measure: Callable[[Sequence[Trial]], list[dict[str, Any]]] | None,
) -> dict[str, Any]:
    """The plan of a sweep as the command's result; nothing is written.

    Args:
        head: as `sweep_head` makes it.
        trials: of the plan; with a ``search``, those it will choose from.
        measure: trials to estimates of their time; None leaves those out.
    """
    left = unfinished(trials, ledger)
    if search is not None:
        left = [trial for rung in search.rungs for trial in rung] + search.reported
    plan = {
        "plan": "sweep-students",
        "out": str(ledger.path),
        "dataset": head["dataset"]["name"],
        "grid": head["plan"],
        "trials": len(trials),
        "trials_done": len(trials) - len(unfinished(trials, ledger)),
        "trials_to_run": len(left),
        **amount_of_work(left),
    }
    if head["sources"]["labels"] is None and any(trial.teacher or trial.scorer for trial in trials):
        plan["labels"] = "taken for granted: no label store was given"
    if search is not None:
        plan["halving"] = search.describe()
    if measure is not None:
        estimates = measure(left)
        # Apart from the rows, since they are sentences.
        plan["basis"] = {row["machine"]: row.pop("basis") for row in estimates}
        plan["estimates"] = estimates
    return plan


def estimate_trials(
    execution: Execution, trials: Sequence[Trial], *, precision: str, progress: Progress
) -> list[dict[str, Any]]:
    """How long trials take on this machine, measured, and on 8 GPUs, assumed.

    Where the number of workers is left to measurement, a worker for each core is what it mostly
    comes to, and what is measured here.
    """
    gpus = visible_gpus()
    workers, threads = execution.fixed_workers(len(trials)), execution.threads
    if execution.is_free and not gpus:
        workers, threads = usable_cores(), 1
    return dry_run_estimates(
        trials,
        precision=precision,
        workers=workers,
        threads=threads,
        devices=gpus or None,
        progress=progress,
    )
