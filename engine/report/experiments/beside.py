"""Ours beside the published numbers: how the two differ, wherever they are drawn together."""

from __future__ import annotations

from collections.abc import Iterable

from engine.report import numbers
from engine.report.experiments.conditions import Condition
from engine.report.experiments.evidence import Evidence

MAXIMUM, FINAL = "max on test", "final epoch"


def beside_published(
    evidence: Evidence,
    conditions: Iterable[Condition],
    *,
    ours: str = "",
    theirs: str = MAXIMUM,
) -> str:
    """How long students train and what is measured of them, here and in the published runs.

    Either alone moves accuracies. Empty where nothing was published of the dataset.

    Args:
        conditions: ours that are drawn.
        ours: what is measured of them; by default what figures draw.
        theirs: what the published numbers measure.
    """
    if evidence.published is None:
        return ""
    lengths = sorted(
        {
            length
            for each in conditions
            if each.is_measured and isinstance(length := each.axes.get("student.epochs"), int)
        }
    )
    measure, split = evidence.of
    measured = ours or numbers.MEASURE_NAMES[measure] + ("" if split == "test" else f" ({split})")
    parts = [_students(lengths), measured] if lengths else [measured]
    return (
        f"ours: {', '.join(parts)}; published: "
        f"{_students([evidence.published.student_epochs])}, {theirs}"
    )


def _students(lengths: list[int]) -> str:
    span = f"{lengths[0]:,}" if len(lengths) == 1 else f"{lengths[0]:,}–{lengths[-1]:,}"
    return f"students of {span} epochs"
