"""Which images: random ones against difficulty deciles, stratified draws, k-centre, herding."""

from __future__ import annotations

from collections.abc import Sequence

from engine.report.experiments.comparison import compared
from engine.report.experiments.conditions import Condition
from engine.report.experiments.dots import draw_dots
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, Picture, cells_of
from engine.report.experiments.series import (
    Series,
    Variant,
    everything_of,
    measured_only,
    ranked,
    series_of,
)
from engine.report.experiments.words import at, telling, than


def find(evidence: Evidence) -> Finding | None:
    chosen = [each for each in evidence.conditions if _is_selection(evidence, each)]
    if not chosen:
        return None
    variants = [
        Variant(
            value=(_order(each), each.labels == "hard"),
            text=_name(each) + (", hard labels" if each.labels == "hard" else ""),
            condition=each,
            soft=evidence.counterpart(each, selection=evidence.plain["selection"]),
            hard=evidence.hard_of(each) if each.labels == "soft" else None,
        )
        for each in chosen
    ]
    series = series_of(variants, varied=("selection",))
    drawn = series_of(measured_only(variants), varied=("selection",))
    soft = [each for each in drawn if each.epoch is not None]
    return Finding(
        sentences=tuple(_sentences(soft or drawn, evidence)) or ("No such run is finished.",),
        tables=(
            compared(
                evidence,
                "selection",
                "Selections of images",
                series,
                heading="selection",
                soft_name="random images",
                legend=("Less hard labels: of the same images.",),
            ),
        ),
        pictures=(
            Picture(
                name="selection",
                caption="Every selection with its 95 % interval; dashed: random images.",
                draw=lambda: draw_dots(
                    f"{evidence.results.dataset_name}: which images",
                    soft,
                    evidence.of,
                    xlabel=f"{evidence.of[1]} accuracy (%)",
                    baseline="random images",
                ),
            ),
        )
        if soft
        else (),
        shown=tuple(chosen),
        cells=cells_of(everything_of(series)),
    )


EXPERIMENT = Experiment(
    name="selection",
    title="Which images",
    question="Do images chosen by difficulty or coverage beat random ones?",
    source="paper, image selection",
    find=find,
)


def _is_selection(evidence: Evidence, condition: Condition) -> bool:
    name = str(condition.axes["selection"])
    return (
        name != evidence.plain["selection"]
        and not name.startswith("drop-class")
        and evidence.is_plain(condition, but=("selection",))
    )


def _name(condition: Condition) -> str:
    name, _, argument = str(condition.axes["selection"]).partition(":")
    if name == "difficulty" and argument:
        decile, _, epoch = argument.partition("@")
        return f"decile {decile}" + (f" at epoch {epoch}" if epoch else "")
    return str(condition.axes["selection"]).replace(":", " ")


def _order(condition: Condition) -> tuple[int, int, str]:
    name, _, argument = str(condition.axes["selection"]).partition(":")
    decile = argument.partition("@")[0]
    return name != "difficulty", int(decile) if decile.isdigit() else 0, name + argument


def _sentences(series: Sequence[Series], evidence: Evidence) -> list[str]:
    sentences = []
    for each in telling(series):
        known = [v for v in each.variants if v.condition.cell.summary(*evidence.of)]
        ranking = ranked(known, evidence.of)
        if ranking is None:
            continue
        best, worst = ranking.best, ranking.worst
        which = f"best of {len(known)} selections {ranking.how}" if len(known) > 1 else "selection"
        text = f"{at(each, series)}, the {which} ({best.text}{ranking.caution}) is "
        text += f"{than(ranking.minus(best, best.soft))} random images"
        if worst is not best:
            text += f", the worst ({worst.text}) {than(ranking.minus(worst, worst.soft))} them"
        sentences.append(text + ".")
    return sentences
