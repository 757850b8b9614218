"""Training: the step, evaluation, checkpoints, the expert run and the student run."""

from engine.training.expert import train_expert
from engine.training.expert_run import ExpertRun, open_run, run_info, verify_run
from engine.training.recipe import ExpertRecipe, StudentRecipe
from engine.training.student import Seeds, StudentTrainer

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
