"""Figure 4: is the expert sure where it should not be? Noise on its lowest-entropy labels.

The published points of 30 and 50 % come from another expert than the rest, which alone can make
them fall; here every share is paired with the same labels left alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from engine.report.experiments.beside import beside_published
from engine.report.experiments.comparison import compared
from engine.report.experiments.conditions import Condition, only_step
from engine.report.experiments.curves import Curve, Plot, curves_of, draw_curves, under
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, Picture, cells_of
from engine.report.experiments.series import (
    Series,
    conditions_drawn,
    everything_of,
    measured_only,
    series_of,
    variants_of,
)
from engine.report.experiments.words import at, change, telling

NAME = "noise-lowest-entropy"


def find(evidence: Evidence) -> Finding | None:
    variants = variants_of(evidence, _share)
    if not variants:
        return None
    alphas = sorted({_alpha(each.condition) for each in variants})
    by_alpha = {
        alpha: [each for each in variants if _alpha(each.condition) == alpha] for alpha in alphas
    }
    series = [s for own in by_alpha.values() for s in series_of(own, varied=("transform",))]
    drawn = {
        alpha: found
        for alpha, own in by_alpha.items()
        if (found := series_of(measured_only(own), varied=("transform",)))
    }
    return Finding(
        sentences=tuple(
            text for alpha, own in drawn.items() for text in _sentences(alpha, own, evidence)
        )
        or ("No such run is finished.",),
        tables=(
            compared(
                evidence,
                "noise_lowest_entropy",
                "Noise on the surest labels",
                series,
                heading="share, α",
            ),
        ),
        pictures=(
            Picture(
                name="noise_lowest_entropy",
                caption="Accuracy by the share of samples, those of lowest entropy first, whose "
                "labels get a part α of noise.",
                draw=lambda: _draw(evidence, drawn),
            ),
        )
        if drawn
        else (),
        shown=tuple(each.condition for each in variants),
        cells=cells_of(everything_of(series)),
    )


EXPERIMENT = Experiment(
    name="noise-lowest-entropy",
    title="Noise on the surest labels",
    question="Is an expert too sure: does noise on its surest labels help, or hurt?",
    source="reproduction, Figure 4",
    find=find,
)


def _share(condition: Condition) -> tuple[float, str] | None:
    arguments = only_step(condition, NAME)
    if not arguments:
        return None
    share = float(arguments[0])
    return share, f"{100 * share:g} % of samples, α {100 * _alpha(condition):g} %"


def _alpha(condition: Condition) -> float:
    arguments = only_step(condition, NAME) or ()
    return float(arguments[1]) if len(arguments) > 1 else 0.0


def _sentences(alpha: float, series: Sequence[Series], evidence: Evidence) -> list[str]:
    sentences = []
    for each in telling(series):
        most = each.variants[-1]
        found = most.minus(most.soft, evidence.of)
        sentences.append(
            f"{at(each, series)}, mixing {100 * alpha:g} % of noise into the surest "
            f"{100 * most.value:g} % of labels {change(found)}."
        )
    return sentences


def _draw(evidence: Evidence, drawn: dict[float, list[Series]]) -> Figure:
    theirs = evidence.published.noise if evidence.published else {}
    curves: list[Curve] = []
    for alpha, series in drawn.items():
        for curve in curves_of(
            series,
            evidence.of,
            x_of=lambda variant: 100 * variant.value,
            start=0.0,
            published={ipc: row for (ipc, own), row in theirs.items() if own == alpha},
        ):
            label = f"{curve.label}, α {100 * alpha:g} %"
            gid = f"{curve.gid}-alpha-{alpha:g}"
            curves.append(
                Curve(label=label, gid=gid, points=curve.points, published=curve.published)
            )
    return draw_curves(
        Plot(
            title=f"{evidence.results.dataset_name}: noise on the lowest-entropy labels",
            under=under([s for own in drawn.values() for s in own], "0 %: labels left alone"),
            xlabel="share of samples (%)",
            ylabel=f"{evidence.of[1]} accuracy (%)",
            xscale="linear",
            from_zero=False,
            beside=beside_published(
                evidence, [c for own in drawn.values() for c in conditions_drawn(own)]
            ),
        ),
        curves,
    )
