"""Sweeps: a plan of trials, the ledger of finished ones, and the executor between them.

Names are resolved when first used: who asks for results waits for no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Grid": "engine.sweep.grid",
    "Ledger": "engine.sweep.ledger",
    "Trial": "engine.sweep.trial",
    "diff_trials": "engine.sweep.difference",
    "explain_trial": "engine.sweep.explain",
    "load_grids": "engine.sweep.grid",
    "plan_trials": "engine.sweep.plan",
    "query_results": "engine.sweep.results",
    "sweep_info": "engine.sweep.ledger",
    "sweep_status": "engine.sweep.status",
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
