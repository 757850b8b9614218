"""Figure 2b: how much the order below the top matters. Soft labels, hard labels, and soft labels
whose top class stays while all other probabilities are permuted."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from engine.report.experiments.bars import Bar, draw_bars
from engine.report.experiments.beside import beside_published
from engine.report.experiments.comparison import compared
from engine.report.experiments.conditions import Condition, only_step
from engine.report.experiments.curves import under
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, Picture, cells_of
from engine.report.experiments.series import (
    Series,
    baseline_summary,
    conditions_drawn,
    everything_of,
    measured_only,
    series_of,
    variants_of,
)
from engine.report.experiments.words import at, change, telling, than

KINDS = ("soft", "hard", "shuffled")


def find(evidence: Evidence) -> Finding | None:
    variants = variants_of(evidence, _shuffled)
    if not variants:
        return None
    series = series_of(variants, varied=("transform",))
    drawn = series_of(measured_only(variants), varied=("transform",))
    return Finding(
        sentences=tuple(_sentences(drawn, evidence.of)) or ("No such run is finished.",),
        tables=(
            compared(
                evidence,
                "shuffle_tail",
                "Shuffling all but the top class",
                series,
                heading="labels",
            ),
        ),
        pictures=(
            Picture(
                name="shuffle_tail",
                caption="Soft labels, hard labels, and soft labels with everything below the top "
                "class permuted.",
                draw=lambda: _draw(evidence, drawn),
            ),
        )
        if drawn
        else (),
        shown=tuple(each.condition for each in variants),
        cells=cells_of(everything_of(series)),
    )


EXPERIMENT = Experiment(
    name="shuffle-tail",
    title="Structure below the top class",
    question="Do soft labels help by their spread alone, or by which classes get it?",
    source="reproduction, Figure 2b",
    find=find,
)


def _shuffled(condition: Condition) -> tuple[int, str] | None:
    return None if only_step(condition, "shuffle-tail") is None else (0, "shuffled")


def _sentences(series: Sequence[Series], of: tuple[str, str]) -> list[str]:
    sentences = []
    for each in telling(series):
        variant = each.variants[0]
        lost = variant.minus(variant.soft, of)
        above = variant.minus(variant.hard, of)
        text = f"{at(each, series)}, shuffling {change(lost)} against soft labels"
        if above is not None:
            text += f" and is then {than(above)} hard labels"
        sentences.append(text + ".")
    return sentences


def _draw(evidence: Evidence, series: Sequence[Series]) -> Figure:
    bars: dict[tuple[str, str], Bar] = {}
    theirs: dict[tuple[str, str], float] = {}
    groups = []
    for each in series:
        group = each.where(series)
        groups.append(group)
        for kind, condition in zip(
            KINDS, (each.soft, each.hard, each.variants[0].condition), strict=True
        ):
            found = baseline_summary(each, condition, evidence.of)
            if found:
                spread = None if found.std is None else 100 * found.std
                bars[group, kind] = Bar(height=100 * found.mean, spread=spread)
        if evidence.published and each.ipc in evidence.published.shuffle:
            values = evidence.published.shuffle[each.ipc]
            theirs |= {(group, k): v for k, v in zip(KINDS, values, strict=True)}
    beside = beside_published(evidence, conditions_drawn(series)) if theirs else ""
    return draw_bars(
        f"{evidence.results.dataset_name}: soft, hard and shuffled labels",
        "; ".join(filter(None, [under(series), beside])),
        groups,
        KINDS,
        bars,
        published=theirs,
        ylabel=f"{evidence.of[1]} accuracy (%)",
    )
