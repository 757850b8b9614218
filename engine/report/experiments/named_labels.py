"""Labels that have a name rather than a number: structure taken apart, and whatever else was run.

*Structure*: which part of a soft label teaches, the spread, the classes it names, or the sample.
*Others*: every transform and ensemble that no other experiment is about, so that a new one has its
table before anyone writes an experiment for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.report import numbers
from engine.report.experiments.comparison import compared
from engine.report.experiments.conditions import Condition, steps_of
from engine.report.experiments.dots import draw_dots
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, Picture, cells_of
from engine.report.experiments.series import (
    Series,
    everything_of,
    measured_only,
    ranked,
    series_of,
    variants_of,
)
from engine.report.experiments.words import at, change, telling

STRUCTURE = (
    "uniform-noise",
    "class-imbalanced",
    "class-mean",
    "co-occurrence",
    "residual",
    "within-superclasses",
    "between-superclasses",
)
ELSEWHERE = (
    "swap-ith",
    "shuffle-tail",
    "generated",
    "noise-lowest-entropy",
    "top-k",
    "drop-class-column",
    *STRUCTURE,
)
"""Transforms that have an experiment of their own where nothing else is done."""


def find_structure(evidence: Evidence) -> Finding | None:
    return _find(
        evidence,
        lambda each: _structure(each),
        name="structure",
        title="Parts of the structure",
    )


def find_others(evidence: Evidence) -> Finding | None:
    return _find(
        evidence,
        lambda each: _other(evidence, each),
        name="other_labels",
        title="Other labels",
    )


STRUCTURE_EXPERIMENT = Experiment(
    name="structure",
    title="Which structure teaches",
    question="Is it the spread, the similarity of classes, or what is particular to the image?",
    source="open questions 1 and 2 of the paper",
    find=find_structure,
)

OTHERS = Experiment(
    name="other-labels",
    title="Other labels and ensembles",
    question="What do further transforms of the labels, and labels of several experts, do?",
    source="ours",
    find=find_others,
)


def _structure(condition: Condition) -> tuple[tuple[int, str], str] | None:
    steps = steps_of(condition.transform)
    if len(steps) != 1 or steps[0][0] not in STRUCTURE:
        return None
    return (STRUCTURE.index(steps[0][0]), condition.transform), _spelled(condition.transform)


def _other(evidence: Evidence, condition: Condition) -> tuple[str, str] | None:
    transform = condition.transform
    selection = str(condition.axes["selection"])
    if selection.startswith("drop-class"):
        return None
    steps = steps_of(transform)
    plain = transform in ("hard", evidence.plain["transform"])
    elsewhere = len(steps) == 1 and steps[0][0] in ELSEWHERE
    parts = [] if plain or elsewhere else [_spelled(transform)]
    if condition.labels == "soft" and condition.axes["ensemble"] != evidence.plain["ensemble"]:
        parts.append(f"mean of epochs {str(condition.axes['ensemble']).replace('+', ', ')}")
    if not parts:
        return None
    return ", ".join(parts), ", ".join(parts)


def _spelled(transform: str) -> str:
    return transform.replace("-", " ").replace(":", " ").replace("+", ", then ")


def _find(
    evidence: Evidence,
    value_of: Callable[[Condition], tuple[object, str] | None],
    *,
    name: str,
    title: str,
) -> Finding | None:
    variants = variants_of(evidence, value_of)
    if not variants:
        return None
    varied = ("transform", "ensemble")
    series = series_of(variants, varied=varied)
    drawn = series_of(measured_only(variants), varied=varied)
    return Finding(
        sentences=tuple(_sentences(drawn, evidence)) or ("No such run is finished.",),
        tables=(compared(evidence, name, title, series, heading="labels"),),
        pictures=(
            Picture(
                name=name,
                caption="Every kind of labels with its 95 % interval; dashed: soft labels.",
                draw=lambda: draw_dots(
                    f"{evidence.results.dataset_name}: {title.lower()}",
                    drawn,
                    evidence.of,
                    xlabel=f"{evidence.of[1]} accuracy (%)",
                ),
            ),
        )
        if drawn
        else (),
        shown=tuple(each.condition for each in variants),
        cells=cells_of(everything_of(series)),
    )


def _sentences(series: Sequence[Series], evidence: Evidence) -> list[str]:
    sentences = []
    for each in telling(series):
        known = [v for v in each.variants if v.minus(v.soft, evidence.of) is not None]
        ranking = ranked(known, evidence.of)
        if ranking is None:
            sentences.append(
                f"{at(each, series)} there are no soft labels left alone to compare with."
            )
            continue
        which, told = "", {v.text: v.minus(v.soft, evidence.of) for v in ranking.variants}
        if len(known) > 2:
            which = f" (of {len(known)} kinds the best and the worst {ranking.how}"
            which += f"{ranking.caution})"
            told = {v.text: ranking.minus(v, v.soft) for v in (ranking.best, ranking.worst)}
        words = numbers.listed([f"“{text}” {change(found)}" for text, found in told.items()])
        sentences.append(f"{at(each, series)}, against soft labels{which}, {words}.")
    return sentences
