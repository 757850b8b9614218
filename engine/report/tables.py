"""The numbers behind every table, as flat rows: what the CSV files and `--json` hold.

Accuracies are fractions 0..1, gains are differences of such fractions, entropies are nats; nothing
is rounded and None means not measured. `std_within` and `std_between` split the spread of cells
that hold several runs of several subsets. Every row of results ends with the ids of its trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.analysis.cells import Cell
from engine.analysis.choice import choose_as_the_papers, choose_expert_epoch
from engine.analysis.grid import Panel, missing_runs
from engine.analysis.statistics import Difference, Summary
from engine.analysis.trials import MEASURES, Seeds, Trial
from engine.report import numbers
from engine.report.sweeps import Results

Row = dict[str, Any]

NO_CELL = Cell(ipc=0, expert_epoch=None, trials=(), failed=(), repeated=())
"""Stands in where an IPC has no cell of that kind."""


def main_rows(panels: Sequence[Panel]) -> list[Row]:
    """Per panel and IPC: the best expert epoch, soft against hard labels, three accuracies."""
    rows = []
    for panel in panels:
        for ipc in panel.ipcs:
            candidates = panel.soft_cells(ipc)
            choice = choose_expert_epoch(candidates)
            papers = choose_as_the_papers(candidates)
            soft = choice.cell if choice else NO_CELL
            hard = panel.cell(ipc, None) or NO_CELL
            row: Row = {
                **panel.axes,
                "ipc": ipc,
                **{name: values.get(ipc) for name, values in panel.by_ipc.items()},
                "expert_epoch": soft.expert_epoch,
                "expert_epoch_chosen_on": choice.chosen_on if choice else None,
                "n_soft": len(soft.trials),
                "n_hard": len(hard.trials),
            }
            for measure in MEASURES:
                row |= summary_columns(f"soft_{measure}", soft.summary(measure))
                row |= summary_columns(f"hard_{measure}", hard.summary(measure))
                row |= difference_columns(f"gain_{measure}", soft.gain_over(hard, measure))
            row["papers_expert_epoch"] = papers.cell.expert_epoch if papers else None
            optimistic = papers.cell.summary("max_on_test") if papers else None
            row |= summary_columns("papers_soft_max_on_test", optimistic)
            row["spread_over"] = soft.spread
            row["soft_trials"] = trial_ids(soft.trials)
            row["hard_trials"] = trial_ids(hard.trials)
            rows.append(row)
    return rows


def grid_rows(panels: Sequence[Panel]) -> list[Row]:
    """Every cell: IPC × expert epoch (and hard labels), three accuracies and validation."""
    rows = []
    for panel in panels:
        for (ipc, epoch), cell in panel.cells.items():
            row: Row = {
                **panel.axes,
                "ipc": ipc,
                **{name: values.get(ipc) for name, values in panel.by_ipc.items()},
                "labels": "hard" if epoch is None else "soft",
                "expert_epoch": epoch,
                "runs_done": len(cell.trials),
                "runs_failed": len(cell.failed),
                "runs_missing": len(cell.missing),
            }
            for measure in MEASURES:
                summary = cell.summary(measure)
                row |= {
                    f"n_{measure}": summary.n if summary else 0,
                    **summary_columns(measure, summary),
                }
            row |= summary_columns("selected_validation", cell.summary("selected", "validation"))
            row["spread_over"] = cell.spread
            row["trials"] = trial_ids(cell.trials)
            rows.append(row)
    return rows


def expert_rows(results: Results) -> list[Row]:
    """Every checkpoint that labelled: its accuracies and the mean entropy of its labels (nats)."""
    return [
        {
            "expert": row.expert,
            "run_id": row.run_id,
            "epoch": row.epoch,
            "test": row.test,
            "train": row.train,
            "label_entropy_nats": row.label_entropy,
        }
        for row in results.experts
    ]


def problem_rows(panels: Sequence[Panel]) -> list[Row]:
    """Runs that failed, that were asked for and not run, or that repeat one that counts already."""
    rows: dict[tuple[Any, ...], Row] = {}
    for panel in panels:
        for cell in panel.cells.values():
            for what, trials in ("failed", cell.failed), ("set aside", cell.repeated):
                for trial in trials:
                    detail = last_line(trial.error) if what == "failed" else _WHY_SET_ASIDE
                    # A run with hard labels lies in several panels and is listed once.
                    rows[what, trial.id] = {
                        **{name: trial.axes.get(name) for name in panel.axes},
                        "ipc": cell.ipc,
                        "labels": trial.labels,
                        "expert_epoch": cell.expert_epoch,
                        "what": what,
                        "runs": 1,
                        "seeds": seeds_in_words(trial.seeds),
                        "detail": detail,
                        "trial": trial.id,
                    }
    not_run = [
        {
            **dict(zip(panel.axes, cell.place, strict=True)),
            "ipc": cell.ipc,
            "labels": "hard" if cell.expert_epoch is None else "soft",
            "expert_epoch": cell.expert_epoch,
            "what": "not run",
            "runs": len(seeds),
            "seeds": "; ".join(seeds_in_words(one) for one in seeds),
            "detail": "asked for; the sweep's command runs it",
            "trial": None,
        }
        for panel, cell, seeds in missing_runs(panels)
    ]
    return [*rows.values(), *not_run]


_WHY_SET_ASIDE = "a run with the same cell and seeds counts already"


def trial_rows(results: Results) -> list[Row]:
    """Every trial as it was read, for whoever wants to compute something else."""
    rows = []
    for trial in sorted(results.trials, key=_trial_order):
        rows.append(
            {
                "trial": trial.id,
                "status": "done" if trial.done else "failed",
                "sweep": trial.sweep,
                "ipc": trial.ipc,
                "labels": trial.labels,
                "expert_epoch": trial.expert_epoch,
                **dict(trial.seeds),
                **{measure: trial.test.get(measure) for measure in MEASURES},
                "final_validation": trial.validation.get("final"),
                "selected_validation": trial.validation.get("selected"),
                "seconds": trial.seconds,
                "images_per_second": trial.images_per_second,
                **trial.axes,
                "checkpoints": " ".join(trial.checkpoints),
                **{f"environment.{k}": v for k, v in trial.environment.items()},
            }
        )
    return rows


def seeds_in_words(seeds: Seeds) -> str:
    """`all 1`, or `subset 0, others 1`, or every seed by its name."""
    found = dict(seeds)
    if len(set(found.values())) == 1:
        return f"all {next(iter(found.values()))}"
    subset = found.pop("subset_seed", None)
    if subset is not None and len(set(found.values())) == 1:
        return f"subset {subset}, others {next(iter(found.values()))}"
    return ", ".join(f"{name.removesuffix('_seed')} {value}" for name, value in seeds)


def last_line(error: str) -> str:
    """The line of a traceback that says what went wrong."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return lines[-1] if lines else "no message recorded"


def _trial_order(trial: Trial) -> tuple[Any, ...]:
    return (trial.ipc, trial.labels, trial.expert_epoch or 0, trial.seeds, trial.id)


def summary_columns(prefix: str, summary: Summary | None) -> Row:
    """Mean, spread and interval as columns; None for all where nothing was measured.

    None for the interval alone where equal runs leave it no width: `std` is then 0.
    """
    keys = ("mean", "std", "std_within", "std_between")
    low, high = numbers.interval_of(summary) or (None, None)
    return {
        **{f"{prefix}_{key}": getattr(summary, key) if summary else None for key in keys},
        f"{prefix}_ci_low": low,
        f"{prefix}_ci_high": high,
    }


def difference_columns(prefix: str, found: Difference | None) -> Row:
    """A difference, its interval (None without a width) and its pairs as columns."""
    low, high = numbers.interval_of(found) or (None, None)
    return {
        f"{prefix}_mean": found.mean if found else None,
        f"{prefix}_ci_low": low,
        f"{prefix}_ci_high": high,
        f"{prefix}_pairs": found.n if found and found.paired else 0,
    }


def trial_ids(trials: Sequence[Trial]) -> str:
    """Ids with blanks between them."""
    return " ".join(trial.id for trial in trials)
