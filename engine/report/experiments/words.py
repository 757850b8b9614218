"""Sentences from numbers: what a difference says, and which series they speak of.

Nothing here knows what should come out: the same function says "loses", "gains" or that no
difference can be shown, as the interval has it.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.analysis.statistics import Difference
from engine.report import numbers
from engine.report.experiments.conditions import Condition
from engine.report.experiments.series import Series

MOST_SERIES = 4
"""Series that a section speaks of; its table has all."""

MOST_UNCOMPARED = 3
"""Conditions without a baseline that a sentence names."""

_SINGLE = "one run each: chance is not known"
_EQUAL = "equal in every run: chance is not known"


def change(found: Difference | None) -> str:
    """ "loses 3.2 points (95 % interval 2.1 to 4.3)", or that no change can be shown."""
    if found is None:
        return "can’t be compared: there is no run to compare with"
    size = f"{numbers.signless(100 * abs(found.mean))} points"
    direction = "gains" if found.mean > 0 else "loses"
    ends = numbers.interval_of(found)
    if ends is None:
        return f"changes accuracy by {numbers.gain(found)} points ({_unknown(found)})"
    if ends[0] > 0 or ends[1] < 0:
        least, most = sorted((100 * abs(ends[0]), 100 * abs(ends[1])))
        return f"{direction} {size} (95 % interval {interval(least, most)})"
    return f"shows no sure change ({numbers.gain(found)} points, 95 % interval {of(found)})"


def than(found: Difference | None) -> str:
    """ "3.2 points above (2.1 to 4.3)", "… below", or "not told apart from"."""
    if found is None:
        return "not compared with"
    size = f"{numbers.signless(100 * abs(found.mean))} points"
    direction = "above" if found.mean > 0 else "below"
    ends = numbers.interval_of(found)
    if ends is None:
        is_level = numbers.gain(found) == numbers.signless(0.0)
        return f"{'level with' if is_level else f'{size} {direction}'} ({_unknown(found)})"
    if ends[0] > 0 or ends[1] < 0:
        return f"{size} {direction} (95 % interval of the difference {of(found)})"
    return f"not told apart from ({numbers.gain(found)} points, {of(found)})"


def of(found: Difference) -> str:
    """A difference's interval in points with signs: "−1.0 to +0.4"."""
    assert found.ci_low is not None
    assert found.ci_high is not None
    return f"{numbers.signed(100 * found.ci_low)} to {numbers.signed(100 * found.ci_high)}"


def _unknown(found: Difference) -> str:
    return _EQUAL if numbers.is_without_scatter(found) else _SINGLE


def interval(low: float, high: float, decimals: int = 1) -> str:
    """ "2.1 to 4.3"."""
    return f"{numbers.signless(low, decimals)} to {numbers.signless(high, decimals)}"


def telling(series: Sequence[Series]) -> list[Series]:
    """The series to speak of: per IPC the one with most variants, first and last IPCs first."""
    best: dict[int, Series] = {}
    for each in series:
        known = best.get(each.ipc)
        if known is None or len(each.variants) > len(known.variants):
            best[each.ipc] = each
    ordered = [best[ipc] for ipc in sorted(best)]
    if len(ordered) <= MOST_SERIES:
        return ordered
    half = MOST_SERIES // 2
    return [*ordered[:half], *ordered[-half:]]


def at(series: Series, among: Sequence[Series]) -> str:
    """ "At IPC 10" and what else tells it from others."""
    return f"At {series.where(among)}"


def uncompared(
    place: str, lacking: str, named: Sequence[tuple[str, Condition]], of: tuple[str, str]
) -> str:
    """That the runs at a place have nothing to be compared with, and what they reach all the same.

    Args:
        place: "At IPC 10".
        lacking: what there would have to be, "run of the main student with hard labels".
        named: what each condition there is called.
        of: the accuracy to tell, a measure and a split.
    """
    reached = [
        f"{text} reaches {numbers.accuracy(found)} %"
        for text, condition in named[:MOST_UNCOMPARED]
        if (found := condition.cell.summary(*of)) is not None
    ]
    told = f": {'; '.join(reached)}" if reached else ""
    return f"{place} there is no {lacking} to compare with{told}."


def taught_by(series: Series) -> str:
    """ "with labels of expert epoch 13"; "with hard labels" where no expert labelled."""
    epoch = series.epoch
    return "with hard labels" if epoch is None else f"with labels of expert epoch {epoch}"


def accuracy_of(mean: float) -> str:
    """ "14.3 %"."""
    return f"{numbers.percent(mean)} %"
