"""The first screen of the page: what a label is worth, the best expert epochs, what is gained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.analysis.grid import Panel
from engine.report import numbers
from engine.report.best_epoch import growth_sentences
from engine.report.experiments import worth
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.words import change

MOST_NAMED = 6


@dataclass(frozen=True, kw_only=True)
class Card:
    """One number: what it is of, how sure it is, and the section that it comes from."""

    number: str
    what: str
    note: str
    anchor: str


def headline(evidence: Evidence, panels: Sequence[Panel]) -> list[Card]:
    """The report's main numbers, those that its trials can tell; `panels`: of the main grid."""
    said = growth_sentences(panels[0]) if panels else []
    # After what the best epochs are comes whether the seeds establish that they differ.
    sure = said[1] if len(said) > 1 else "How sure that is, see below."
    return [*_worth(evidence), *_best_epochs(evidence, sure), *_gain(evidence)]


def _worth(evidence: Evidence) -> list[Card]:
    weighed, _ = worth.weigh(evidence)
    if not weighed:
        return []
    first = weighed[0].worth
    extrapolated = ", extrapolated" if first.kind == "extrapolated" else ""
    others = ", ".join(f"{worth.amount(w.worth)} at IPC {w.worth.ipc}" for w in weighed[1:])
    noun = "image" if worth.amount(first) == "1.0" else "images"
    return [
        Card(
            number=f"{worth.amount(first)} {noun}",
            what=f"is what one soft label is worth at IPC {first.ipc}{extrapolated}",
            note=worth.span(first) + (f"; {others}" if others else ""),
            anchor="worth",
        )
    ]


def _best_epochs(evidence: Evidence, sure: str) -> list[Card]:
    found = [
        (ipc, choice)
        for ipc in evidence.ipcs
        if (best := evidence.best_soft(ipc)) and (choice := best[1]).candidates > 1
    ]
    if not found:
        return []
    shown = found if len(found) <= MOST_NAMED else [found[0], found[-1]]
    joined = " → ".join(str(choice.cell.expert_epoch) for _, choice in shown)
    ipcs = numbers.listed([str(ipc) for ipc, _ in shown])
    chosen_on = numbers.listed(sorted({choice.chosen_on for _, choice in found}))
    noun = "epoch" if len(shown) == 1 else "epochs"
    return [
        Card(
            number=f"{noun} {joined}",
            what=f"of the expert {'is' if len(shown) == 1 else 'are'} best at IPC {ipcs}",
            note=f"Chosen on {chosen_on}. {sure}",
            anchor="panel-1",
        )
    ]


def _gain(evidence: Evidence) -> list[Card]:
    for ipc in evidence.ipcs:
        best, hard = evidence.best_soft(ipc), evidence.plain_hard(ipc)
        if best is None or hard is None:
            continue
        found = best[0].cell.gain_over(hard.cell, evidence.of[0])
        own, other = best[0].cell.summary(*evidence.of), hard.cell.summary(*evidence.of)
        if found is None or own is None or other is None:
            continue
        return [
            Card(
                number=f"{numbers.percent(own.mean)} % against {numbers.percent(other.mean)} %",
                what=f"with soft against hard labels on the same images at IPC {ipc}",
                note=f"soft {change(found)}",
                anchor="panel-1",
            )
        ]
    return []
