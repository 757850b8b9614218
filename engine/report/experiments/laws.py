"""The knowledge-data scaling law: forms compared by held-out error, their curves and residuals.

Two kinds of knowledge have the same section: the epoch of the expert, and the number of labels
kept of each image (top-k).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.analysis.bootstrap import Interval
from engine.analysis.law_forms import Parameter
from engine.analysis.scaling_law import LawFit, LawPoint, fit_laws
from engine.report import numbers
from engine.report.entries import Entry, Table
from engine.report.experiments.conditions import Condition
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, NumberTable, Picture, cells_of
from engine.report.experiments.law_figures import draw_law, draw_residuals
from engine.report.experiments.pareto import main_grid
from engine.report.tables import Row, trial_ids

LEAST_IPCS, LEAST_KNOWLEDGE = 3, 3


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What stands for knowledge: its name, and in what files' names it appears."""

    name: str  # "expert epoch"
    stem: str


EPOCH = Knowledge(name="expert epoch", stem="scaling_law")
KEPT = Knowledge(name="labels kept (k)", stem="scaling_law_top_k")


def find(evidence: Evidence) -> Finding | None:
    grid = main_grid(evidence)
    if len({each.epoch for each in grid}) < 2:
        return None
    return law_of(evidence, [(each, float(each.epoch or 0)) for each in grid], EPOCH)


EXPERIMENT = Experiment(
    name="scaling-law",
    title="The knowledge-data scaling law",
    question="Which formula gives accuracy from images per class and expert epoch?",
    source="paper (no formula is published)",
    find=find,
)


def law_of(
    evidence: Evidence, points: Sequence[tuple[Condition, float]], knowledge: Knowledge
) -> Finding:
    """The section of one kind of knowledge, from conditions and how much of it each has."""
    ipcs = sorted({condition.ipc for condition, _ in points})
    amounts = sorted({amount for _, amount in points})
    few = [
        f"{len(found)} of the {least} {what} that it takes"
        for found, least, what in (
            (ipcs, LEAST_IPCS, "IPCs"),
            (amounts, LEAST_KNOWLEDGE, f"values of {knowledge.name}"),
        )
        if len(found) < least
    ]
    fits = []
    if not few:
        fits = fit_laws(
            [
                LawPoint(
                    ipc=condition.ipc,
                    knowledge=amount,
                    accuracies=tuple(condition.cell.values(*evidence.of).values()),
                )
                for condition, amount in points
            ]
        )
    if not fits:
        why = numbers.listed(few) or f"{len(points)} cells"
        return Finding(sentences=(f"Too few points for a law: {why}.",))
    best = fits[0]
    trials = " ".join(trial_ids(condition.cell.trials) for condition, _ in points)
    return Finding(
        sentences=tuple(_sentences(fits, knowledge)),
        tables=(_forms_table(fits, knowledge, trials), _parameter_table(best, knowledge, trials)),
        pictures=(
            Picture(
                name=knowledge.stem,
                caption=f"The best form, {best.form}, with the 95 % band of its curve; dashed: "
                "beyond what was measured.",
                draw=lambda: draw_law(evidence, best, knowledge.name),
            ),
            Picture(
                name=f"{knowledge.stem}_residuals",
                caption="What the best form gets wrong: measured less fitted accuracy; open: "
                "less what it said without that IPC.",
                draw=lambda: draw_residuals(evidence, best, knowledge.name),
            ),
        ),
        cells=cells_of(condition for condition, _ in points),
    )


def _sentences(fits: Sequence[LawFit], knowledge: Knowledge) -> list[str]:
    best = fits[0]
    if best.held_out_error is None:
        text = (
            f"Of {len(fits)} forms “{best.form}” fits best ({_points(best.fitted_error)} points "
            "root mean square); too few IPCs to compare forms by what they were not fitted to."
        )
        return [text, f"Accuracy = {best.formula}, N images per class, K the {knowledge.name}."]
    sentences = [
        f"Of {len(fits)} forms “{best.form}” predicts an IPC left out best: "
        f"{_points(best.held_out_error)} points root mean square.",
        f"Accuracy = {best.formula}, N images per class, K the {knowledge.name}.",
    ]
    rivals = [
        f"“{fit.form}” ({_points(fit.held_out_error)})"
        for fit in fits[1:]
        if fit.held_out_error is not None and fit.held_out_error < 1.25 * best.held_out_error
    ]
    if rivals:
        sentences.append(f"Within a quarter of that error: {numbers.listed(rivals)}.")
    else:
        sentences.append("No other form comes within a quarter of that error.")
    if best.extrapolation_error is not None:
        sentences.append(
            f"The largest IPC, predicted from the smaller ones, is missed by "
            f"{_points(best.extrapolation_error)} points."
        )
    return sentences


