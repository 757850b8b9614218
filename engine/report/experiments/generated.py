"""Figure 3a: labels without an expert. The true class gets a mass p, the rest is random."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from engine.report.experiments.beside import FINAL, beside_published
from engine.report.experiments.comparison import compared
from engine.report.experiments.conditions import Condition, only_step
from engine.report.experiments.curves import Plot, curves_of, draw_curves, under
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, Picture, cells_of
from engine.report.experiments.series import (
    Series,
    conditions_drawn,
    everything_of,
    measured_only,
    ranked,
    series_of,
    variants_of,
)
from engine.report.experiments.words import at, telling, than

ALL_MASS = 1.0
"""The mass at which nothing is left for the other classes: hard labels."""


def find(evidence: Evidence) -> Finding | None:
    variants = variants_of(evidence, _mass)
    if not variants:
        return None
    series = series_of(variants, varied=("transform",))
    drawn = series_of(measured_only(variants), varied=("transform",))
    return Finding(
        sentences=tuple(_sentences(drawn, evidence)) or ("No such run is finished.",),
        tables=(
            compared(evidence, "generated", "Generated labels", series, heading="true-class mass"),
        ),
        pictures=(
            Picture(
                name="generated",
                caption="Accuracy by the mass that generated labels give the true class (all of "
                "it: hard labels); dashed: the expert’s soft labels.",
                draw=lambda: _draw(evidence, drawn),
            ),
        )
        if drawn
        else (),
        shown=tuple(each.condition for each in variants),
        cells=cells_of(everything_of(series)),
    )


EXPERIMENT = Experiment(
    name="generated",
    title="Labels without an expert",
    question="Is it enough to give the true class a mass p and the rest at random?",
    source="reproduction, Figure 3a",
    find=find,
)


def _mass(condition: Condition) -> tuple[float, str] | None:
    arguments = only_step(condition, "generated")
    return (float(arguments[0]), f"{float(arguments[0]):g}") if arguments else None


def _sentences(series: Sequence[Series], evidence: Evidence) -> list[str]:
    sentences = []
    for each in telling(series):
        # Of equal ones the greatest mass.
        known = [v for v in reversed(each.variants) if v.condition.cell.summary(*evidence.of)]
        ranking = ranked(known, evidence.of)
        if ranking is None:
            continue
        best = ranking.best
        which = f"best of {len(known)} generated labels {ranking.how}"
        which = which if len(known) > 1 else "generated labels"
        text = f"{at(each, series)}, the {which} (p = {best.text}{ranking.caution}) are "
        text += f"{than(ranking.minus(best, best.soft))} the expert’s labels"
        over_hard = ranking.minus(best, best.hard)
        text += f" and {than(over_hard)} hard labels." if over_hard else "."
        sentences.append(text)
    return sentences


def _draw(evidence: Evidence, series: Sequence[Series]) -> Figure:
    theirs = evidence.published.generated if evidence.published else None
    return draw_curves(
        Plot(
            title=f"{evidence.results.dataset_name}: generated labels",
            under=under(series, *(["1: hard labels"] if any(s.hard for s in series) else [])),
            xlabel="mass of the true class",
            ylabel=f"{evidence.of[1]} accuracy (%)",
            xscale="linear",
            level_name="the expert’s soft labels",
            beside=beside_published(evidence, conditions_drawn(series), theirs=FINAL),
        ),
        curves_of(series, evidence.of, hard_at=ALL_MASS, level=True, published=theirs),
    )
