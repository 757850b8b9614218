"""Data loading, experts, soft labels, students and reports for soft-label research.

The path of the data is the order of the commands, and each command is one function here:

    beton_builder.build_beton → train_expert → dump_labels → sweep_students → write_report

Names are resolved when first used, so that ``import engine`` loads neither torch nor zarr.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "batches": "engine.loading",
    "check_labels": "engine.labelling",
    "diff_trials": "engine.sweep.answers.difference",
    "dump_labels": "engine.labelling",
    "explain_trial": "engine.sweep.answers.explain",
    "import_labels": "engine.labelling",
    "plot_labels": "engine.report",
    "query_results": "engine.sweep.answers.results",
    "run_demo": "engine.demo",
    "run_info": "engine.training.expert_run",
    "report_info": "engine.report",
    "sweep_info": "engine.sweep",
    "sweep_status": "engine.sweep",
    "sweep_students": "engine.sweep",
    "train_expert": "engine.training",
    "verify_report": "engine.report",
    "verify_run": "engine.training.expert_run",
    "verify_sweep": "engine.sweep",
    "write_report": "engine.report",
}

__all__ = [
    "batches",
    "check_labels",
    "diff_trials",
    "dump_labels",
    "explain_trial",
    "import_labels",
    "plot_labels",
    "query_results",
    "report_info",
    "run_demo",
    "run_info",
    "sweep_info",
    "sweep_status",
    "sweep_students",
    "train_expert",
    "verify_report",
    "verify_run",
    "verify_sweep",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'engine' has no attribute {name!r}")
