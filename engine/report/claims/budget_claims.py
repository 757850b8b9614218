"""Claims about soft against hard labels at a budget of images."""

from __future__ import annotations

import math
from collections.abc import Mapping

from engine.analysis.statistics import Difference
from engine.analysis.worth import Worth
from engine.report.claims.cells import percent, place, renamed, runs_of
from engine.report.claims.comparisons import Comparison, compare
from engine.report.claims.registry import Said, claim
from engine.report.claims.runs import Side
from engine.report.experiments import worth
from engine.report.experiments.conditions import Condition
from engine.report.experiments.evidence import Evidence

LENGTH = ("lr", "student.lr", "student.epochs", "student.evaluations", "student.schedule.")
"""Settings, or what they begin with, in which students of different IPCs may differ."""


@claim("soft-beats-hard")
def soft_beats_hard(evidence: Evidence) -> Said:
    for ipc in evidence.ipcs:
        best = evidence.best_soft(ipc)
        if best is None:
            continue
        soft, hard = runs_of(best[0], evidence), runs_of(evidence.hard_of(best[0]), evidence)
        at = f"IPC {ipc}, epoch {best[0].epoch}"
        for each in compare({at: soft, "hard": hard}, "hard", "greater"):
            yield renamed(each, f"{at}, less hard labels")
        if soft and hard:
            yield (
                f"{at}, chosen on {best[1].chosen_on}: {percent(soft, hard)} against "
                f"{percent(hard, soft)} with hard labels"
            )


@claim("label-worth")
def label_is_worth_images(evidence: Evidence) -> Said:
    weighed, hard = evidence.weighed
    fewest = min((len(runs_of(each, evidence).values) for each in hard.values()), default=0)
    for each in weighed:
        if not _tells_of_one(each.worth):
            continue
        soft = runs_of(each.soft, evidence)
        yield Comparison(
            what=f"{place(each.soft)}: hard-labelled images that a label replaces, less 1"
            + _BOUNDS.get(each.worth.kind, ""),
            difference=_more_than_one(each.worth, min(len(soft.values), fewest)),
            expected="greater",
            own=soft.side(soft.values),
            other=_curve(hard, evidence),
            unit="images",
        )
    for each in weighed:
        yield worth.sentence(each.worth)


_BOUNDS = {
    "more than measured": " (at least)",
    "less than measured": " (at most)",
    "extrapolated": " (extrapolated)",
}


def _tells_of_one(found: Worth) -> bool:
    """Whether it is more than a bound on the wrong side of one image."""
    assert found.per_label is not None
    if found.kind == "more than measured":
        return found.per_label > 1
    return found.kind != "less than measured" or found.per_label < 1


def _more_than_one(found: Worth, n: int) -> Difference:
    """Images per label, less 1; beyond the hard labels measured the interval has no end."""
    assert found.per_label is not None
    low, high = (None if end is None else end / found.ipc for end in (found.low, found.high))
    # Where all draws lie off the same end of the curve, that end is what is known of them.
    low = found.per_label if low == math.inf else low
    high = found.per_label if high == 0 else high
    return Difference(
        mean=found.per_label - 1,
        ci_low=None if low is None else low - 1,
        ci_high=None if high is None else high - 1,
        n=n,
        paired=False,
        degrees=found.units - 1 if found.has_interval else None,
        units=found.units,
    )


def _curve(hard: Mapping[int, Condition], evidence: Evidence) -> Side:
    """All hard labels that a worth is read from."""
    sides = [runs.side(runs.values) for c in hard.values() if (runs := runs_of(c, evidence))]
    return Side(
        of="trials",
        ids=tuple(each for side in sides for each in side.ids),
        cell=sides[0].cell if sides else None,
    )


@claim("knowledge-replaces-images")
def knowledge_replaces_images(evidence: Evidence) -> Said:
    hard = {
        ipc: plain
        for ipc in evidence.ipcs
        if (plain := evidence.plain_hard(ipc)) and runs_of(plain, evidence)
    }
    for ipc in evidence.ipcs:
        best = evidence.best_soft(ipc)
        more = min((other for other in hard if other > ipc), default=None)
        if best is None or more is None or not _are_alike(best[0], hard[more]):
            continue
        name = f"IPC {more} with hard labels"
        soft = runs_of(best[0], evidence)
        cells = {place(best[0]): soft, name: runs_of(hard[more], evidence)}
        for each in compare(cells, name, "greater"):
            yield renamed(each, f"{each.what}, less {name}")


def _are_alike(first: Condition, second: Condition) -> bool:
    """Whether students of two IPCs differ in nothing but their length and learning rate."""
    one, other = dict(first.student), dict(second.student)
    names = {name for name in {*one, *other} if one.get(name) != other.get(name)}
    return all(name.startswith(LENGTH) for name in names)
