"""The claims of both papers as a part of the report: verdicts, and every comparison behind them."""

from __future__ import annotations

from collections.abc import Sequence

from engine.report.claims.claims import Judgement, judge
from engine.report.claims.page import OUTCOMES, RULES
from engine.report.entries import Entry, Table
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, NumberTable

LEAST_TESTABLE = 3
"""A sweep that was about something else gets no list of what it can't say."""


def find(evidence: Evidence) -> Finding | None:
    judgements = judge(evidence)
    tested = [each for each in judgements if each.comparisons]
    if len(tested) < LEAST_TESTABLE:
        return None
    return Finding(
        sentences=tuple(_sentences(judgements)),
        tables=(_verdicts(judgements), _comparisons(tested)),
    )


EXPERIMENT = Experiment(
    name="claims",
    title="The papers’ claims",
    question="Which claims of the paper and of its reproduction do these runs confirm?",
    source="both texts",
    find=find,
)


def _sentences(judgements: Sequence[Judgement]) -> list[str]:
    counts: dict[str, int] = {}
    for each in judgements:
        counts[each.verdict] = counts.get(each.verdict, 0) + 1
    told = ", ".join(f"{number} {name}" for name, number in counts.items())
    return [f"Of {len(judgements)} claims: {told}."]


def _verdicts(judgements: Sequence[Judgement]) -> NumberTable:
    rows, flat = [], []
    for number, each in enumerate(judgements, 1):
        held = sum(one.outcome == "holds" for one in each.comparisons)
        against = sum(one.outcome == "contradicts" for one in each.comparisons)
        total = len(each.comparisons)
        rows.append(
            (
                Entry(text=str(number)),
                Entry(text=each.claim, style="words"),
                Entry(text=each.source, style="words"),
                Entry(text=each.verdict, style="words best" if total else "words muted"),
                Entry(text=f"{held} of {total}" if total else ""),
            )
        )
        flat.append(
            {
                "number": number,
                "claim": each.claim,
                "source": each.source,
                "verdict": each.verdict,
                "comparisons": total,
                "hold": held,
                "contradict": against,
            }
        )
    return NumberTable(
        name="claims",
        view=Table(
            title="Verdicts",
            columns=("", "claim", "source", "verdict", "hold"),
            rows=tuple(rows),
            legend=(RULES,),
        ),
        rows=tuple(flat),
    )


def _comparisons(judgements: Sequence[Judgement]) -> NumberTable:
    rows, flat = [], []
    for each in judgements:
        for one in each.comparisons:
            found = one.difference
            rows.append(
                (
                    Entry(text=each.claim, style="words"),
                    Entry(text=one.what, style="words"),
                    Entry(text=one.value_in_words()),
                    Entry(text=str(found.n)),
                    Entry(text=one.expected, style="words"),
                    Entry(text=OUTCOMES[one.outcome], style="words"),
                )
            )
            flat.append(
                {
                    "claim": each.claim,
                    "comparison": one.what,
                    "unit": "fraction" if one.unit == "points" else one.unit,
                    "difference_mean": found.mean,
                    "difference_ci_low": found.ci_low,
                    "difference_ci_high": found.ci_high,
                    "n": found.n,
                    "expected": one.expected,
                    "outcome": one.outcome,
                }
            )
    return NumberTable(
        name="comparisons",
        view=Table(
            title="Every comparison",
            columns=("claim", "comparison", "difference", "n", "expected", "outcome"),
            rows=tuple(rows),
        ),
        rows=tuple(flat),
    )
