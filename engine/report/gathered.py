"""Everything that a report will say, before anything is drawn.

In: folders of sweeps, evaluations and learned labels. Out: the trials with their experiments, the
panels of what no experiment shows, the cards of the first screen and the verdicts on claims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.analysis.asked import AskedCell
from engine.analysis.grid import Panel, split_into_panels
from engine.analysis.trials import Trial, Value
from engine.report.claims import experiment as claims
from engine.report.claims.claims import Judgement, judge
from engine.report.experiments.conditions import PLAIN, key_of
from engine.report.experiments.evidence import Evidence, evidence_of
from engine.report.experiments.finding import Experiment, Finding
from engine.report.experiments.registry import run_experiments
from engine.report.figures import measured
from engine.report.headline import Card, headline
from engine.report.sources import read_others, sort_folders
from engine.report.sweeps import Progress, Results, read_sweeps


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What a report will say. `panels`: of what no experiment shows; `everything`: of all."""

    results: Results
    evidence: Evidence
    findings: list[tuple[Experiment, Finding]]
    panels: list[Panel]
    everything: list[Panel]
    cards: list[Card]
    judgements: list[Judgement]


def gather(folders: Sequence[str | Path], progress: Progress | None) -> Gathered:
    """Read folders and let every experiment say what it finds. Raises as `write_report` does."""
    sources = sort_folders(folders)
    results = read_sweeps(sources.sweeps, progress=progress)
    evaluated, learned = read_others(sources, results.dataset_id)
    everything = split_into_panels(results.trials, results.asked)
    evidence = evidence_of(
        results, measured(everything) or ("final", "test"), evaluated=evaluated, learned=learned
    )
    judgements = judge(evidence)
    findings = run_experiments(evidence)
    told = claims.finding(judgements)
    if told is not None:
        findings.insert(0, (claims.EXPERIMENT, told))
    taken = frozenset[Any]().union(*(finding.takes for _, finding in findings))
    # Records of different ages mention different axes and mean the same.
    places: list[Trial | AskedCell] = [*results.trials, *results.asked]
    mentioned = {name for each in places for name in each.axes}
    usual = {name: value for name, value in PLAIN.items() if name in mentioned}
    trials = [_filled(t, usual) for t in results.trials if key_of(t) not in taken]
    asked = [_filled(cell, usual) for cell in results.asked if key_of(cell) not in taken]
    panels = split_into_panels(trials, asked)
    return Gathered(
        results=results,
        evidence=evidence,
        findings=findings,
        panels=panels,
        everything=everything,
        cards=headline(evidence, [panel for panel in panels if panel.has_runs]),
        judgements=judgements,
    )


def _filled(place: Any, usual: Mapping[str, Value]) -> Any:
    """A run, or a cell asked for, with the axes that it does not mention; hard labels have none."""
    if place.labels == "hard":
        usual = {name: value for name, value in usual.items() if name == "selection"}
    lacking = {name: value for name, value in usual.items() if name not in place.axes}
    return replace(place, axes={**place.axes, **lacking}) if lacking else place
