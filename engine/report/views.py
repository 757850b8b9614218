"""Tables as a reader sees them: the main table, the full grid, experts, what is missing.

One view feeds the HTML page, the Markdown files and the console, so the three cannot disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from engine.analysis.choice import choose_as_the_papers, choose_expert_epoch
from engine.analysis.grid import Cell, Panel
from engine.analysis.plan import Plan
from engine.analysis.trials import MEASURES
from engine.report import numbers
from engine.report.entries import (
    Entry,
    Table,
    absence_legend,
    absent,
    accuracy_entry,
    plus_minus_legend,
)
from engine.report.sweeps import Results
from engine.report.tables import NO_CELL, problem_rows


def main_view(panel: Panel, number: int) -> Table:
    """The main table: a row per IPC, soft against hard labels under three accuracies."""
    rows, cells, marks = [], [], set()
    for ipc in panel.ipcs:
        candidates = panel.soft_cells(ipc)
        choice = choose_expert_epoch(candidates)
        papers = choose_as_the_papers(candidates)
        soft = choice.cell if choice else NO_CELL
        hard = panel.cell(ipc, None) or NO_CELL
        # Without a choice nothing was measured: any cell that ran says so with its em dashes.
        ran = sorted(candidates, key=lambda cell: (not cell.trials, not cell.failed))
        shown = soft if choice or not ran else ran[0]
        cells += [soft, hard]
        if choice and not choice.equal_n:
            marks.add("unequal")
        if choice:
            marks.add(choice.chosen_on)
        n = {len(cell.trials) for cell in (soft, hard) if cell.trials}
        row = [
            Entry(text=str(ipc)),
            *(Entry(text=numbers.setting_value(v.get(ipc))) for v in panel.by_ipc.values()),
            _epoch_entry(choice.cell.expert_epoch, choice.chosen_on) if choice else absent(),
            Entry(
                text=str(n.pop()) if len(n) == 1 else f"{len(soft.trials)} / {len(hard.trials)}",
                title="runs with soft / with hard labels",
            ),
        ]
        for measure in MEASURES:
            row += [
                accuracy_entry(shown, measure, number, best=True),
                accuracy_entry(hard, measure, number),
                _gain_entry(shown, hard, measure),
            ]
        row += [
            _epoch_entry(papers.cell.expert_epoch, "") if papers else absent(),
            accuracy_entry(papers.cell, "max_on_test", number) if papers else absent(),
        ]
        rows.append(tuple(row))
    three = ("soft", "hard", "gain")
    settings = tuple(numbers.setting_name(name) for name in panel.by_ipc)
    return Table(
        title="Soft against hard labels",
        groups=(
            ("", 3 + len(settings)),
            ("Final epoch", 3),
            ("Selected on validation", 3),
            ("Max on test †", 3),
            ("Papers’ choice †", 2),
        ),
        columns=("IPC", *settings, "expert epoch", "n", *three * 3, "epoch", "soft"),
        rows=tuple(rows),
        legend=(
            *(_CHOSEN[mark] for mark in ("validation", "test", "unequal") if mark in marks),
            plus_minus_legend(cells),
            "Gain: soft minus hard in percentage points, formed over runs with equal seeds.",
            *absence_legend([panel]),
            "† The greatest of all test evaluations during training: "
            "the papers’ optimistic measure. “Papers’ choice” also picks the expert epoch by it.",
        ),
    )


_CHOSEN = {
    "validation": "The expert epoch is the best on validation images, which are kept out of the "
    "students’ subsets; test images had no say in it.",
    "test": "* Chosen on test, for want of validation images: the accuracy beside it is "
    "optimistic.",
    "unequal": "The candidate epochs of some IPC have different numbers of runs; see the full "
    "grid before trusting the choice.",
}


def grid_view(panel: Panel, number: int, measure: str, split: str = "test") -> Table:
    """One accuracy over the full grid: a row per expert epoch and hard labels, a column per IPC."""
    what = f"{split.capitalize()} accuracy, {numbers.MEASURE_NAMES[measure]}"
    summaries = {key: cell.summary(measure, split) for key, cell in panel.cells.items()}
    found = [summary for summary in summaries.values() if summary is not None]
    top = max((summary.mean for summary in found), default=0.0) or 1.0
    usual_n = Counter(summary.n for summary in found).most_common(1)[0][0] if found else 0
    chosen = set()
    for ipc in panel.ipcs:
        choice = choose_expert_epoch(panel.soft_cells(ipc))
        chosen |= {(ipc, choice.cell.expert_epoch)} if choice else set()
    rows = []
    kinds: list[int | None] = [*panel.expert_epochs, *([None] if panel.has_hard else [])]
    for epoch in kinds:
        row = [Entry(text="hard" if epoch is None else str(epoch))]
        for ipc in panel.ipcs:
            cell, summary = panel.cell(ipc, epoch), summaries.get((ipc, epoch))
            row.append(
                accuracy_entry(
                    cell or NO_CELL,
                    measure,
                    number,
                    split=split,
                    best=(ipc, epoch) in chosen,
                    shade=summary.mean / top if summary else None,
                    usual_n=usual_n,
                )
            )
        rows.append(tuple(row))
    return Table(
        title=what,
        columns=("expert epoch", *(f"IPC {ipc}" for ipc in panel.ipcs)),
        rows=tuple(rows),
        legend=(
            *([f"n = {usual_n} unless stated."] if found else []),
            *(["Bold: the expert epoch of the main table."] if chosen else []),
            *absence_legend([panel], {split, "validation" if measure == "selected" else split}),
        ),
    )


def expert_view(results: Results) -> Table:
    """The checkpoints that labelled, with the mean entropy of their labels."""
    rows = tuple(
        (
            Entry(text=row.expert, title=f"run {row.run_id}", style="words"),
            Entry(text=str(row.epoch)),
            Entry(text=numbers.percent(row.test)),
            Entry(text=numbers.percent(row.train)),
            Entry(
                text=numbers.NOT_MEASURED
                if row.label_entropy is None
                else numbers.signless(row.label_entropy, 2)
            ),
        )
        for row in results.experts
    )
    legend = "Accuracies in percent. Label entropy: mean over the training images, in nats"
    if results.num_classes:
        legend += f" (uniform labels over {results.num_classes} classes: "
        legend += f"{_uniform_entropy(results.num_classes)})"
    absent = any(row.test is None or row.train is None for row in results.experts)
    return Table(
        title="Experts",
        columns=("expert", "epoch", "test", "train", "label entropy"),
        rows=rows,
        legend=(legend + ".", *([f"{numbers.NOT_MEASURED}: not measured."] if absent else [])),
    )


def problem_view(panels: Sequence[Panel], plans: Sequence[Plan] = ()) -> Table:
    """Failed and missing cells."""
    axes = list(panels[0].axes)
    rows = tuple(
        (
            Entry(text=row["what"], style="words"),
            *(Entry(text=numbers.setting_value(row[name]), style="words") for name in axes),
            Entry(text=str(row["ipc"])),
            Entry(text="hard" if row["expert_epoch"] is None else str(row["expert_epoch"])),
            Entry(text=str(row["runs"])),
            Entry(text=row["seeds"], style="words"),
            Entry(text=row["detail"], title=row["trial"] or "", style="words"),
        )
        for row in problem_rows(panels, plans)
    )
    return Table(
        title="Failed and missing runs",
        columns=(
            "what",
            *map(numbers.setting_name, axes),
            "IPC",
            "expert epoch",
            "runs",
            "seeds",
            "detail",
        ),
        rows=rows,
        legend=(
            "Not run: against what the sweeps were asked for, "
            "and the full grid of every IPC, expert epoch and seed they hold.",
        ),
    )


def _epoch_entry(epoch: int | None, chosen_on: str) -> Entry:
    return Entry(
        text=f"{epoch}{'*' if chosen_on == 'test' else ''}",
        title=f"chosen on {chosen_on}" if chosen_on else "",
    )


def _gain_entry(soft: Cell, hard: Cell, measure: str) -> Entry:
    found = soft.gain_over(hard, measure)
    if found is None:
        return absent() if soft.trials and hard.trials else Entry(text="", style="muted")
    text = numbers.gain(found)
    if found.paired and {found.n} != {len(soft.trials), len(hard.trials)}:
        text += f" (n = {found.n})"
    return Entry(text=text, title=numbers.gain_in_full(found))


def _uniform_entropy(num_classes: int) -> str:
    from math import log

    return numbers.signless(log(num_classes), 2)
