"""Where the scatter comes from: initialisation, the subset of images, the expert."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from engine.analysis.trials import LABEL_VIEW_ID
from engine.analysis.variance import VarianceSplit, split_variance
from engine.report import numbers
from engine.report.entries import Entry, Table
from engine.report.experiments.bars import Bar, draw_bars
from engine.report.experiments.conditions import OF_EXPERTS, Condition, varying_axes
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, NumberTable, Picture, cells_of
from engine.report.tables import trial_ids

PARTS = ("initialisation", "subset", "expert", "interaction")
TOGETHER = "initialisation and subset together"
MOST_GROUPS = 8  # in the figure


def find(evidence: Evidence) -> Finding | None:
    groups = _groups(evidence)
    found = [(own, _split(own, evidence.of)) for own in groups]
    telling = [
        (own, split)
        for own, split in found
        if any(getattr(split, part) is not None for part in ("subset", "expert"))
    ]
    if not telling:
        return None
    return Finding(
        sentences=tuple(_sentences(telling)),
        tables=(_table(telling, _settings(telling)),),
        pictures=(
            Picture(
                name="variance_split",
                caption="The variance of a student’s accuracy by its sources.",
                draw=lambda: _draw(evidence, telling),
            ),
        ),
        cells=cells_of(each for own, _ in telling for each in own),
    )


EXPERIMENT = Experiment(
    name="robustness",
    title="Where the scatter comes from",
    question="How much of the spread is initialisation, how much the images, how much the expert?",
    source="paper, method",
    find=find,
)

Group = tuple[Condition, ...]


def _groups(evidence: Evidence) -> list[Group]:
    """Plain conditions that differ in their expert alone."""
    found: dict[str, list[Condition]] = {}
    for each in evidence.conditions:
        if evidence.is_plain(each) and each.is_measured:
            axes = {k: v for k, v in each.axes.items() if k not in ("expert", LABEL_VIEW_ID)}
            key = repr(
                (each.ipc, each.labels, each.epoch, sorted(axes.items(), key=lambda i: i[0]))
            )
            found.setdefault(key, []).append(each)
    return [tuple(own) for own in found.values()]


def _split(group: Sequence[Condition], of: tuple[str, str]) -> VarianceSplit:
    runs, initialisations = [], []
    for each in group:
        values = each.cell.values(*of)
        for trial in each.cell.trials:
            if trial.seeds in values:
                runs.append((values[trial.seeds], trial.subset_seed, each.axes.get("expert")))
                initialisations.append(
                    tuple(item for item in trial.seeds if item[0] != "subset_seed")
                )
    return split_variance(runs, initialisations)


def _sources(split: VarianceSplit) -> dict[str, float]:
    """Standard deviation by source; what seeds change together is one source."""
    known = {part: value for part in PARTS if (value := getattr(split, part)) is not None}
    if split.initialisation is None and split.subset is None and split.total is not None:
        rest = split.total**2 - sum(value**2 for value in known.values())
        known[TOGETHER] = math.sqrt(max(rest, 0.0))
    return known


def _sentences(telling: Sequence[tuple[Group, VarianceSplit]]) -> list[str]:
    wins: dict[str, int] = {}
    for _, split in telling:
        known = _sources(split)
        largest = max(known, key=lambda part: known[part])
        wins[largest] = wins.get(largest, 0) + 1
    ordered = sorted(wins, key=lambda part: (-wins[part], part))
    words = [f"{part} in {wins[part]}" for part in ordered]
    subsets = max(split.num_subsets for _, split in telling)
    experts = max(split.num_experts for _, split in telling)
    return [
        f"The largest source of scatter, over the {len(telling)} cells whose design can tell, is: "
        f"{numbers.listed(words)}. These are rough estimates, from at most {subsets} subsets and "
        f"{experts} experts."
    ]


def _settings(telling: Sequence[tuple[Group, VarianceSplit]]) -> list[str]:
    """The axes besides the expert's in which groups differ; labels without an expert have few."""
    firsts = [group[0] for group, _ in telling]
    no_expert = (*OF_EXPERTS, "transform")
    places = [
        (
            each.ipc,
            {k: v for k, v in each.axes.items() if each.epoch is not None or k not in no_expert},
        )
        for each in firsts
    ]
    return varying_axes(places, but=("expert",))


def _where(group: Group) -> str:
    first = group[0]
    return f"IPC {first.ipc}, " + ("hard" if first.epoch is None else f"epoch {first.epoch}")


def _points(value: float | None) -> Entry:
    if value is None:
        return Entry(text=numbers.NOT_MEASURED, title="the design can’t tell", style="muted")
    return Entry(text=numbers.signless(100 * value, 2))


def _table(telling: Sequence[tuple[Group, VarianceSplit]], settings: Sequence[str]) -> NumberTable:
    rows, flat = [], []
    for group, split in telling:
        first = group[0]
        rows.append(
            (
                Entry(text=str(first.ipc)),
                Entry(text="hard" if first.epoch is None else str(first.epoch)),
                *(Entry(text=numbers.setting_value(first.axes.get(n))) for n in settings),
                Entry(text=str(split.num_runs)),
                Entry(text=str(split.num_subsets)),
                Entry(text=str(split.num_experts)),
                _points(split.total),
                *(_points(getattr(split, part)) for part in PARTS),
                Entry(text="; ".join(split.notes), style="words"),
            )
        )
        flat.append(
            {
                "ipc": first.ipc,
                "labels": first.labels,
                "expert_epoch": first.epoch,
                **{name: first.axes.get(name) for name in settings},
                "runs": split.num_runs,
                "subsets": split.num_subsets,
                "experts": split.num_experts,
                "std_total": split.total,
                **{f"std_{part}": getattr(split, part) for part in PARTS},
                "notes": "; ".join(split.notes),
                "trials": " ".join(trial_ids(each.cell.trials) for each in group),
            }
        )
    return NumberTable(
        name="variance_split",
        view=Table(
            title="Standard deviations by source, in points",
            columns=(
                "IPC",
                "expert epoch",
                *map(numbers.setting_name, settings),
                "runs",
                "subsets",
                "experts",
                "total",
                *PARTS,
                "notes",
            ),
            rows=tuple(rows),
            legend=(
                "Estimated from pairs of runs that share an expert, a subset, both or neither. "
                "Initialisation: initial weights, order and augmentation. Total: of one run with "
                "everything drawn anew that these runs vary.",
                f"{numbers.NOT_MEASURED}: the design can’t tell.",
            ),
        ),
        rows=tuple(flat),
    )


def _draw(evidence: Evidence, telling: Sequence[tuple[Group, VarianceSplit]]) -> Figure:
    main = [(g, split) for g, split in telling if not evidence.deviates(g[0])] or list(telling)
    first = {_where(group): split for group, split in reversed(main)}
    places = list(dict.fromkeys(_where(group) for group, _ in main))[:MOST_GROUPS]
    bars = {
        (where.replace(", ", "\n"), part): Bar(height=1e4 * value**2)
        for where in places
        for part, value in _sources(first[where]).items()
    }
    kinds = [part for part in (*PARTS, TOGETHER) if any(kind == part for _, kind in bars)]
    under = "variance of a student’s accuracy by source"
    if len(places) < len(telling):
        under += f"; {len(places)} of {len(telling)} cells, of the main students: the table has all"
    return draw_bars(
        f"{evidence.results.dataset_name}: where the scatter comes from",
        under,
        [where.replace(", ", "\n") for where in places],
        kinds,
        bars,
        ylabel="variance (points²)",
        stacked=True,
    )
