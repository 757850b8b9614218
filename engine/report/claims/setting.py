"""What was run, for a reader who knows nothing of it: experts, students, how long these train."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from engine.report import numbers
from engine.report.experiments.evidence import Evidence

ABOUT_EQUAL = 1.1
"""Steps of different IPCs that differ by no more than this factor count as the same."""


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long the main student of one IPC trains; steps: of SGD, None where not recorded."""

    epochs: int
    steps: int | None


def lengths(evidence: Evidence) -> dict[int, Length]:
    """By IPC; of those whose records say it."""
    classes = evidence.results.num_classes
    found = {}
    for ipc, student in sorted(evidence.main_students.items()):
        settings = dict(student)
        epochs, batch = settings.get("student.epochs"), settings.get("student.batch_size")
        if isinstance(epochs, int):
            steps = None
            if isinstance(batch, int) and classes:
                # The partial last batch of an epoch is a step like the others.
                steps = epochs * math.ceil(ipc * classes / batch)
            found[ipc] = Length(epochs=epochs, steps=steps)
    return found


def experts_in_words(evidence: Evidence) -> str:
    """Every expert with its epochs and how accurate it became."""
    told = []
    for name in sorted({each.expert for each in evidence.results.experts}):
        of = sorted((e for e in evidence.results.experts if e.expert == name), key=_epoch)
        tested = [each for each in of if each.test is not None]
        epochs = ", ".join(str(each.epoch) for each in of)
        text = f"{name}: labels of epoch{'s' if len(of) > 1 else ''} {epochs}"
        if tested:
            last = tested[-1]
            text += f"; {numbers.percent(last.test)} % on test after {last.epoch}"
        told.append(text)
    return ". ".join(told)


def _epoch(checkpoint: object) -> int:
    return int(getattr(checkpoint, "epoch", 0))


def lengths_in_words(of: Mapping[int, Length]) -> str:
    """`300 epochs at IPC 1 and 2, 75 at IPC 10`."""
    at: dict[int, list[str]] = {}
    for ipc, each in of.items():
        at.setdefault(each.epochs, []).append(str(ipc))
    told = [
        f"{epochs:,} {'epochs ' if number == 0 else ''}at IPC {numbers.listed(ipcs)}"
        for number, (epochs, ipcs) in enumerate(at.items())
    ]
    return ", ".join(told)


def steps_in_words(of: Mapping[int, Length], published_epochs: int | None) -> str:
    """Whether students of all IPCs make the same number of steps, and how many the papers' do."""
    steps = [each.steps for each in of.values() if each.steps is not None]
    if not steps or len(steps) < len(of):
        return ""
    fewest, most = min(steps), max(steps)
    span = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    if are_equal(of):
        text = f"Students make {span} steps of SGD, the same number at every IPC."
    else:
        text = f"Students make {span} steps of SGD, depending on their IPC."
    if published_epochs is not None and any(e.epochs != published_epochs for e in of.values()):
        text += f" The papers’ train for {published_epochs:,} epochs at every IPC."
    return text.replace(" the same number at every IPC", "") if len(of) == 1 else text


def are_equal(of: Mapping[int, Length]) -> bool:
    """Whether students of several IPCs make about the same number of steps."""
    steps = [each.steps for each in of.values() if each.steps is not None]
    return len(steps) == len(of) > 1 and max(steps) <= ABOUT_EQUAL * min(steps)


def worth_caveat(of: Mapping[int, Length]) -> str:
    """What the number of images per label depends on; empty where the lengths are not known."""
    if not of:
        return ""
    least, most = min(of), max(of)
    if are_equal(of):
        return (
            "Caveat: students of all IPCs make the same number of SGD steps, so those with more "
            f"images see each of them less often ({of[least].epochs:,} times at IPC {least}, "
            f"{of[most].epochs:,} at IPC {most}). This is what a label is worth at an equal budget "
            "of computation, not to students that train until they converge."
        )
    if len({each.epochs for each in of.values()}) > 1:
        return (
            "Caveat: students of different IPCs train for different lengths "
            f"({lengths_in_words(of)}), which is part of what a label is worth here."
        )
    return (
        f"Every student sees each of its images {of[least].epochs:,} times, so those with more "
        "images make more steps of SGD, as in the papers."
    )
