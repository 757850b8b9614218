"""Figure 2a: which of the expert's probabilities matter. The i-th largest changes places with the
smallest, and the student's accuracy is given over that with untouched labels, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from engine.analysis.statistics import Summary, summarise
from engine.report import numbers
from engine.report.experiments.beside import beside_published
from engine.report.experiments.comparison import compared
from engine.report.experiments.conditions import Condition, only_step, subset_of
from engine.report.experiments.curves import Curve, Plot, Point, draw_curves, few, under
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, Picture, cells_of
from engine.report.experiments.series import (
    Series,
    Variant,
    conditions_drawn,
    everything_of,
    measured_only,
    series_of,
    variants_of,
)
from engine.report.experiments.words import at, telling

RESTORED = 0.95
"""The share of the accuracy from which on a swap counts as harmless in the sentence."""


def find(evidence: Evidence) -> Finding | None:
    variants = variants_of(evidence, _place)
    if not variants:
        return None
    series = series_of(variants, varied=("transform",))
    drawn = series_of(measured_only(variants), varied=("transform",))
    drawable = any(relative(v, evidence.of) for each in drawn for v in each.variants)
    return Finding(
        sentences=tuple(_sentences(drawn, evidence.of))
        or ("No swap has both a run and soft labels left alone to compare it with.",),
        tables=(compared(evidence, "swap_ith", "Swapping one probability", series, heading="i"),),
        pictures=(
            Picture(
                name="swap_ith",
                caption="Accuracy relative to untouched labels, by the rank of the probability "
                "that changed places with the smallest.",
                draw=lambda: _draw(evidence, drawn),
            ),
        )
        if drawable
        else (),
        shown=tuple(each.condition for each in variants),
        cells=cells_of(everything_of(series)),
    )


EXPERIMENT = Experiment(
    name="swap-ith",
    title="Which probabilities matter",
    question="What is lost when the i-th largest probability changes places with the smallest?",
    source="paper, key result 2; reproduction, Figure 2a",
    find=find,
)


def relative(variant: Variant, of: tuple[str, str]) -> Summary | None:
    """Accuracy over that of the soft labels with the same seeds, a share."""
    if variant.soft is None:
        return None
    own, base = variant.condition.cell.values(*of), variant.soft.cell.values(*of)
    shared = [seeds for seeds in own if base.get(seeds)]
    groups = subset_of(variant.condition.cell)
    return summarise([own[s] / base[s] for s in shared], [groups[s] for s in shared])


def _place(condition: Condition) -> tuple[int, str] | None:
    arguments = only_step(condition, "swap-ith")
    return (int(arguments[0]), arguments[0]) if arguments else None


def _sentences(series: Sequence[Series], of: tuple[str, str]) -> list[str]:
    sentences = []
    for each in telling(series):
        shares = [
            (v.value, found.mean) for v in each.variants if (found := relative(v, of)) is not None
        ]
        if not shares:
            continue
        rank, share = shares[0]
        which = "the largest probability" if rank == 1 else f"the probability of rank {rank}"
        text = (
            f"{at(each, series)}, swapping {which} (i = {rank}) leaves "
            f"{numbers.percent(share, 0)} % of the accuracy"
        )
        harmless = [i for i, _ in shares if all(s >= RESTORED for j, s in shares if j >= i)]
        last, at_last = shares[-1]
        if len(shares) > 1:
            text += (
                f"; from i = {harmless[0]} on at least {numbers.percent(RESTORED, 0)} % remains"
                if harmless
                else f"; swapping that of rank {last} still costs "
                f"{numbers.percent(1 - at_last, 0)} %"
            )
        sentences.append(text + ".")
    return sentences


def _draw(evidence: Evidence, series: Sequence[Series]) -> Figure:
    theirs = evidence.published.swap if evidence.published else {}
    curves = []
    for each in few(series):
        points = tuple(
            Point(x=v.value, y=100 * found.mean, spread=100 * (found.std or 0.0) or None)
            for v in each.variants
            if (found := relative(v, evidence.of)) is not None
        )
        if points:
            curves.append(
                Curve(
                    label=each.where(series),
                    gid=each.gid,
                    points=points,
                    published=tuple(
                        (float(i), 100 * share) for i, share in theirs.get(each.ipc, {}).items()
                    ),
                )
            )
    return draw_curves(
        Plot(
            title=f"{evidence.results.dataset_name}: swapping the i-th probability",
            under=under(series, "relative to untouched labels, run by run"),
            xlabel="rank i of the swapped probability",
            ylabel="accuracy relative to soft labels (%)",
            reference=100.0,
            beside=beside_published(evidence, conditions_drawn(series)),
        ),
        curves,
    )
