"""Sweeps: a plan of trials, the ledger of finished ones, and the executor between them."""

from engine.sweep.ledger import Ledger, sweep_info, verify_sweep
from engine.sweep.plan import Grid, Trial, plan_trials
from engine.sweep.run import sweep_students

__all__ = [
    "Grid",
    "Ledger",
    "Trial",
    "plan_trials",
    "sweep_info",
    "sweep_students",
    "verify_sweep",
]
