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
    "check_environment": "engine.doctor",
    "check_labels": "engine.labelling",
    "compare_with_expert": "engine.experiments.learned_labels",
    "derive_labels": "engine.experiments.learned_labels",
    "diff_trials": "engine.sweep.answers.difference",
    "distilled_info": "engine.distilled",
    "dump_labels": "engine.labelling",
    "evaluate_distilled": "engine.distilled",
    "evaluation_info": "engine.distilled",
    "explain_trial": "engine.sweep.answers.explain",
    "export_distilled": "engine.distilled",
    "import_labels": "engine.labelling",
    "learn_labels": "engine.experiments.learned_labels",
    "learned_info": "engine.experiments.learned_labels",
    "open_distilled": "engine.distilled",
    "plot_labels": "engine.report",
    "query_results": "engine.sweep.answers.results",
    "read_evaluation": "engine.distilled",
    "read_learned": "engine.experiments.learned_labels",
    "reproduce": "engine.reproduction",
    "run_demo": "engine.demo",
    "run_info": "engine.training.expert_run",
    "recommend": "engine.advice",
    "report_info": "engine.report",
    "sweep_info": "engine.sweep",
    "sweep_status": "engine.sweep",
    "sweep_students": "engine.sweep",
    "train_expert": "engine.training",
    "verify_distilled": "engine.distilled",
    "verify_evaluation": "engine.distilled",
    "verify_learned": "engine.experiments.learned_labels",
    "verify_report": "engine.report",
    "verify_run": "engine.training.expert_run",
    "verify_sweep": "engine.sweep",
    "write_report": "engine.report",
}

__all__ = [
    "batches",
    "check_environment",
    "check_labels",
    "compare_with_expert",
    "derive_labels",
    "diff_trials",
    "distilled_info",
    "dump_labels",
    "evaluate_distilled",
    "evaluation_info",
    "explain_trial",
    "export_distilled",
    "import_labels",
    "learn_labels",
    "learned_info",
    "open_distilled",
    "plot_labels",
    "query_results",
    "read_evaluation",
    "read_learned",
    "recommend",
    "report_info",
    "reproduce",
    "run_demo",
    "run_info",
    "sweep_info",
    "sweep_status",
    "sweep_students",
    "train_expert",
    "verify_distilled",
    "verify_evaluation",
    "verify_learned",
    "verify_report",
    "verify_run",
    "verify_sweep",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'engine' has no attribute {name!r}")
