"""Expert epoch × temperature: whether a softer label makes up for an expert stopped elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from engine.report import numbers
from engine.report.experiments.comparison import compared
from engine.report.experiments.conditions import Condition
from engine.report.experiments.curves import Plot, curves_of, draw_curves, under
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, Picture, cells_of
from engine.report.experiments.heat import draw_heat
from engine.report.experiments.series import (
    Variant,
    everything_of,
    measured_only,
    paired_means,
    series_of,
    variants_of,
)
from engine.report.experiments.words import change

MOST_MAPS = 3


def find(evidence: Evidence) -> Finding | None:
    softened = [
        each
        for each in evidence.conditions
        if each.labels == "soft" and evidence.is_plain(each, but=("temperature",))
        if each.axes["temperature"] != evidence.plain["temperature"]
    ]
    if not softened:
        return None
    # The labels at their own temperature are a column of the map like any other.
    bases = {each.key for each in map(evidence.soft_of, softened) if each is not None}
    wanted = {each.key for each in softened} | bases
    variants = variants_of(
        evidence, lambda each: _temperature(each) if each.key in wanted else None
    )
    series = series_of(variants, varied=("temperature",))
    drawn = measured_only(variants)
    ipcs = sorted({each.ipc for each in drawn})
    return Finding(
        sentences=tuple(s for ipc in ipcs for s in _sentence(ipc, drawn, evidence))
        or ("No such run is finished.",),
        tables=(
            compared(
                evidence,
                "temperature",
                "Expert epoch × temperature",
                series,
                heading="temperature",
                soft_name=f"temperature {numbers.setting_value(evidence.plain['temperature'])}",
            ),
        ),
        pictures=_pictures(evidence, drawn),
        shown=tuple(softened),
        cells=cells_of(everything_of(series)),
    )


EXPERIMENT = Experiment(
    name="temperature",
    title="Temperature",
    question="Which temperature of the labels is best, and does it depend on the expert epoch?",
    source="paper, appendix: epoch × temperature",
    find=find,
)


def _temperature(condition: Condition) -> tuple[float, str]:
    value = condition.axes["temperature"]
    assert isinstance(value, int | float)
    return float(value), numbers.setting_value(value)


def _sentence(ipc: int, variants: Sequence[Variant], evidence: Evidence) -> list[str]:
    own = [each for each in variants if each.ipc == ipc]
    chosen = next(
        (
            (means, split)
            for measure, split in (("selected", "validation"), evidence.of)
            if (means := paired_means(own, (measure, split)))
        ),
        None,
    )
    if len(own) < 2 or chosen is None:
        return []
    means, split = chosen
    best, _ = max(zip(own, means, strict=True), key=lambda pair: (pair[1], -pair[0].value))
    where = f"epoch {best.condition.epoch} at temperature {best.text}"
    text = (
        f"At IPC {ipc} the best of the {len(own)} cells compared, by {split} accuracy, is {where}"
    )
    if best.soft is None or best.soft.key == best.condition.key:
        return [text + ", the temperature that all other experiments use."]
    return [
        f"{text}; against the labels’ own temperature it "
        f"{change(best.minus(best.soft, evidence.of))}."
    ]


def _pictures(evidence: Evidence, variants: Sequence[Variant]) -> tuple[Picture, ...]:
    ipcs = sorted({each.ipc for each in variants})
    epochs = {each.condition.epoch for each in variants}
    if not variants:
        return ()
    if len(epochs) < 2:
        series = series_of(variants, varied=("temperature",))
        return (
            Picture(
                name="temperature",
                caption="Accuracy by the temperature of the labels.",
                draw=lambda: _draw_lines(evidence, variants) if series else Figure(),
            ),
        )
    groups = [ipcs[i : i + MOST_MAPS] for i in range(0, len(ipcs), MOST_MAPS)]
    return tuple(
        Picture(
            name="temperature" if len(groups) == 1 else f"temperature_{number}",
            caption="Accuracy by expert epoch and temperature; colours are by IPC. Bold: the best.",
            draw=lambda group=group: _draw_maps(evidence, variants, group),  # type: ignore[misc]
        )
        for number, group in enumerate(groups, 1)
    )


def _draw_maps(evidence: Evidence, variants: Sequence[Variant], ipcs: Sequence[int]) -> Figure:
    maps = []
    for ipc in ipcs:
        cells = {
            (float(each.condition.epoch or 0), each.value): 100 * found.mean
            for each in variants
            if each.ipc == ipc and (found := each.condition.cell.summary(*evidence.of))
        }
        if cells:
            maps.append((f"IPC {ipc}", cells))
    return draw_heat(
        f"{evidence.results.dataset_name}: {evidence.of[1]} accuracy by epoch and temperature",
        "in percent, mean over the runs of a cell",
        maps,
        row_name="expert epoch",
        column_name="temperature",
    )


def _draw_lines(evidence: Evidence, variants: Sequence[Variant]) -> Figure:
    series = series_of(variants, varied=("temperature",))
    return draw_curves(
        Plot(
            title=f"{evidence.results.dataset_name}: temperature of the labels",
            under=under(series),
            xlabel="temperature",
            ylabel=f"{evidence.of[1]} accuracy (%)",
            xscale="linear",
        ),
        curves_of(series, evidence.of),
    )
