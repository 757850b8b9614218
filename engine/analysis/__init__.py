"""Results in, numbers out: statistics over finished trials, without files or figures.

`parse_trial` turns one trial record into a `Trial`; `split_into_panels` sorts trials into panels of
cells that may be compared; `summarise` and `difference` give a cell its mean, spread and interval;
`choose_expert_epoch` says which expert epoch is best and on what evidence, `best_epochs` how sure
that is and `judge_growth` whether it grows with IPC. `record_asked` and `read_asked` keep what a
sweep was asked for, so that `missing_runs` can tell what it owes. Everything is a pure
function of its arguments, so a number in a report can be recomputed from the trials it names.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "AskedCell": "engine.analysis.asked",
    "BestEpoch": "engine.analysis.best_epoch",
    "Cell": "engine.analysis.cells",
    "Choice": "engine.analysis.choice",
    "Contest": "engine.analysis.best",
    "Difference": "engine.analysis.statistics",
    "Growth": "engine.analysis.best_epoch",
    "MEASURES": "engine.analysis.trials",
    "Panel": "engine.analysis.grid",
    "Plan": "engine.analysis.plan",
    "Summary": "engine.analysis.statistics",
    "Trial": "engine.analysis.trials",
    "best_epochs": "engine.analysis.best_epoch",
    "choose_as_the_papers": "engine.analysis.choice",
    "choose_expert_epoch": "engine.analysis.choice",
    "compare_candidates": "engine.analysis.best",
    "difference": "engine.analysis.statistics",
    "judge_growth": "engine.analysis.best_epoch",
    "missing_runs": "engine.analysis.grid",
    "parse_plan": "engine.analysis.plan",
    "parse_trial": "engine.analysis.trials",
    "read_asked": "engine.analysis.asked",
    "record_asked": "engine.analysis.asked",
    "spread_meaning": "engine.analysis.cells",
    "split_into_panels": "engine.analysis.grid",
    "summarise": "engine.analysis.statistics",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
