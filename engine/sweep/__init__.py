"""Sweeps: a plan of trials, the ledger of finished ones, and the executor between them.

Names are resolved when first used: who asks for results waits for no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Grid": "engine.sweep.planning.grid",
    "Ledger": "engine.sweep.ledger",
    "Trial": "engine.sweep.planning.trial",
    "diff_trials": "engine.sweep.answers.difference",
    "explain_trial": "engine.sweep.answers.explain",
    "load_grids": "engine.sweep.planning.grid",
    "plan_trials": "engine.sweep.planning.plan",
    "query_results": "engine.sweep.answers.results",
    "sweep_info": "engine.sweep.ledger",
    "sweep_status": "engine.sweep.watching.status",
    "sweep_students": "engine.sweep.run",
    "verify_sweep": "engine.sweep.ledger",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
