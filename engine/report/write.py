"""`write_report`: from sweep folders to a folder that a browser opens.

Read the sweeps and let every experiment say what it finds (`gathered`); draw, render and tabulate
it (`contents`); then write everything at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.analysis.grid import Panel, missing_runs
from engine.errors import UsageError
from engine.report import numbers, textual, views
from engine.report.claims.page import verdict_rows
from engine.report.contents import file_names, files_of, with_runs
from engine.report.explorer_place import explorer_of
from engine.report.gathered import gather
from engine.report.manifest import identity_of, manifest_of
from engine.report.publish import check_destination, publish
from engine.report.sweeps import Progress


def write_report(
    sweeps: Sequence[str | Path],
    out: str | Path,
    *,
    data: str | Path | None = None,
    labels: str | Path | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the report of one or more sweeps of one dataset to the folder `out`.

    `sweeps` may also name evaluations of distilled sets and learned labels of the same dataset.
    `data` and `labels` say where the dataset and its label store lie, for the label explorer;
    without them they are looked for where the sweeps say that they read them.

    `out` gets `index.html` (self-contained), `claims.md` (what was run, the main numbers and the
    papers' claims one by one, to be read by itself beside figures and tables),
    `figures/*.svg|png`, `tables/*.csv|md|tex` and, last, `manifest.json`; an earlier report there
    is replaced as a whole, unless other files lie in it. The same trials give the same bytes. With
    `dry_run` nothing is written and the answer says what would be.

    Returns {"kind", "id", "path", "index", "dataset", "trials": {"done", "failed", "not_run"},
    "panels", "experiments": names of those that the trials hold something of, "verdicts": a row a
    claim of the papers, "headline": the main numbers in words, "files", "notes", "table": rows of
    text as `main_table` gives them, "dry_run"}; the numbers behind them are in `tables/*.csv`.

    Raises:
        UsageError: no sweep was named, or something that is no report lies at `out` or in it.
        ArtefactError: a sweep is missing, has no trial or lacks a key; the disk is full.
        DamageError: a record's content does not match its checksum.
        MismatchError: the sweeps, or what was named beside them, are of different datasets.
    """
    gathered = gather(sweeps, progress)
    results, panels = gathered.results, gathered.panels
    out = Path(out).resolve()
    _refuse_sweep_as_destination(sweeps, out)
    check_destination(out)
    identity = identity_of(gathered)
    notes = list(results.notes)
    if dry_run:
        names = sorted([*file_names(gathered), "manifest.json"])
    else:
        explorer, note = explorer_of(results, data, labels)
        notes += [note] if note else []
        built = files_of(gathered, explorer, notes, progress)
        publish(built, manifest_of(gathered, identity), out)
        names = sorted([*built, "manifest.json"])
    done = sum(trial.done for trial in results.trials)
    return {
        "kind": "report",
        "id": identity,
        "path": str(out),
        "index": str(out / "index.html"),
        "dataset": {"id": results.dataset_id, "name": results.dataset_name},
        "trials": {
            "done": done,
            "failed": len(results.trials) - done,
            "not_run": sum(len(seeds) for *_, seeds in missing_runs(gathered.everything)),
        },
        "panels": len(with_runs(panels)),
        "experiments": [experiment.name for experiment, _ in gathered.findings],
        "verdicts": verdict_rows(gathered.judgements),
        "headline": [f"{card.number} {card.what} ({card.note})" for card in gathered.cards],
        "files": names,
        "notes": notes,
        "table": _console_rows(panels),
        "dry_run": dry_run,
    }


def main_table(
    sweeps: Sequence[str | Path], *, progress: Progress | None = None
) -> list[dict[str, str]]:
    """The main table as text for a console: one dict per IPC (and panel), column → text.

    Columns: the settings that tell panels apart, "IPC", "expert epoch", "n", then soft and hard
    under the three accuracies, and the gain in the final one; the page and `tables/` have the
    rest. Raises as `write_report` does when reading.
    """
    return _console_rows(gather(sweeps, progress).panels)


_CONSOLE_COLUMNS = {
    "final epoch: soft": "final soft",
    "final epoch: hard": "final hard",
    "final epoch: gain": "gain",
    "selected on validation: soft": "selected soft",
    "selected on validation: hard": "selected hard",
    "max on test †: soft": "max† soft",
    "max on test †: hard": "max† hard",
}
"""Headings of the main table that a console of usual width has room for, and their short forms."""


def _console_rows(panels: Sequence[Panel]) -> list[dict[str, str]]:
    whole = textual.to_console(
        [
            (
                {numbers.setting_name(k): numbers.setting_value(v) for k, v in panel.axes.items()},
                views.main_view(panel),
            )
            for panel in with_runs(panels)
        ]
    )
    return [
        {
            _CONSOLE_COLUMNS.get(name, name): text
            for name, text in row.items()
            if name in _CONSOLE_COLUMNS or ": " not in name
        }
        for row in whole
    ]


def _refuse_sweep_as_destination(sweeps: Sequence[str | Path], out: Path) -> None:
    for sweep in [sweeps] if isinstance(sweeps, str | Path) else sweeps:
        folder = Path(sweep).resolve()
        if out == folder or out in folder.parents:
            raise UsageError(
                f"expected a place for the report outside the sweep {folder}, found {out}\n"
                "choose another --out"
            )
