"""What comparisons make of a claim.

A claim predicts the outcome of comparisons between cells; its verdict follows from them alone.
*Confirmed*: every comparison holds at 95 %. Otherwise only what also holds, or shows the opposite,
where all comparisons of the claim are judged together (Bonferroni), so that one of many can't
decide by chance: *confirmed in part*: some hold, and of a claim with several parts (a rise and a
fall) all those of one case; *mixed*: some hold and some show the opposite; *refuted*: some show the
opposite, or all do by themselves; *not decided*: anything else. *Not testable at this scale*: the
runs are not there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from engine.report.claims.comparisons import Comparison, Outcome

Verdict = Literal[
    "confirmed",
    "confirmed in part",
    "not decided",
    "mixed",
    "refuted",
    "not testable at this scale",
]


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """A verdict that follows from more than a claim's comparisons, and why, in a sentence."""

    verdict: Verdict
    why: str


def verdict(comparisons: Iterable[Comparison]) -> Verdict:
    """What comparisons make of their claim."""
    every = list(comparisons)
    if not every:
        return "not testable at this scale"
    alone = {each.outcome for each in every}
    if alone == {"holds"}:
        return "confirmed"
    if alone == {"contradicts"}:
        return "refuted"
    cases: dict[str | int, set[Outcome]] = {}
    for number, each in enumerate(every):
        cases.setdefault(each.case or number, set()).add(each.outcome_among(len(every)))
    together = set[Outcome]().union(*cases.values())
    if "contradicts" in together:
        return "mixed" if "holds" in together else "refuted"
    return "confirmed in part" if {"holds"} in cases.values() else "not decided"
