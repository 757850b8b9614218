"""The claims of both papers as a part of the report: verdicts, and every comparison behind them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from engine.analysis.cells import Cell
from engine.report import numbers
from engine.report.claims.claims import Judgement, judge
from engine.report.claims.comparisons import POINTS, Comparison
from engine.report.claims.reasons import because
from engine.report.claims.runs import Side
from engine.report.entries import Entry, Table, cell_anchor
from engine.report.experiments.finding import Experiment, Finding, NumberTable
from engine.report.tables import Row

LEAST_TESTABLE = 3
"""A sweep that was about something else gets no list of what it can't say."""

OUTCOMES = {"holds": "holds", "contradicts": "the opposite", "open": "open"}
SHORT, MOST_IDS = 7, 3


def finding(judgements: Sequence[Judgement]) -> Finding | None:
    """The section; None where hardly a claim can be tested."""
    tested = [each for each in judgements if each.comparisons]
    if len(tested) < LEAST_TESTABLE:
        return None
    counts = Counter(each.verdict for each in judgements)
    told = ", ".join(f"{number} {name}" for name, number in counts.items())
    return Finding(
        sentences=(f"Of {len(judgements)} claims: {told}.",),
        tables=(_verdicts(judgements), _comparisons(tested)),
        cells=_cells(tested),
    )


EXPERIMENT = Experiment(
    name="claims",
    title="The papers’ claims",
    question="Which claims of the paper and of its reproduction do these runs confirm?",
    source="both texts",
    find=lambda evidence: finding(judge(evidence)),
)


def _cells(judgements: Sequence[Judgement]) -> tuple[Cell, ...]:
    """The cells that comparisons rest on, each once."""
    sides = [s for j in judgements for c in j.comparisons for s in (c.own, c.other)]
    found = {cell_anchor(side.cell): side.cell for side in sides if side.cell and side.anchor}
    return tuple(found.values())


def _verdicts(judgements: Sequence[Judgement]) -> NumberTable:
    rows: list[tuple[Entry, ...]] = []
    flat: list[Row] = []
    for number, each in enumerate(judgements, 1):
        held = sum(one.outcome == "holds" for one in each.comparisons)
        against = sum(one.outcome == "contradicts" for one in each.comparisons)
        total = len(each.comparisons)
        rows.append(
            (
                Entry(text=str(number)),
                Entry(text=each.key, style="words"),
                Entry(text=each.claim, style="words"),
                Entry(
                    text=each.verdict,
                    title=because(each),
                    style="words best" if total else "words muted",
                ),
                Entry(text=f"{held} of {total}" if total else ""),
                Entry(text=each.source, style="words"),
            )
        )
        flat.append(
            {
                "number": number,
                "key": each.key,
                "claim": each.claim,
                "source": each.source,
                "verdict": each.verdict,
                "why": because(each),
                "comparisons": total,
                "hold": held,
                "contradict": against,
                "fewest_n": min((c.difference.n for c in each.comparisons), default=None),
            }
        )
    return NumberTable(
        name="claims",
        view=Table(
            title="Verdicts",
            columns=("", "key", "claim", "verdict", "hold", "source"),
            rows=tuple(rows),
            legend=(
                "Confirmed: every comparison holds at 95 %; refuted: every one shows the opposite. "
                "Otherwise only what is sure with all comparisons of a claim judged together "
                "counts. The rules in full, and the claims one by one, are in claims.md.",
            ),
        ),
        rows=tuple(flat),
    )


def _comparisons(judgements: Sequence[Judgement]) -> NumberTable:
    pairs = [(each.key, one) for each in judgements for one in each.comparisons]
    return NumberTable(
        name="comparisons",
        view=Table(
            title="Every comparison",
            columns=(
                "claim",
                "comparison",
                "difference",
                "n",
                "expected",
                "outcome",
                "trials",
                "less trials",
            ),
            rows=tuple(_shown(key, one) for key, one in pairs),
            legend=(
                "Differences with their 95 % intervals, each by itself, paired by seeds. Trials: "
                f"the first {SHORT} characters of the first {MOST_IDS} ids on either side of the "
                "difference; all of them are in comparisons.csv.",
            ),
        ),
        rows=tuple(_flat(key, one) for key, one in pairs),
    )


def _shown(key: str, one: Comparison) -> tuple[Entry, ...]:
    return (
        Entry(text=key, style="words"),
        Entry(text=one.what, style="words"),
        Entry(text=one.value_in_words()),
        Entry(text=one.n_in_words()),
        Entry(text=one.expected, style="words"),
        Entry(text=OUTCOMES[one.outcome], style="words"),
        _side_entry(one.own),
        _side_entry(one.other),
    )


def _side_entry(side: Side) -> Entry:
    """Short ids that lead to the list of trials; for what is no trial, what it is."""
    if not side.ids:
        return Entry(text=side.of, style="words muted")
    anchor = "experts" if side.of == "experts" else side.anchor
    title = f"{side.of} {', '.join(side.ids)}"
    return Entry(text=in_short(side.ids), title=title, anchor=anchor, style="words")


def in_short(ids: Sequence[str]) -> str:
    """`1caeee8 90ab12c 77de001 +6`: enough of some ids to find them by."""
    # A checkpoint's epoch stays whole: RUN@41.
    short = [f"{run[:SHORT]}{at}{epoch}" for run, at, epoch in (i.partition("@") for i in ids)]
    more = [f"+{len(ids) - MOST_IDS}"] if len(ids) > MOST_IDS else []
    return " ".join([*short[:MOST_IDS], *more])


def _flat(key: str, one: Comparison) -> Row:
    found = one.difference
    low, high = numbers.interval_of(found) or (None, None)
    return {
        "claim": key,
        "comparison": one.what,
        "unit": "fraction" if one.unit == POINTS else one.unit,
        "difference_mean": found.mean,
        "difference_ci_low": low,
        "difference_ci_high": None if high is None or math.isinf(high) else high,
        "bootstrap_ci_low": one.bootstrap[0] if one.bootstrap else None,
        "bootstrap_ci_high": one.bootstrap[1] if one.bootstrap else None,
        "n": found.n,
        "n_counts": one.over,
        "independent": one.units,
        "expected": one.expected,
        "outcome": one.outcome,
        "ids_of": one.own.of,
        "ids": " ".join(one.own.ids),
        "baseline_ids_of": one.other.of,
        "baseline_ids": " ".join(one.other.ids),
    }
