"""How many labels of each image are enough: top-k labels over IPC, and their scaling law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from engine.report.experiments.comparison import compared
from engine.report.experiments.conditions import Condition, only_step
from engine.report.experiments.curves import Plot, curves_of, draw_curves, under
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, Picture, cells_of
from engine.report.experiments.laws import KEPT, law_of
from engine.report.experiments.series import (
    Series,
    Variant,
    everything_of,
    measured_only,
    series_of,
    variants_of,
)
from engine.report.experiments.words import at, change, telling


def find(evidence: Evidence) -> Finding | None:
    variants = variants_of(evidence, _kept)
    if not variants:
        return None
    renormalised = [each for each in variants if not _is_kept_as_is(each.condition)]
    as_is = [each for each in variants if _is_kept_as_is(each.condition)]
    series = [s for own in (renormalised, as_is) for s in series_of(own, varied=("transform",))]
    drawn = series_of(measured_only(renormalised), varied=("transform",))
    drawn += series_of(measured_only(as_is), varied=("transform",))
    found = Finding(
        sentences=tuple(_sentences(drawn, evidence)) or ("No such run is finished.",),
        tables=(compared(evidence, "top_k", "The k greatest probabilities", series, heading="k"),),
        pictures=(
            Picture(
                name="top_k",
                caption="Accuracy by the number of probabilities kept of each label, rest dropped "
                "and renormalised; dashed: all of them.",
                draw=lambda: _draw(evidence, drawn),
            ),
        )
        if drawn
        else (),
        shown=tuple(each.condition for each in variants),
        cells=cells_of(everything_of(series)),
    )
    points = _law_points(evidence, measured_only(renormalised))
    if len({amount for _, amount in points}) < 2:
        return found
    law = law_of(evidence, points, KEPT)
    return replace(
        found,
        sentences=(*found.sentences, *law.sentences),
        tables=(*found.tables, *law.tables),
        pictures=(*found.pictures, *law.pictures),
    )


EXPERIMENT = Experiment(
    name="top-k",
    title="How much of a label is needed",
    question="How many of an expert’s probabilities do students need, at how many images?",
    source="paper: knowledge as top-k labels",
    find=find,
)


def _kept(condition: Condition) -> tuple[float, str] | None:
    arguments = only_step(condition, "top-k")
    if not arguments:
        return None
    as_is = ", not renormalised" if _is_kept_as_is(condition) else ""
    return float(arguments[0]), arguments[0] + as_is


def _is_kept_as_is(condition: Condition) -> bool:
    arguments = only_step(condition, "top-k") or ()
    return len(arguments) > 1 and arguments[1] == "keep"


def _law_points(evidence: Evidence, variants: Sequence[Variant]) -> list[tuple[Condition, float]]:
    """Top-k cells with, as k = C, all probabilities; of the expert epoch with most cells an IPC."""
    chosen: dict[int, Series] = {}
    for each in series_of(variants, varied=("transform",)):
        known = chosen.get(each.ipc)
        if known is None or len(each.variants) > len(known.variants):
            chosen[each.ipc] = each
    points = []
    for each in chosen.values():
        points += [(v.condition, v.value) for v in each.variants]
        whole = evidence.results.num_classes
        if whole and each.soft is not None and each.soft.cell.values(*evidence.of):
            points.append((each.soft, float(whole)))
    return [(c, k) for c, k in points if c.cell.values(*evidence.of)]


def _sentences(series: Sequence[Series], evidence: Evidence) -> list[str]:
    sentences = []
    of = evidence.of
    for each in telling(series):
        least = each.variants[0]
        lost = change(least.minus(least.soft, of))
        text = f"{at(each, series)}, keeping the {least.text} greatest {lost}"
        sure = [v.value for v in each.variants if _sure_loss(v, of)]
        enough = [v.text for v in each.variants if not sure or v.value > max(sure)]
        if sure and enough:
            text += f"; from k = {enough[0]} on no loss can be shown"
        sentences.append(text + ".")
    return sentences


def _sure_loss(variant: Variant, of: tuple[str, str]) -> bool:
    found = variant.minus(variant.soft, of)
    return found is not None and found.ci_high is not None and found.ci_high < 0


def _draw(evidence: Evidence, series: Sequence[Series]) -> Figure:
    return draw_curves(
        Plot(
            title=f"{evidence.results.dataset_name}: labels cut to their k greatest probabilities",
            under=under(series),
            xlabel="probabilities kept (k)",
            ylabel=f"{evidence.of[1]} accuracy (%)",
            level_name="all probabilities",
        ),
        curves_of(series, evidence.of, level=True),
    )
