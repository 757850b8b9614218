"""What a run of a sweep came to: the command's result."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from engine.analysis import MEASURES, parse_trial, split_into_panels
from engine.analysis import Trial as Result
from engine.sweep.executors.recording import Outcome
from engine.sweep.ledger import Ledger
from engine.sweep.planning.trial import Trial


def read_results(ledger: Ledger, trials: Iterable[Trial]) -> dict[str, Result]:
    """What trials came to, by id; those without a whole record are missing."""
    records = ledger.whole_records(trial.id for trial in trials)
    return {record["id"]: parse_trial(record) for record in records}


def summarise(
    sweep: Path,
    results: Mapping[str, Result],
    ran: list[Trial],
    outcome: Outcome,
    seconds: float,
) -> dict[str, Any]:
    """What the asked trials came to, now or before; ``ran``: those that this run had left to do."""
    failed = [result for result in results.values() if not result.done]
    return {
        "status": "swept" if ran else "finished already",
        "sweep": str(sweep),
        "trials": len(results),
        "ran": len(ran),
        "failed": len(failed),
        "errors": sorted({result.error.strip().splitlines()[-1] for result in failed}),
        "workers_lost": outcome.workers_lost,
        "seconds": seconds,
        "seconds_by_part": outcome.seconds,
        "bottleneck": _bottleneck(outcome.seconds),
        "table": _table(list(results.values())),
    }


def _bottleneck(seconds: Mapping[str, float]) -> str:
    """Where the workers' time went, largest part first."""
    total = sum(seconds.values())
    parts = sorted(seconds.items(), key=lambda part: -part[1]) if total else []
    return ", ".join(f"{part} {spent / total:.0%}" for part, spent in parts)


def _table(results: list[Result]) -> list[dict[str, Any]]:
    rows = []
    for panel in split_into_panels(results):
        for cell in panel.cells.values():
            rows.append(
                {
                    "ipc": cell.ipc,
                    "labels": "hard" if cell.expert_epoch is None else "soft",
                    "expert_epoch": cell.expert_epoch,
                    **dict(zip(panel.axes, cell.place, strict=True)),
                    "n": len(cell.trials),
                    **{measure: _mean(cell.values(measure).values()) for measure in MEASURES},
                }
            )
    return rows


def _mean(values: Collection[float]) -> float | None:
    return fmean(values) if values else None
