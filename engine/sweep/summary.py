"""What a run of a sweep came to: the command's result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.analysis import MEASURES, parse_trial, split_into_panels
from engine.sweep.ledger import Ledger
from engine.sweep.recording import Outcome
from engine.sweep.trial import Trial


def summarise(
    ledger: Ledger,
    trials: list[Trial],
    ran: list[Trial],
    outcome: Outcome,
    seconds: float,
) -> dict[str, Any]:
    """What the asked trials came to, now or before; ``ran``: those that this run had left to do."""
    wanted = {trial.id for trial in trials}
    records = [record for record in ledger.records() if record["id"] in wanted]
    failed = [record for record in records if record["status"] == "failed"]
    return {
        "status": "swept" if ran else "finished already",
        "sweep": str(ledger.path),
        "trials": len(trials),
        "ran": len(ran),
        "failed": len(failed),
        "errors": sorted({record["error"].strip().splitlines()[-1] for record in failed}),
        "workers_lost": outcome.workers_lost,
        "seconds": seconds,
        "seconds_by_part": outcome.seconds,
        "bottleneck": _bottleneck(outcome.seconds),
        "table": _table(records),
    }


def _bottleneck(seconds: Mapping[str, float]) -> str:
    """Where the workers' time went, largest part first."""
    total = sum(seconds.values())
    parts = sorted(seconds.items(), key=lambda part: -part[1]) if total else []
    return ", ".join(f"{part} {spent / total:.0%}" for part, spent in parts)


def _table(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for panel in split_into_panels([parse_trial(record) for record in records]):
        for cell in panel.cells.values():
            found = {measure: cell.summary(measure) for measure in MEASURES}
            rows.append(
                {
                    "ipc": cell.ipc,
                    "labels": "hard" if cell.expert_epoch is None else "soft",
                    "expert_epoch": cell.expert_epoch,
                    "n": len(cell.trials),
                    **{m: None if each is None else each.mean for m, each in found.items()},
                }
            )
    return rows
