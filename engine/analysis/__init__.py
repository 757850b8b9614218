"""Results in, numbers out: statistics over finished trials, without files or figures.

`parse_trial` turns one trial record into a `Trial`; `split_into_panels` sorts trials into panels of
cells that may be compared; `summarise` and `difference` give a cell its mean, spread and interval;
`choose_expert_epoch` says which expert epoch is best and on what evidence, `best_epochs` how sure
that is and `judge_growth` whether it grows with IPC. `record_asked` and `read_asked` keep what a
sweep was asked for, so that `missing_runs` can tell what it owes.

`draw_means` and `draw_difference` resample runs, `effect_size` and `split_variance` say more of
how these scatter; `pareto_front`, `fit_laws` and `worth_in_images` what a whole grid says: which
cells are worth their cost, by which law accuracy goes with images and knowledge, and how many
images a soft label is worth. Everything is a pure function of its arguments (resampling is seeded),
so a number in a report can be recomputed from the trials it names.
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
    "EffectSize": "engine.analysis.effects",
    "FORMS": "engine.analysis.law_forms",
    "Growth": "engine.analysis.best_epoch",
    "Interval": "engine.analysis.bootstrap",
    "LawFit": "engine.analysis.scaling_law",
    "LawPoint": "engine.analysis.scaling_law",
    "MEASURES": "engine.analysis.trials",
    "Measured": "engine.analysis.pareto",
    "Optimum": "engine.analysis.scaling_law",
    "Panel": "engine.analysis.grid",
    "ParetoPoint": "engine.analysis.pareto",
    "Plan": "engine.analysis.plan",
    "Residual": "engine.analysis.scaling_law",
    "Summary": "engine.analysis.statistics",
    "Trial": "engine.analysis.trials",
    "VarianceSplit": "engine.analysis.variance",
    "Worth": "engine.analysis.worth",
    "best_epochs": "engine.analysis.best_epoch",
    "choose_as_the_papers": "engine.analysis.choice",
    "choose_expert_epoch": "engine.analysis.choice",
    "compare_candidates": "engine.analysis.best",
    "difference": "engine.analysis.statistics",
    "draw_difference": "engine.analysis.bootstrap",
    "draw_means": "engine.analysis.bootstrap",
    "effect_size": "engine.analysis.effects",
    "fit_laws": "engine.analysis.scaling_law",
    "judge_growth": "engine.analysis.best_epoch",
    "missing_runs": "engine.analysis.grid",
    "pareto_front": "engine.analysis.pareto",
    "parse_plan": "engine.analysis.plan",
    "parse_trial": "engine.analysis.trials",
    "read_asked": "engine.analysis.asked",
    "record_asked": "engine.analysis.asked",
    "split_into_panels": "engine.analysis.grid",
    "split_variance": "engine.analysis.variance",
    "spread_meaning": "engine.analysis.cells",
    "summarise": "engine.analysis.statistics",
    "worth_in_images": "engine.analysis.worth",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
