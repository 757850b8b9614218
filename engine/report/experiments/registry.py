"""Every experiment that a report knows, in the order of its page.

The papers' claims, which are judged once for the whole report, stand before them (`gathered`).
"""

from __future__ import annotations

from engine.report.experiments import (
    baseline,
    expert_quality,
    generated,
    laws,
    learned,
    learning_rate,
    named_labels,
    noise,
    pareto,
    robustness,
    selection,
    shuffle,
    students,
    swap,
    temperature,
    top_k,
    worth,
    zero_shot,
)
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding

EXPERIMENTS: tuple[Experiment, ...] = (
    worth.EXPERIMENT,
    baseline.EXPERIMENT,
    expert_quality.EXPERIMENT,
    pareto.EXPERIMENT,
    laws.EXPERIMENT,
    top_k.EXPERIMENT,
    swap.EXPERIMENT,
    shuffle.EXPERIMENT,
    generated.EXPERIMENT,
    noise.EXPERIMENT,
    named_labels.STRUCTURE_EXPERIMENT,
    zero_shot.EXPERIMENT,
    temperature.EXPERIMENT,
    learning_rate.EXPERIMENT,
    selection.EXPERIMENT,
    students.CUTMIX,
    students.STUDENTS,
    named_labels.OTHERS,
    learned.EXPERIMENT,
    robustness.EXPERIMENT,
)
"""In the order of the page."""


def run_experiments(evidence: Evidence) -> list[tuple[Experiment, Finding]]:
    """Every experiment of which the trials hold something, with what it found."""
    found = ((each, each.find(evidence)) for each in EXPERIMENTS)
    return [(each, finding) for each, finding in found if finding is not None]
