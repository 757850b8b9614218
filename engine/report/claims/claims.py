"""The claims of both papers, in their order, held against a report's trials."""

from __future__ import annotations

from engine.report.claims import (
    budget_claims,
    epoch_claims,
    image_claims,
    label_claims,
    student_claims,
)
from engine.report.claims.registry import TESTS, Judgement, judge

__all__ = [
    "TESTS",
    "Judgement",
    "budget_claims",
    "epoch_claims",
    "image_claims",
    "judge",
    "label_claims",
    "student_claims",
]
