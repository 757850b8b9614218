"""What a claim consists of before any run is looked at, and which runs it is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.report.experiments.conditions import Condition, only_step
from engine.report.experiments.evidence import Evidence
from engine.report.published import Published

Concern = Callable[[Evidence, Condition], bool]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A claim of the papers.

    key: short, for tables and links. text: the claim in a line, as it is tested. source: where it
    stands. stated: as the papers put it. needs: the runs that test it. published: the papers'
    numbers on a dataset in words, empty where there are none. concerns: whether a condition is
    among the runs that test it. figures, tables: names of those that show it, best first.
    """

    key: str
    text: str
    source: str
    stated: str
    needs: str
    published: Callable[[Published], str]
    concerns: Concern
    figures: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


def nothing(published: Published) -> str:
    """For claims that were published without numbers that ours could stand beside."""
    return ""


def plain(evidence: Evidence, condition: Condition) -> bool:
    """Plain soft labels of the main student."""
    return condition.labels == "soft" and _is_main(evidence, condition)


def plain_at_fewest(evidence: Evidence, condition: Condition) -> bool:
    """The same at the fewest images per class."""
    return condition.ipc == min(evidence.ipcs) and plain(evidence, condition)


def plain_or_hard(evidence: Evidence, condition: Condition) -> bool:
    """Plain soft labels, or hard ones, of the main student."""
    return _is_main(evidence, condition)


def of_another_expert(evidence: Evidence, condition: Condition) -> bool:
    """Where several experts labelled, plain soft labels of any but the first, and hard ones."""
    experts = {each.expert for each in evidence.results.experts}
    if len(experts) < 2 or not _is_main(evidence, condition):
        return False
    return condition.labels == "hard" or condition.axes.get("expert") != min(experts)


def _is_main(evidence: Evidence, condition: Condition) -> bool:
    return evidence.is_plain(condition) and not evidence.deviates(condition)


def transform(*names: str) -> Concern:
    """Labels to which one of these transforms alone was applied."""
    return lambda _, condition: any(only_step(condition, name) is not None for name in names)


def selection(*names: str) -> Concern:
    """Images chosen in one of these ways; in any but at random where none is named."""

    def chosen(_: Evidence, condition: Condition) -> bool:
        name = str(condition.axes["selection"]).partition(":")[0]
        if names:
            return name in names and condition.labels == "soft"
        return name not in ("random", "drop-class")

    return chosen


def other_than_main(axis: str) -> Concern:
    """Plain labels of students that differ from the main one in this setting."""

    def other(evidence: Evidence, condition: Condition) -> bool:
        return evidence.is_plain(condition) and axis in evidence.deviates(condition)

    return other


def softened(evidence: Evidence, condition: Condition) -> bool:
    """Labels at another temperature."""
    another = condition.axes["temperature"] != evidence.plain["temperature"]
    return condition.labels == "soft" and another


def of_no_trial(evidence: Evidence, condition: Condition) -> bool:
    """For claims that are tested on something else than students."""
    return False
