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
    Series,
    SeriesKey,
    Variant,
    everything_of,
    measured_only,
    ranked,
    series_of,
    variants_of,
)
from engine.report.experiments.words import at, change, uncompared

MOST_MAPS = 3
VARIED = ("temperature",)


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
    series = series_of(variants, varied=VARIED)
    grids = _grids(evidence, variants)
    return Finding(
        sentences=tuple(text for each in grids for text in _sentence(each, grids, evidence))
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
        pictures=_pictures(evidence, grids),
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


def _grids(evidence: Evidence, variants: Sequence[Variant]) -> list[Series]:
    """All epochs and temperatures measured, by IPC and setting; where any label was softened."""
    measured = [v for v in measured_only(variants) if v.condition.cell.summary(*evidence.of)]
    found: dict[SeriesKey, list[Variant]] = {}
    for each in series_of(measured, varied=VARIED):
        found.setdefault((each.ipc, tuple(each.settings.items())), []).extend(each.variants)
    return [
        Series(ipc=ipc, epoch=None, settings=dict(settings), variants=tuple(own))
        for (ipc, settings), own in found.items()
        if any(v.condition.axes["temperature"] != evidence.plain["temperature"] for v in own)
    ]


def _sentence(grid: Series, grids: Sequence[Series], evidence: Evidence) -> list[str]:
    own = sorted(grid.variants, key=lambda each: each.value)
    ranking = ranked(own, evidence.of)
    if ranking is None:
        return []
    best = ranking.best
    where = f"epoch {best.condition.epoch} at temperature {best.text}"
    if len(own) < 2:
        lacking = f"run of expert epoch {best.condition.epoch} at the labels’ own temperature"
        return [uncompared(at(grid, grids), lacking, [(where, best.condition)], evidence.of)]
    text = (
        f"{at(grid, grids)}, the best of the {len(own)} cells compared, {ranking.how}, is {where}"
    )
    if best.soft is not None and best.soft.key == best.condition.key:
        return [text + ", the temperature that all other experiments use."]
    found = ranking.minus(best, best.soft)
    caution = ranking.caution if found else ""
    return [f"{text}; against the labels’ own temperature it {change(found)}{caution}."]


def _pictures(evidence: Evidence, grids: Sequence[Series]) -> tuple[Picture, ...]:
    variants = [each for grid in grids for each in grid.variants]
    if not variants:
        return ()
    if len({each.condition.epoch for each in variants}) < 2:
        return (
            Picture(
                name="temperature",
                caption="Accuracy by the temperature of the labels.",
                draw=lambda: _draw_lines(evidence, variants),
            ),
        )
    alike: dict[str, list[Series]] = {}
    for grid in grids:
        alike.setdefault(numbers.settings(grid.settings), []).append(grid)
    groups = [
        (settings, own[i : i + MOST_MAPS])
        for settings, own in alike.items()
        for i in range(0, len(own), MOST_MAPS)
    ]
    return tuple(
        Picture(
            name="temperature" if len(groups) == 1 else f"temperature_{number}",
            caption="Accuracy by expert epoch and temperature; colours are by IPC. Bold: the best."
            + (f" Here: {settings}." if settings else ""),
            draw=lambda settings=settings, group=group: _draw_maps(  # type: ignore[misc]
                evidence, group, settings
            ),
        )
        for number, (settings, group) in enumerate(groups, 1)
    )


def _draw_maps(evidence: Evidence, grids: Sequence[Series], settings: str) -> Figure:
    maps = []
    for grid in grids:
        cells = {
            (float(each.condition.epoch or 0), each.value): 100 * found.mean
            for each in grid.variants
            if (found := each.condition.cell.summary(*evidence.of))
        }
        maps.append((f"IPC {grid.ipc}", cells))
    return draw_heat(
        f"{evidence.results.dataset_name}: {evidence.of[1]} accuracy by epoch and temperature",
        ", ".join(filter(None, [settings, "in percent, mean over the runs of a cell"])),
        maps,
        row_name="expert epoch",
        column_name="temperature",
    )


def _draw_lines(evidence: Evidence, variants: Sequence[Variant]) -> Figure:
    series = series_of(variants, varied=VARIED)
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
