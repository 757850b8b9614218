"""What comparisons make of a claim.

A claim predicts the outcome of comparisons between cells; its verdict follows from them alone.
*Confirmed*: every comparison holds at 95 %. Otherwise only what also holds, or shows the opposite,
where all comparisons of the claim are judged together (Bonferroni), so that one of many can't
decide by chance: *confirmed in part*: some hold; *mixed*: some hold and some show the opposite;
*refuted*: some show the opposite, or all do by themselves; *not settled*: none is sure. *Not
testable here*: the runs are not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from engine.analysis.contrasts import contrasts
from engine.analysis.statistics import Difference, interval_among
from engine.analysis.trials import Seeds

Values = Mapping[Seeds, float]
Expected = Literal["greater", "less", "not greater"]
Outcome = Literal["holds", "contradicts", "open"]
Verdict = Literal[
    "confirmed", "confirmed in part", "not settled", "mixed", "refuted", "not testable here"
]

POINTS = "points"
NO_BETTER = 0.01
"""What is no better may be better by one point at most."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One comparison of which a claim predicts the outcome.

    difference: of accuracies as fractions, or of another quantity, whose ``unit`` is then said.
    expected: ``greater``, ``less``, or ``not greater``, which holds where the whole interval lies
    below `NO_BETTER`.
    """

    what: str
    difference: Difference
    expected: Expected
    unit: str = POINTS

    @property
    def outcome(self) -> Outcome:
        """``holds`` and ``contradicts`` are both at 95 %."""
        return self.outcome_among(1)

    def outcome_among(self, comparisons: int) -> Outcome:
        """The same where so many comparisons are to hold together."""
        ends = interval_among(self.difference, comparisons)
        if ends is None:
            return "open"
        low, high = ends
        if self.expected == "greater":
            holds, contradicts = low > 0, high < 0
        elif self.expected == "less":
            holds, contradicts = high < 0, low > 0
        else:
            holds, contradicts = high < NO_BETTER, low > 0
        return "holds" if holds else "contradicts" if contradicts else "open"

    def in_words(self) -> str:
        """`IPC 1: +9.8 points [+8.1, +11.5], n = 3`."""
        return f"{self.what}: {self.value_in_words()}, n = {self.difference.n}"

    def value_in_words(self) -> str:
        """`+9.8 points [+8.1, +11.5]`."""
        found = self.difference
        scale, form = (100, "+.1f") if self.unit == POINTS else (1, "+.2f")
        interval = ""
        if found.ci_low is not None and found.ci_high is not None:
            interval = f" [{scale * found.ci_low:{form}}, {scale * found.ci_high:{form}}]"
        return f"{scale * found.mean:{form}} {self.unit}{interval}"


def compare(
    cells: Mapping[str, Values], baseline: str, expected: Expected, *, prefix: str = ""
) -> Iterator[Comparison]:
    """Every cell against the baseline, the scatter pooled (`engine.analysis.contrasts`)."""
    groups = {seeds: subset for each in cells.values() for seeds, subset in subsets(each).items()}
    for name, difference in contrasts(cells, baseline, groups).items():
        yield Comparison(what=f"{prefix}{name}", difference=difference, expected=expected)


def subsets(values: Values) -> dict[Seeds, int | None]:
    """The subset of images that each run was trained on: runs that share one are one unit."""
    return {seeds: dict(seeds).get("subset_seed") for seeds in values}


def verdict(comparisons: Iterable[Comparison]) -> Verdict:
    """What comparisons make of their claim."""
    every = list(comparisons)
    if not every:
        return "not testable here"
    alone = {each.outcome for each in every}
    if alone == {"holds"}:
        return "confirmed"
    if alone == {"contradicts"}:
        return "refuted"
    together = {each.outcome_among(len(every)) for each in every}
    if "contradicts" in together:
        return "mixed" if "holds" in together else "refuted"
    return "confirmed in part" if "holds" in together else "not settled"
