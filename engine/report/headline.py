"""The first screen of the page: what a label is worth, the best expert epochs, what is gained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.analysis.cells import Cell
from engine.analysis.grid import Panel
from engine.report import numbers
from engine.report.best_epoch import best_epochs_of, how_sure
from engine.report.entries import cell_anchor
from engine.report.experiments import worth
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.words import change
from engine.report.without_test_split import IN_SHORT, lacks_test_split

MOST_NAMED = 6


@dataclass(frozen=True, kw_only=True)
class Card:
    """One number: what it is of, how sure it is, and the section that it comes from."""

    number: str
    what: str
    note: str
    anchor: str


def headline(evidence: Evidence, panels: Sequence[Panel]) -> list[Card]:
    """The report's main numbers, those that its trials can tell; `panels`: those that are shown."""
    cards = [*_worth(evidence), *_best_epochs(evidence, panels), *_gain(evidence, panels)]
    if not lacks_test_split(evidence.results):
        return cards
    return [replace(each, note=f"{each.note.removesuffix('.')}. {IN_SHORT}") for each in cards]


def _worth(evidence: Evidence) -> list[Card]:
    weighed, _ = evidence.weighed
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


def _best_epochs(evidence: Evidence, panels: Sequence[Panel]) -> list[Card]:
    found = best_epochs_of(evidence)
    if not found:
        return []
    shown = found if len(found) <= MOST_NAMED else [found[0], found[-1]]
    joined = " → ".join(str(each.epoch) for each in shown)
    ipcs = numbers.listed([str(each.ipc) for each in shown])
    chosen_on = numbers.listed(sorted({each.choice.chosen_on for each in found}))
    noun = "epoch" if len(shown) == 1 else "epochs"
    sure = " ".join(how_sure(found)) or "How sure that is, see below."
    return [
        Card(
            number=f"{noun} {joined}",
            what=f"of the expert {'is' if len(shown) == 1 else 'are'} best at IPC {ipcs}",
            note=f"Chosen on {chosen_on}. {sure}",
            anchor=_anchor(found[0].choice.cell, panels),
        )
    ]


def _gain(evidence: Evidence, panels: Sequence[Panel]) -> list[Card]:
    for ipc in evidence.ipcs:
        best, hard = evidence.best_soft(ipc), evidence.plain_hard(ipc)
        if best is None or hard is None:
            continue
        found = best[0].cell.gain_over(hard.cell, *evidence.of)
        own, other = best[0].cell.summary(*evidence.of), hard.cell.summary(*evidence.of)
        if found is None or own is None or other is None:
            continue
        return [
            Card(
                number=f"{numbers.percent(own.mean)} % against {numbers.percent(other.mean)} %",
                what=f"with soft against hard labels on the same images at IPC {ipc}",
                note=f"soft {change(found)}",
                anchor=_anchor(best[0].cell, panels),
            )
        ]
    return []


def _panel_of(cell: Cell, panels: Sequence[Panel]) -> int | None:
    """Which of the panels holds a condition's cell; the two are put together apart."""
    ids = {trial.id for trial in cell.trials}
    for place, panel in enumerate(panels):
        own = panel.cell(cell.ipc, cell.expert_epoch)
        if own is not None and ids & {trial.id for trial in own.trials}:
            return place
    return None


def _anchor(cell: Cell, panels: Sequence[Panel]) -> str:
    """The panel that shows a cell; the list of its trials where an experiment shows it."""
    place = _panel_of(cell, panels)
    return cell_anchor(cell) if place is None else f"panel-{place + 1}"