def _forms_table(fits: Sequence[LawFit], knowledge: Knowledge, trials: str) -> NumberTable:
    rows, flat = [], []
    for i, fit in enumerate(fits):
        errors = {
            "held out": fit.held_out_error,
            "interpolation": fit.interpolation_error,
            "extrapolation": fit.extrapolation_error,
            "fitted": fit.fitted_error,
        }
        rows.append(
            (
                Entry(text=fit.form, style="best words" if i == 0 else "words"),
                Entry(text=fit.formula, style="words"),
                Entry(text=str(len(fit.parameters))),
                *(Entry(text=_points(error)) for error in errors.values()),
            )
        )
        line: Row = {"form": fit.form, "formula": fit.formula, "parameters": len(fit.parameters)}
        line |= {f"{k.replace(' ', '_')}_error": v for k, v in errors.items()}
        line["held_out_ipcs"] = " ".join(map(str, fit.held_out_ipcs))
        flat.append(line | {"trials": trials})
    return NumberTable(
        name=f"{knowledge.stem}_forms",
        view=Table(
            title="Forms compared",
            groups=(("", 3), ("Root mean square error, points", 4)),
            columns=(
                "form",
                "accuracy =",
                "parameters",
                "held out",
                "interpolation",
                "extrapolation",
                "fitted",
            ),
            rows=tuple(rows),
            legend=(
                f"N: images per class. K: {knowledge.name}. Held out: every IPC left out in turn, "
                f"the form fitted to the others{_left_out(fits)}. Interpolation: of these the "
                "inner IPCs; extrapolation: the largest. Fitted: of the points fitted to.",
            ),
        ),
        rows=tuple(flat),
    )


def _left_out(fits: Sequence[LawFit]) -> str:
    """Which IPCs, if not all: without some IPC too few points may be left for some form."""
    tested = {ipc for fit in fits for ipc in fit.held_out_ipcs}
    measured = {row.ipc for fit in fits for row in fit.residuals}
    if not tested or tested == measured:
        return ""
    words = numbers.listed([str(ipc) for ipc in sorted(tested)])
    return f", at the IPCs without which all forms can be fitted ({words})"


def _parameter_table(fit: LawFit, knowledge: Knowledge, trials: str) -> NumberTable:
    bounds = {each.name: each for each in fit.of.parameters}
    rows = [
        (
            Entry(text=name, style="words"),
            Entry(text=_number(found.mean, bounds[name])),
            Entry(text=_ends(found, bounds[name])),
        )
        for name, found in fit.parameters.items()
    ]
    return NumberTable(
        name=f"{knowledge.stem}_parameters",
        view=Table(
            title="Parameters of the best form",
            columns=(fit.formula, "value", "95 % interval"),
            rows=tuple(rows),
            legend=(
                "Accuracy as a fraction. The intervals hold if the form is right (bootstrap of "
                "the residuals).",
                *([_AT_BOUND] if any(BOUND in e.text for row in rows for e in row) else []),
            ),
        ),
        rows=tuple(
            {
                "form": fit.form,
                "parameter": name,
                "value": found.mean,
                "ci_low": found.low,
                "ci_high": found.high,
                "at_bound": " ".join(
                    name_of
                    for name_of, end in (
                        ("value", found.mean),
                        ("ci_low", found.low),
                        ("ci_high", found.high),
                    )
                    if _is_bound(end, bounds[name])
                ),
                "trials": trials,
            }
            for name, found in fit.parameters.items()
        ),
    )


BOUND = " (bound)"
_AT_BOUND = "Bound: the bound of the search, which ended there: no estimate."


def _is_bound(end: float | None, of: Parameter) -> bool:
    near = 1e-6 * (of.high - of.low)
    return end is not None and min(abs(end - of.low), abs(end - of.high)) <= near


def _number(value: float, of: Parameter) -> str:
    return numbers.signless(value, 3) + (BOUND if _is_bound(value, of) else "")


def _ends(found: Interval, of: Parameter) -> str:
    if found.low is None or found.high is None:
        return numbers.NOT_MEASURED
    return f"{_number(found.low, of)} to {_number(found.high, of)}"


def _points(error: float | None) -> str:
    return numbers.NOT_MEASURED if error is None else numbers.signless(100 * error, 2)
