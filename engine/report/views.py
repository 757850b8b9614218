"""Tables as a reader sees them: the main table, the full grid, experts, what is missing.

One view feeds the HTML page, the Markdown files and the console, so the three cannot disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from engine.analysis.cells import Cell
from engine.analysis.choice import Choice, choose_as_the_papers, choose_expert_epoch
from engine.analysis.grid import Panel
from engine.analysis.trials import MEASURES, Value
from engine.report import numbers
from engine.report.entries import (
    Entry,
    Table,
    absence_legend,
    absent,
    accuracy_entry,
    cell_anchor,
    missing_entry,
    plus_minus_legend,
)
from engine.report.sweeps import Results
from engine.report.tables import NO_CELL, problem_rows

MOST_PROBLEMS = 60  # rows on the page; the CSV has all


def main_view(panel: Panel) -> Table:
    """The main table: a row per IPC, soft against hard labels under three accuracies.

    Where no hard labels were asked for, their columns are left out.
    """
    rows, cells, marks = [], [], set()
    kinds = ("soft", "hard", "gain") if panel.has_hard else ("soft",)
    by_ipc = _settings_by_ipc(panel)
    for ipc in panel.ipcs:
        candidates = panel.soft_cells(ipc)
        choice = choose_expert_epoch(candidates)
        papers = choose_as_the_papers(candidates)
        soft = choice.cell if choice else NO_CELL
        hard = panel.cell(ipc, None) or NO_CELL
        # Without a choice nothing was measured: any cell that ran says so with its em dashes.
        ran = sorted(candidates, key=lambda cell: (not cell.trials, not cell.failed))
        shown = soft if choice or not ran else ran[0]
        no_choice = absent() if shown.trials else missing_entry(shown if shown.asked else None)
        cells += [soft, hard]
        if choice and not choice.equal_n:
            marks.add("unequal")
        if any(cell.missing for cell in candidates) and len(candidates) > 1:
            marks.add("unfinished")
        if choice:
            marks.add(choice.chosen_on if choice.candidates > 1 else "only")
        n = {len(cell.trials) for cell in (soft, hard) if cell.trials}
        row = [
            Entry(text=str(ipc)),
            *(Entry(text=numbers.setting_value(v.get(ipc))) for v in by_ipc.values()),
            _epoch_entry(choice) if choice else no_choice,
            Entry(
                text=str(n.pop()) if len(n) == 1 else f"{len(soft.trials)} / {len(hard.trials)}",
                title="runs with soft / with hard labels",
            )
            if n
            else Entry(text="0", style="muted"),
        ]
        for measure in MEASURES:
            by_kind = {
                "soft": accuracy_entry(shown, measure, best=True),
                "hard": accuracy_entry(hard, measure),
                "gain": _gain_entry(shown, hard, measure),
            }
            row += [by_kind[kind] for kind in kinds]
        row += [
            Entry(text=str(papers.cell.expert_epoch)) if papers else no_choice,
            accuracy_entry(papers.cell, "max_on_test") if papers else no_choice,
        ]
        rows.append(tuple(row))
    settings = tuple(numbers.setting_name(name) for name in by_ipc)
    return Table(
        title="Soft against hard labels" if panel.has_hard else "Soft labels",
        groups=(
            ("", 3 + len(settings)),
            ("Final epoch", len(kinds)),
            ("Selected on validation", len(kinds)),
            ("Max on test †", len(kinds)),
            ("Papers’ choice †", 2),
        ),
        columns=("IPC", *settings, "expert epoch", "n", *kinds * 3, "epoch", "soft"),
        rows=tuple(rows),
        legend=(
            *(_CHOSEN[mark] for mark in _CHOSEN if mark in marks),
            plus_minus_legend(cells),
            *([_GAIN] if panel.has_hard else []),
            *absence_legend([panel]),
            *_blank_legend(rows),
            "† The greatest of all test evaluations during training: "
            "the papers’ optimistic measure. “Papers’ choice” also picks the expert epoch by it.",
        ),
    )


_GAIN = "Gain: soft minus hard in percentage points, formed over runs with equal seeds."
_CHOSEN = {
    "only": "Where one expert epoch alone was run at an IPC, it is shown: nothing was chosen.",
    "validation": "The expert epoch is the best on validation images, which are kept out of the "
    "students’ subsets; test images had no say in it.",
    "test": "* Chosen on test, for want of validation images: the accuracy beside it is "
    "optimistic.",
    "unfinished": "Runs are missing at some IPC (below), so its best expert epoch may change.",
    "unequal": "The candidate epochs of some IPC have different numbers of runs; see the full "
    "grid before trusting the choice.",
}


def grid_view(panel: Panel, measure: str, split: str = "test") -> Table:
    """One accuracy over the full grid: a row per expert epoch and hard labels, a column per IPC."""
    what = f"{split.capitalize()} accuracy, {numbers.MEASURE_NAMES[measure]}"
    summaries = {key: cell.summary(measure, split) for key, cell in panel.cells.items()}
    found = [summary for summary in summaries.values() if summary is not None]
    top = max((summary.mean for summary in found), default=0.0) or 1.0
    usual_n = Counter(summary.n for summary in found).most_common(1)[0][0] if found else 0
    chosen = set()
    for ipc in panel.ipcs:
        choice = choose_expert_epoch(panel.soft_cells(ipc))
        chosen |= {(ipc, choice.cell.expert_epoch)} if choice and choice.candidates > 1 else set()
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
            *_blank_legend(rows),
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


def problem_view(panels: Sequence[Panel]) -> Table:
    """Failed and missing cells, the first MOST_PROBLEMS of them."""
    axes = list(panels[0].axes)
    found = problem_rows(panels)
    more = len(found) - MOST_PROBLEMS
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
        for row in found[:MOST_PROBLEMS]
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
            "Not run: asked for when the sweeps were last started, and not there.",
            *([f"{more:,} further rows are in tables/problems.csv."] if more > 0 else []),
        ),
    )


def _settings_by_ipc(panel: Panel) -> dict[str, Mapping[int, Value]]:
    """Settings of the student to show in the row of an IPC: those that do not follow from others.

    A schedule's lengths are a share of the student's epochs.
    """
    return {
        name: of
        for name, of in panel.by_ipc.items()
        if not (name.startswith("student.schedule.") and "student.epochs" in panel.by_ipc)
    }


def _epoch_entry(choice: Choice) -> Entry:
    epoch = str(choice.cell.expert_epoch)
    if choice.candidates == 1:
        return Entry(text=epoch, title="the only epoch measured")
    marked = "*" if choice.chosen_on == "test" else ""
    return Entry(text=epoch + marked, title=f"chosen on {choice.chosen_on}")


def _blank_legend(rows: Sequence[Sequence[Entry]]) -> list[str]:
    texts = {entry.text for row in rows for entry in row}
    return [f"{numbers.NOT_ASKED}: not asked for."] if numbers.NOT_ASKED in texts else []


def _gain_entry(soft: Cell, hard: Cell, measure: str) -> Entry:
    found = soft.gain_over(hard, measure)
    if found is None:
        return absent() if soft.trials and hard.trials else Entry(text="", style="muted")
    text = numbers.gain(found)
    if found.paired and {found.n} != {len(soft.trials), len(hard.trials)}:
        text += f" (n = {found.n})"
    return Entry(text=text, title=numbers.gain_in_full(found), anchor=cell_anchor(soft))


def _uniform_entropy(num_classes: int) -> str:
    from math import log

    return numbers.signless(log(num_classes), 2)
