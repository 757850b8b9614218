"""Tables as a reader sees them: entries with text, tooltip and the way to their trials.

One view feeds the HTML page, the Markdown files and the console, so the three cannot disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass

from engine.analysis.choice import choose_as_the_papers, choose_expert_epoch
from engine.analysis.grid import Cell, Panel, spread_meaning
from engine.analysis.trials import MEASURES
from engine.report import numbers
from engine.report.sweeps import Results
from engine.report.tables import NO_CELL, problem_rows


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One field of a table. `anchor` names the list of its trials; `shade` is 0..1 or None."""

    text: str
    title: str = ""
    anchor: str = ""
    style: str = ""  # "", "best", "muted" or "words"
    shade: float | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """`groups` are (heading, number of columns) above `columns`; `legend` explains the signs."""

    title: str
    groups: tuple[tuple[str, int], ...] = ()
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    legend: tuple[str, ...] = ()

    @property
    def word_columns(self) -> list[bool]:
        """Which columns hold words (set left) rather than numbers (set right)."""
        columns = range(len(self.columns))
        return [any(row[i].style == "words" for row in self.rows) for i in columns]

    @property
    def group_starts(self) -> list[bool]:
        """Which columns begin a group."""
        return [i == 0 for _, width in self.groups for i in range(width)] or [False] * len(
            self.columns
        )


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
            _epoch_entry(choice.cell.expert_epoch, choice.chosen_on) if choice else _absent(),
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
            _epoch_entry(papers.cell.expert_epoch, "") if papers else _absent(),
            accuracy_entry(papers.cell, "max_on_test", number) if papers else _absent(),
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


def problem_view(panels: Sequence[Panel]) -> Table:
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
        for row in problem_rows(panels)
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
            "Not run: against the full grid of every IPC, expert epoch and seed in these sweeps.",
        ),
    )


def accuracy_entry(
    cell: Cell,
    measure: str,
    number: int,
    *,
    split: str = "test",
    best: bool = False,
    shade: float | None = None,
    usual_n: int | None = None,
) -> Entry:
    """A cell's accuracy with its tooltip, or the reason why there is none."""
    summary = cell.summary(measure, split)
    if summary is None:
        if cell.trials:
            return _absent()
        if cell.failed:
            title = f"{len(cell.failed)} runs failed"
            return Entry(
                text=numbers.FAILED, title=title, anchor=cell_anchor(cell, number), style="muted"
            )
        return Entry(text=numbers.NOT_RUN, style="muted")
    ids = ", ".join(trial.id[:12] for trial in cell.trials)
    is_unusual = usual_n is not None and summary.n != usual_n
    return Entry(
        text=numbers.accuracy(summary) + (f" (n = {summary.n})" if is_unusual else ""),
        title=f"{numbers.accuracy_in_full(summary)}; trials {ids}",
        anchor=cell_anchor(cell, number),
        style="best" if best else "",
        shade=shade,
    )


def cell_anchor(cell: Cell, number: int) -> str:
    """Where the page lists the trials of a cell of panel `number`."""
    epoch = "hard" if cell.expert_epoch is None else f"epoch-{cell.expert_epoch}"
    return f"trials-{number}-ipc-{cell.ipc}-{epoch}"


def plus_minus_legend(cells: Sequence[Cell]) -> str:
    """What ± means for these cells: over initialisations on one subset, or over subsets too."""
    meanings = spread_meaning(cell for cell in cells if len(cell.trials) > 1)
    text = "Accuracies in percent"
    if not meanings:
        return text + ". Single runs: no spread is given."
    return (
        f"{text}: mean ± population standard deviation (ddof = 0, as in the paper) over n runs "
        f"that differ in {', or in '.join(meanings)}. The 95 % confidence interval of the mean "
        "(Student’s t, sample standard deviation) is in the tooltips and the CSV."
    )


def absence_legend(
    panels: Sequence[Panel], splits: Container[str] = ("test", "validation")
) -> list[str]:
    """Why some numbers are an em dash: which of `splits` the dataset lacks."""
    cells = [cell for panel in panels for cell in panel.cells.values() if cell.trials]
    lacking = [
        f"no {what}"
        for split, measure, what in (
            ("test", "final", "test split"),
            ("validation", "selected", "validation images"),
        )
        if split in splits and any(cell.summary(measure, split) is None for cell in cells)
    ]
    if not lacking:
        return []
    return [f"{numbers.NOT_MEASURED}: not measured: the dataset has {numbers.listed(lacking)}."]


def _epoch_entry(epoch: int | None, chosen_on: str) -> Entry:
    return Entry(
        text=f"{epoch}{'*' if chosen_on == 'test' else ''}",
        title=f"chosen on {chosen_on}" if chosen_on else "",
    )


def _gain_entry(soft: Cell, hard: Cell, measure: str) -> Entry:
    found = soft.gain_over(hard, measure)
    if found is None:
        return _absent() if soft.trials and hard.trials else Entry(text="", style="muted")
    text = numbers.gain(found)
    if found.paired and {found.n} != {len(soft.trials), len(hard.trials)}:
        text += f" (n = {found.n})"
    return Entry(text=text, title=numbers.gain_in_full(found))


def _absent() -> Entry:
    return Entry(text=numbers.NOT_MEASURED, title="not measured", style="muted")


def _uniform_entropy(num_classes: int) -> str:
    from math import log

    return numbers.signless(log(num_classes), 2)
