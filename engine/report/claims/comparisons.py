"""Comparisons of which claims predict the outcome: their values, intervals, sides and words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from engine.analysis.bootstrap import draw_difference
from engine.analysis.contrasts import contrasts
from engine.analysis.statistics import Difference, interval_among
from engine.report import numbers
from engine.report.claims.runs import Runs, Side, subsets

Expected = Literal["greater", "less", "not greater", "not less"]
Outcome = Literal["holds", "contradicts", "open"]
Units = Literal["seeds", "experts", "images", "draws"]

POINTS = "points"
NO_BETTER = 0.01
"""What is no better may be better by one point at most; likewise what is no worse."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One comparison of which a claim predicts the outcome.

    difference: of accuracies as fractions, or of another quantity, whose ``unit`` is then said.
    expected: ``greater``, ``less``, or ``not greater``, which holds where the whole interval lies
    below `NO_BETTER` (``not less``: above −`NO_BETTER`). over: what ``difference.n`` counts.
    own, other: what its two sides rest on. case: where a claim has several parts, such as a rise
    and a fall, those of one curve are one case; empty where a comparison is one by itself.
    bootstrap: the interval by resampling the runs of both sides, without those of other cells. An
    interval that is open upwards ends at infinity.
    """

    what: str
    difference: Difference
    expected: Expected
    own: Side
    other: Side
    unit: str = POINTS
    over: Units = "seeds"
    case: str = ""
    bootstrap: tuple[float, float] | None = None

    @property
    def outcome(self) -> Outcome:
        """``holds`` and ``contradicts`` are both at 95 %."""
        return self.outcome_among(1)

    def outcome_among(self, comparisons: int) -> Outcome:
        """The same where so many comparisons are to hold together."""
        return self._outcome_of(interval_among(self.difference, comparisons))

    @property
    def outcome_by_bootstrap(self) -> Outcome:
        """The same by the interval that pools nothing."""
        return self._outcome_of(self.bootstrap)

    def _outcome_of(self, ends: tuple[float, float] | None) -> Outcome:
        if ends is None or numbers.has_no_width(*ends):
            return "open"
        low, high = ends
        if self.expected == "greater":
            holds, contradicts = low > 0, high < 0
        elif self.expected == "less":
            holds, contradicts = high < 0, low > 0
        elif self.expected == "not greater":
            holds, contradicts = high < NO_BETTER, low > 0
        else:
            holds, contradicts = low > -NO_BETTER, high < 0
        return "holds" if holds else "contradicts" if contradicts else "open"

    def in_words(self) -> str:
        """`IPC 1: +9.8 points [+8.1, +11.5], n = 3 seeds`."""
        return f"{self.what}: {self.value_in_words()}, n = {self.n_in_words()}"

    @property
    def units(self) -> int:
        """How many independent runs, or subsets of images with several, the interval rests on."""
        return self.difference.units or self.difference.n

    def n_in_words(self) -> str:
        """`3 seeds`, `1 expert`, `10 runs on 2 subsets`."""
        n = self.difference.n
        if self.units < n:
            return f"{n:,} runs on {self.units} subsets"
        return f"{n:,} {self.over.removesuffix('s') if n == 1 else self.over}"

    def value_in_words(self) -> str:
        """`+9.8 points [+8.1, +11.5]`, with typographic minus signs."""
        found = self.difference
        scale, decimals = (100, 1) if self.unit == POINTS else (1, 2)
        ends = numbers.interval_of(found)
        if ends is None:
            why = numbers.NO_SCATTER if numbers.is_without_scatter(found) else "no interval"
            return f"{numbers.signed(scale * found.mean, decimals)} {self.unit} [{why}]"
        # Where an end all but touches 0, another decimal says on which side of it it lies.
        if any(0 < abs(scale * end) < 0.5 * 10**-decimals for end in ends):
            decimals += 1
        low, high = (
            numbers.signed(scale * end, decimals) if math.isfinite(end) else "no end"
            for end in ends
        )
        return f"{numbers.signed(scale * found.mean, decimals)} {self.unit} [{low}, {high}]"


def compare(cells: Mapping[str, Runs], baseline: str, expected: Expected) -> Iterator[Comparison]:
    """Every cell against the baseline, the scatter pooled (`engine.analysis.contrasts`)."""
    groups = subsets(seeds for each in cells.values() for seeds in each.values)
    values = {name: each.values for name, each in cells.items()}
    for name, difference in contrasts(values, baseline, groups).items():
        shared = sorted(cells[name].values.keys() & cells[baseline].values.keys())
        own, other = ({seeds: values[each][seeds] for seeds in shared} for each in (name, baseline))
        yield Comparison(
            what=name,
            difference=difference,
            expected=expected,
            own=cells[name].side(shared),
            other=cells[baseline].side(shared),
            bootstrap=draw_difference(own, other, groups),
        )
