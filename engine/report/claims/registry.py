"""Claims by their texts, and what becomes of them.

A claim is a generator of comparisons whose outcome it predicts, and of sentences with the numbers
behind them. Adding one is one decorated function in `budget_claims` or `label_claims`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engine.report.claims.verdict import Comparison, Verdict, verdict
from engine.report.experiments.evidence import Evidence

Said = Iterator[Comparison | str]
Test = Callable[[Evidence], Said]
_CLAIMS: list[tuple[str, str, Test]] = []


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A claim and what became of it. ``numbers``: what it rests on, in words."""

    claim: str
    source: str
    verdict: Verdict
    comparisons: tuple[Comparison, ...]
    numbers: tuple[str, ...]


def claim(text: str, source: str) -> Callable[[Test], Test]:
    """Register the test of a claim, in the order of the papers."""

    def register(test: Test) -> Test:
        _CLAIMS.append((text, source, test))
        return test

    return register


def judge(evidence: Evidence) -> list[Judgement]:
    """Every registered claim with its verdict."""
    judgements = []
    for text, source, test in _CLAIMS:
        said = list(test(evidence))
        comparisons = tuple(each for each in said if isinstance(each, Comparison))
        judgements.append(
            Judgement(
                claim=text,
                source=source,
                verdict=verdict(comparisons),
                comparisons=comparisons,
                numbers=tuple(each for each in said if isinstance(each, str)),
            )
        )
    return judgements
