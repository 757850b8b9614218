"""Which runs may stand beside published accuracies: students like the papers' own (Table 7)."""

from __future__ import annotations

from engine.report.claims.statement import Concern
from engine.report.experiments.conditions import Condition
from engine.report.experiments.evidence import Evidence
from engine.report.published import Published

DISTILLED = "DM"
"""The published method of synthetic images that random ones with soft labels are to beat."""

BASELINES = ("soft labels (paper)", "soft labels (reproduction)")
SRE2L = "SRe2L (CutMix labels)"
AUGMENTATION, RATE, MODEL = "student.augmentation", "student.lr", "student.model"


def published_rates(published: Published, model: object, ipc: int) -> set[float]:
    """The students' learning rate in Table 7; empty where the table has no such student."""
    tables = published.table7.items()
    return {of[ipc][1] for name, of in tables if _bare(name) == _bare(model) and ipc in of}


def is_published_student(condition: Condition, published: Published) -> bool:
    """Whether a student has the papers' architecture, length and learning rate at its IPC."""
    rates = published_rates(published, condition.axes.get(MODEL, ""), condition.ipc)
    return condition.learning_rate in rates and _is_as_long(condition, published)


def beside(*rows: str, augmentation: str | None = None) -> Concern:
    """Plain soft labels of published students at an IPC of these published rows."""

    def concerns(evidence: Evidence, condition: Condition) -> bool:
        published = evidence.published
        if published is None or condition.labels != "soft" or not evidence.is_plain(condition):
            return False
        there = any(condition.ipc in published.rows.get(name, {}) for name in rows)
        same = augmentation is None or condition.axes.get(AUGMENTATION) == augmentation
        return there and same and is_published_student(condition, published)

    return concerns


def other_rates(evidence: Evidence, condition: Condition) -> bool:
    """Plain soft labels of the main student with another learning rate, if as long as published."""
    published, deviations = evidence.published, evidence.deviates(condition)
    if published is None or condition.labels != "soft" or not evidence.is_plain(condition):
        return False
    return set() < deviations <= {RATE, "lr"} and _is_as_long(condition, published)


def _is_as_long(condition: Condition, published: Published) -> bool:
    return condition.axes.get("student.epochs") == published.student_epochs


def _bare(name: object) -> str:
    return str(name).replace("-", "").lower()
