"""What the papers claim, in the order of their arguments.

*The paper*: Qin et al., A Label is Worth a Thousand Images in Dataset Distillation (arXiv
2406.10485). *The reproduction*: Reproducibility Challenge: A Label is Worth a Thousand Images in
Dataset Distillation, on CIFAR-100.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.report.claims.paper_budgets import BUDGETS
from engine.report.claims.paper_labels import LABELS
from engine.report.claims.statement import Statement

PAPER = "Qin et al., A Label is Worth a Thousand Images in Dataset Distillation (arXiv 2406.10485)"
REPRODUCTION = (
    "the reproducibility challenge of the same title, on CIFAR-100 with a three-block ConvNet"
)

STATEMENTS: Mapping[str, Statement] = {each.key: each for each in (*BUDGETS, *LABELS)}
"""Every claim by its key."""
