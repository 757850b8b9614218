"""Results in, numbers out: statistics over finished trials, without files or figures.

`parse_trial` turns one trial record into a `Trial`; `split_into_panels` sorts trials into panels of
cells that may be compared; `summarise` and `difference` give a cell its mean, spread and interval;
`choose_expert_epoch` says which expert epoch is best and on what evidence. Everything is a pure
function of its arguments, so a number in a report can be recomputed from the trials it names.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Cell": "engine.analysis.grid",
    "Choice": "engine.analysis.choice",
    "Difference": "engine.analysis.statistics",
    "MEASURES": "engine.analysis.trials",
    "Panel": "engine.analysis.grid",
    "Plan": "engine.analysis.plan",
    "Summary": "engine.analysis.statistics",
    "Trial": "engine.analysis.trials",
    "choose_as_the_papers": "engine.analysis.choice",
    "choose_expert_epoch": "engine.analysis.choice",
    "difference": "engine.analysis.statistics",
    "parse_plan": "engine.analysis.plan",
    "parse_trial": "engine.analysis.trials",
    "spread_meaning": "engine.analysis.grid",
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
