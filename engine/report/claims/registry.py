"""Claims by their keys, and what becomes of them.

What the papers say is in `papers`; how it is tested, in the modules beside it. A test is a
generator of comparisons whose outcome its claim predicts, of sentences with the numbers behind
them, and of a ruling where the verdict follows from more than the comparisons. Adding a claim is a
`Statement` and a function decorated with its key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engine.report.claims.comparisons import Comparison
from engine.report.claims.papers import STATEMENTS, Statement
from engine.report.claims.verdict import Ruling, Verdict, verdict
from engine.report.experiments.conditions import Condition
from engine.report.experiments.evidence import Evidence

Said = Iterator[Comparison | str | Ruling]
Test = Callable[[Evidence], Said]
TESTS: dict[str, Test] = {}


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A claim and what became of it.

    why: what a ruling says; empty where the comparisons alone decided. numbers: what it rests on,
    in words. published: the papers' numbers on this dataset, empty where there are none. waiting:
    conditions of this claim with runs that were asked for and are missing or failed.
    """

    statement: Statement
    verdict: Verdict
    why: str
    comparisons: tuple[Comparison, ...]
    numbers: tuple[str, ...]
    published: str
    waiting: tuple[Condition, ...]

    @property
    def key(self) -> str:
        return self.statement.key

    @property
    def claim(self) -> str:
        return self.statement.text

    @property
    def source(self) -> str:
        return self.statement.source


def claim(key: str) -> Callable[[Test], Test]:
    """Register the test of the claim with this key."""

    def register(test: Test) -> Test:
        assert key in STATEMENTS
        assert key not in TESTS
        TESTS[key] = test
        return test

    return register


def judge(evidence: Evidence) -> list[Judgement]:
    """Every claim with its verdict, in the order of `papers`."""
    return [_judged(evidence, statement) for statement in STATEMENTS.values()]


def _judged(evidence: Evidence, statement: Statement) -> Judgement:
    said = list(TESTS[statement.key](evidence))
    comparisons = tuple(each for each in said if isinstance(each, Comparison))
    ruling = next((each for each in said if isinstance(each, Ruling)), None)
    return Judgement(
        statement=statement,
        verdict=ruling.verdict if ruling else verdict(comparisons),
        why=ruling.why if ruling else "",
        comparisons=comparisons,
        numbers=tuple(each for each in said if isinstance(each, str)),
        published=statement.published(evidence.published) if evidence.published else "",
        waiting=tuple(
            each
            for each in evidence.conditions
            if (each.cell.missing or each.cell.failed) and statement.concerns(evidence, each)
        ),
    )
