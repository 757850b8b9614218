"""Training: the step, evaluation, checkpoints, the expert run and the student run.

Names are resolved on first use: who needs no tensors waits for no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.training.expert import train_expert
    from engine.training.expert_run import ExpertRun, open_run, run_info, verify_run
    from engine.training.recipe import ExpertRecipe, Seeds, StudentRecipe
    from engine.training.student import StudentTrainer

_HOMES = {
    "ExpertRecipe": "recipe",
    "ExpertRun": "expert_run",
    "Seeds": "recipe",
    "StudentRecipe": "recipe",
    "StudentTrainer": "student",
    "open_run": "expert_run",
    "run_info": "expert_run",
    "train_expert": "expert",
    "verify_run": "expert_run",
}

__all__ = [
    "ExpertRecipe",
    "ExpertRun",
    "Seeds",
    "StudentRecipe",
    "StudentTrainer",
    "open_run",
    "run_info",
    "train_expert",
    "verify_run",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
