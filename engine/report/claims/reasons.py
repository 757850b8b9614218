"""Why a verdict is what it is, in a sentence, and what weakens it: few seeds, missing runs."""

from __future__ import annotations

from collections import Counter

from engine.report import numbers
from engine.report.claims.cells import in_words
from engine.report.claims.comparisons import Comparison
from engine.report.claims.registry import Judgement
from engine.report.experiments.conditions import Condition

FEW = 3
"""Fewer independent runs than this leave an interval so wide that only large differences show."""

MOST_NAMED = 6


def because(judgement: Judgement) -> str:
    """How many comparisons hold, or which runs it takes, or what else the verdict follows from."""
    if judgement.why:
        return judgement.why
    every = judgement.comparisons
    if not every:
        there = "some of these runs are still missing" if judgement.waiting else "none were run"
        return f"It takes {judgement.statement.needs}; {there}."
    alone = Counter(each.outcome for each in every)
    together = Counter(each.outcome_among(len(every)) for each in every)
    total = _counted(len(every))
    if judgement.verdict == "confirmed":
        return f"{_all(len(every))} at 95 %."
    if judgement.verdict == "refuted" and alone["contradicts"] == len(every):
        return f"{_all(len(every), 'shows', 'show')} the opposite at 95 %."
    sure = "at 95 % with all judged together"
    hold, against = together["holds"], together["contradicts"]
    parts = [
        *([f"{hold} {'holds' if hold == 1 else 'hold'} {sure}"] if hold else []),
        *(
            [f"{against} {'shows' if against == 1 else 'show'} the opposite {sure}"]
            if against
            else []
        ),
    ]
    if not parts and len(every) == 1:
        return f"Its one comparison is open: {_why_open(every, counted=False)}."
    if not parts:
        return f"Of {total} none is sure {sure}: {_why_open(every)}{_alone(every)}."
    rest = f"; {together['open']} open" if together["open"] else ""
    rest += _alone(every)
    apart = " Nowhere do all parts of the claim hold." if judgement.verdict == "not decided" else ""
    return f"Of {total} {' and '.join(parts)}{rest}.{apart}"


def _alone(every: tuple[Comparison, ...]) -> str:
    """What single comparisons say for sure that they don't when all are judged together."""
    alone = [each.outcome for each in every if each.outcome_among(len(every)) != each.outcome]
    told = [
        f"1 {one} taken by itself" if count == 1 else f"{count} {several} taken one by one"
        for outcome, one, several in (
            ("holds", "holds", "hold"),
            ("contradicts", "shows the opposite", "show the opposite"),
        )
        if (count := sum(each == outcome for each in alone))
    ]
    return f" ({', '.join(told)})" if told else ""


def _all(count: int, one: str = "holds", several: str = "hold") -> str:
    if count == 1:
        return f"Its one comparison {one}"
    return f"{'Both' if count == 2 else f'All {count}'} comparisons {several}"


def _counted(count: int) -> str:
    return f"{count} comparison" if count == 1 else f"{count} comparisons"


def _why_open(comparisons: tuple[Comparison, ...], *, counted: bool = True) -> str:
    """What leaves comparisons open, each reason with how many it is that of."""
    single = sum(numbers.interval_of(c.difference) is None for c in comparisons)
    equal = sum(numbers.is_without_scatter(c.difference) for c in comparisons)
    wide = len(comparisons) - single
    told = [
        (single - equal, "without an interval, for want of a second run"),
        (equal, "without scatter between the runs, which says nothing of chance"),
        (wide, "with an interval that leaves both outcomes open"),
    ]
    return ", ".join(f"{count} {why}" if counted else why for count, why in told if count)


def few_seeds(judgement: Judgement) -> str:
    """Which comparisons rest on fewer seeds (or experts) than `FEW`; empty where none does.

    Runs on the same images count as one.
    """
    few = [each for each in judgement.comparisons if each.over != "images" and each.units < FEW]
    if not few:
        return ""
    counts = numbers.listed(sorted({each.n_in_words() for each in few}))
    total = len(judgement.comparisons)
    if total == 1:
        which = "its comparison rests"
    elif len(few) == total:
        which = f"{'both' if total == 2 else f'all {total}'} comparisons rest"
    else:
        which = f"{len(few)} of its {total} comparisons {'rests' if len(few) == 1 else 'rest'}"
    single = all(each.units == 1 for each in few)
    effect = "tells nothing of chance" if single else "lets only a large difference be sure"
    return f"Few runs: {which} on {counts}, which {effect}."


def missing(judgement: Judgement) -> str:
    """Runs of this claim that were asked for and are not there; empty where none is."""
    if not judgement.waiting:
        return ""
    runs = sum(len(c.cell.missing) + len(c.cell.failed) for c in judgement.waiting)
    named = list(dict.fromkeys(map(_named, judgement.waiting)))
    more = len(named) - MOST_NAMED
    rest = f" and {more} more cells" if more > 0 else ""
    noun = "run" if runs == 1 else "runs"
    change = "; they may change the verdict" if judgement.comparisons else ""
    return f"Missing: {runs} {noun} of {'; '.join(named[:MOST_NAMED])}{rest}{change}."


def _named(condition: Condition) -> str:
    return in_words(condition) + (", hard labels" if condition.is_plain_hard else "")
