"""Which images a student sees, and what becomes of their labels: pure functions by name."""

from engine.experiments.selection import select_random
from engine.experiments.targets import hard_targets

__all__ = ["hard_targets", "select_random"]
