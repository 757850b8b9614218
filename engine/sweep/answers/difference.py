"""In what two trials differ: settings side by side, and the gap between their accuracies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.analysis.trials import flatten
from engine.sweep.answers.explain import find_trial

_COMPARED = ("cell", "seeds", "student", "parents", "environment")
_NOT_COMPARED = frozenset(
    {"kind", "id", "result", "seconds", "images_per_second", "error", "teacher"}
)
"""Time is never the same twice, results are compared apart, the teacher is in cell and parents."""


def diff_trials(sweep: str | Path | None, a: str | Path, b: str | Path) -> dict[str, Any]:
    """What differs between two trials, side by side, and by how much their accuracies do.

    Args:
        sweep: folder of the sweep of those named by id; None where both are files.
        a, b: id or a beginning of it, or a trial's file, perhaps of another sweep.

    Returns:
        ``a``, ``b`` (ids), ``differences`` (rows of ``part``, ``key``, ``a``, ``b``; a key that
        one lacks is None there), ``accuracy`` (rows of ``measure``, ``a``, ``b``, ``b_minus_a``,
        fractions from 0 to 1) and a ``message``.

    Raises:
        As :func:`find_trial`.
    """
    (file_a, first), (file_b, second) = find_trial(sweep, a), find_trial(sweep, b)
    parts = [*_COMPARED, *sorted((set(first) | set(second)) - set(_COMPARED) - _NOT_COMPARED)]
    differences = [row for part in parts for row in _rows(part, first.get(part), second.get(part))]
    where = list(dict.fromkeys(row["part"] for row in differences))
    return {
        "a": first["id"],
        "b": second["id"],
        "record_a": str(file_a),
        "record_b": str(file_b),
        "differences": differences,
        "accuracy": _accuracies(first, second),
        "message": _verdict(where, first, second),
    }


def _rows(part: str, a: Any, b: Any) -> list[dict[str, Any]]:
    first, second = (flatten(each if isinstance(each, Mapping) else {"": each}) for each in (a, b))
    return [
        {"part": part, "key": key, "a": first.get(key), "b": second.get(key)}
        for key in dict.fromkeys([*first, *second])
        if first.get(key) != second.get(key)
    ]


def _accuracies(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    results = [each.get("result") or {} for each in (a, b)]
    for measure in ("final", "selected", "max_on_test"):
        for split in ("test", "validation"):
            first, second = ((result.get(measure) or {}).get(split) for result in results)
            if first is not None or second is not None:
                gap = None if first is None or second is None else second - first
                name = measure if measure == "max_on_test" else f"{measure}_{split}"
                rows.append({"measure": name, "a": first, "b": second, "b_minus_a": gap})
    return rows


def _verdict(where: list[str], a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    if a["id"] == b["id"]:
        same = a.get("result") == b.get("result")
        return f"The same trial, with {'equal results' if same else 'different results'}."
    if set(where) <= {"seeds", "environment"} and "seeds" in where:
        return "Two repeats of one cell: they differ by seeds alone."
    return f"They differ in {', '.join(where)}."
