"""The tables of `baseline`: ours beside the published numbers, and beside sets made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.analysis.statistics import Summary, difference, summarise
from engine.analysis.trials import Seeds
from engine.report import numbers
from engine.report.entries import Entry, Table, accuracy_entry, missing_entry
from engine.report.experiments.comparison import difference_entry
from engine.report.experiments.conditions import Condition, subset_of
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import NumberTable
from engine.report.tables import Row, difference_columns, summary_columns, trial_ids

if TYPE_CHECKING:
    from engine.report.sources import Evaluated

OURS = "max_on_test"
"""The measure that published numbers are of."""


def published_table(
    evidence: Evidence,
    soft: Mapping[int, Condition],
    hard: Mapping[int, Condition],
    best: Mapping[int, Condition],
    as_long: Mapping[int, Condition],
) -> NumberTable:
    """Ours by IPC, soft labels of students as long as the published too, and what was published."""
    published = evidence.published
    assert published is not None
    methods = [name for name in published.rows if not name.startswith("soft labels")]
    baselines = [name for name in published.rows if name.startswith("soft labels")]
    ipcs = sorted({*evidence.ipcs, *(ipc for row in published.rows.values() for ipc in row)})
    rows, flat = [], []
    for ipc in ipcs:
        own, others = soft.get(ipc), hard.get(ipc)
        honest = best.get(ipc)
        outstanding = evidence.some_soft(ipc)
        row = [
            Entry(text=str(ipc)),
            _or_missing(honest or outstanding, "final"),
            _or_missing(own or outstanding, OURS),
            Entry(text=str(own.epoch)) if own else _or_missing(outstanding, OURS),
            _or_missing(others or evidence.plain_hard(ipc), OURS),
            *([_or_missing(as_long.get(ipc), OURS)] if as_long else []),
        ]
        line: Row = {"ipc": ipc}
        for prefix, condition in ("soft", own), ("hard", others), ("as_long", as_long.get(ipc)):
            line |= summary_columns(
                f"{prefix}_{OURS}", condition.cell.summary(OURS) if condition else None
            )
        mean = own.cell.summary(OURS) if own else None
        for name in (*baselines, *methods):
            value = published.rows[name].get(ipc)
            row.append(
                Entry(text=numbers.NOT_MEASURED, style="muted", title="not published")
                if value is None
                else Entry(
                    text=f"{numbers.signless(value[0])} ± {numbers.signless(value[1])}",
                    style="muted",
                    title=_less(mean, value[0]),
                )
            )
            line[f"published_{name}"] = None if value is None else value[0] / 100
            line[f"published_{name}_std"] = None if value is None else value[1] / 100
        line["soft_trials"] = trial_ids(own.cell.trials) if own else None
        line["hard_trials"] = trial_ids(others.cell.trials) if others else None
        line["as_long_trials"] = trial_ids(as_long[ipc].cell.trials) if ipc in as_long else None
        rows.append(tuple(row))
        flat.append(line)
    full = ", ".join(f"{name} {value:g} %" for name, value in published.full.items())
    return NumberTable(
        name="published",
        view=Table(
            title=f"Beside the published numbers, {published.title}",
            groups=(
                ("", 1),
                ("Ours", 4 + bool(as_long)),
                ("Published †: soft labels", len(baselines)),
                ("Published †: methods", len(methods)),
            ),
            columns=(
                "IPC",
                "soft, final epoch",
                "soft, max †",
                "epoch †",
                "hard, max †",
                *([f"soft, {published.student_epochs:,} epochs, max †"] if as_long else []),
                *(name.removeprefix("soft labels ").strip("()") for name in baselines),
                *methods,
            ),
            rows=tuple(rows),
            legend=(
                "† The greatest of all test evaluations, expert epoch chosen on test too: as the "
                "papers measure. “Final epoch” chose on validation and looks at test once.",
                f"Published, all images: {full}.",
                f"{numbers.NOT_ASKED}: not asked for. {numbers.NOT_MEASURED}: not published.",
            ),
        ),
        rows=tuple(flat),
    )


def _less(own: Summary | None, published: float) -> str:
    if own is None:
        return "published; not run here"
    return f"published; ours less this: {numbers.signed(100 * own.mean - published)} points"


def _or_missing(condition: Condition | None, measure: str) -> Entry:
    if condition is None:
        return missing_entry(None)
    return accuracy_entry(condition.cell, measure, best=True)


def evaluated_table(evidence: Evidence, best: Mapping[int, Condition]) -> NumberTable:
    rows, flat = [], []
    for each in sorted(evidence.evaluated, key=lambda e: (e.ipc, e.name, e.id)):
        own = best.get(int(each.ipc)) if each.ipc == int(each.ipc) else None
        found = {name: summarise(list(values)) for name, values in each.accuracies.items()}
        values = each.accuracies.get("final", ())
        less = None
        if own is not None and values:
            # Seeds of another set of images pair with nothing.
            theirs: dict[Seeds, float] = {(("of set", i),): v for i, v in enumerate(values)}
            less = difference(theirs, own.cell.values("final"), subset_of(own.cell))
        rows.append(
            (
                Entry(text=each.name, style="words", title=f"set {each.distilled_id}"),
                Entry(text=f"{each.ipc:g}"),
                Entry(text=each.label_kind, style="words"),
                Entry(text=str(len(values))),
                *(_summary_entry(found.get(name), each) for name in ("final", "selected", OURS)),
                difference_entry(less),
                Entry(text=_lacking(each.missing), style="words"),
            )
        )
        line: Row = {
            "set": each.name,
            "evaluation": each.id,
            "ipc": each.ipc,
            "labels": each.label_kind,
            "n": len(values),
            "missing": each.missing,
        }
        for name in ("final", "selected", OURS):
            line |= summary_columns(name, found.get(name))
        line |= difference_columns("minus_soft_labels_final", less)
        line["soft_trials"] = trial_ids(own.cell.trials) if own else None
        flat.append(line)
    return NumberTable(
        name="evaluated",
        view=Table(
            title="Sets made elsewhere, students trained here",
            columns=(
                "set",
                "IPC",
                "labels",
                "n",
                "final epoch",
                "selected",
                "max †",
                "final epoch, less soft labels",
                "",
            ),
            rows=tuple(rows),
            legend=(
                "Mean ± population standard deviation over students of other initial weights, "
                "order and augmentation. Less soft labels: less random images of the same IPC "
                "with the labels of the best expert epoch, other students, so no pairs.",
            ),
        ),
        rows=tuple(flat),
    )


def _lacking(students: int) -> str:
    """How many students were asked for and have no result."""
    noun = "student" if students == 1 else "students"
    return f"{students} {noun} missing" if students else ""


def _summary_entry(found: Summary | None, of: Evaluated) -> Entry:
    if found is None:
        return Entry(text=numbers.NOT_MEASURED, style="muted")
    title = f"{numbers.accuracy_in_full(found)}; evaluation {of.id}, {of.path.name}"
    return Entry(text=numbers.accuracy(found), title=title)
