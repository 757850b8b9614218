"""`write_report`: from sweep folders to a folder that a browser opens.

Read the sweeps, sort the trials into panels, compute, draw, render; then write everything at once.
Half a second of work for 60 trials, most of it matplotlib's.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.analysis.best_epoch import best_epochs
from engine.analysis.grid import Panel, missing_runs, split_into_panels
from engine.analysis.trials import MEASURES
from engine.errors import UsageError
from engine.records import content_id
from engine.report import numbers, tables, textual, views
from engine.report.best_epoch import best_epoch_rows, best_epoch_view, growth_sentences
from engine.report.entries import Table
from engine.report.publish import check_destination, publish
from engine.report.sweeps import Progress, Results, read_sweeps

if TYPE_CHECKING:
    from engine.report.page import PanelPage

FORMAT = 1
"""Version of the layout of a report's folder."""


def write_report(
    sweeps: Sequence[str | Path],
    out: str | Path,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the report of one or more sweeps of one dataset to the folder `out`.

    `out` gets `index.html` (self-contained), `figures/*.svg|png`, `tables/*.csv|md` and, last,
    `manifest.json`; an earlier report there is replaced as a whole. The same trials give the same
    bytes. With `dry_run` nothing is written and the answer says what would be.

    Returns {"kind", "id", "path", "index", "dataset", "trials": {"done", "failed", "not_run"},
    "panels", "files", "notes", "table": rows of text as `main_table` gives them, "dry_run"}; the
    numbers behind them are in `tables/*.csv`.

    Raises:
        UsageError: no sweep was named, or something that is no report lies at `out`.
        ArtefactError: a sweep is missing, has no trial or lacks a key; the disk is full.
        DamageError: a record's content does not match its checksum.
        MismatchError: the sweeps are of different datasets.
    """
    results = read_sweeps(sweeps, progress=progress)
    panels = split_into_panels(results.trials, results.asked)
    out = Path(out).resolve()
    check_destination(out)
    _refuse_sweep_as_destination(sweeps, out)
    identity = _identity(results)
    if dry_run:
        names = sorted([*_file_names(panels), "manifest.json"])
    else:
        built = _build(results, panels, progress)
        publish(built, _manifest(results, identity), out)
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
            "not_run": sum(len(seeds) for *_, seeds in missing_runs(panels)),
        },
        "panels": len(_with_runs(panels)),
        "files": names,
        "notes": list(results.notes),
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
    results = read_sweeps(sweeps, progress=progress)
    return _console_rows(split_into_panels(results.trials, results.asked))


def _with_runs(panels: Sequence[Panel]) -> list[Panel]:
    """The panels to show: one of which nothing has run yet is in the list of missing runs alone."""
    return [panel for panel in panels if panel.has_runs]


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
                views.main_view(panel, number),
            )
            for number, panel in enumerate(_with_runs(panels), 1)
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


def _build(
    results: Results, panels: Sequence[Panel], progress: Progress | None
) -> dict[str, bytes]:
    """Every file of the report but the manifest: relative path → content."""
    from engine.report import figures
    from engine.report.drawings import drawings_of
    from engine.report.page import DrawnFigure, PanelPage, render

    files: dict[str, bytes] = {}
    pages = []
    drawn = figures.measured(panels)
    shown = _with_runs(panels)
    for number, panel in enumerate(shown, 1):
        pictures = []
        for drawing in drawings_of(panel, drawn):
            assert drawn is not None
            figure = drawing.draw(panel, results.dataset_name, drawn)
            stem = _figure_stem(drawing.name, number, len(shown))
            files[f"figures/{stem}.svg"] = figures.svg(figure)
            files[f"figures/{stem}.png"] = figures.png(figure)
            svg = figures.inline(files[f"figures/{stem}.svg"], stem.replace("_", "-"))
            pictures.append(
                DrawnFigure(name=stem, svg=svg, caption=drawing.caption(panel), about=drawing.about)
            )
        pages.append(
            PanelPage(
                number=number,
                panel=panel,
                main=views.main_view(panel, number),
                best_epoch=best_epoch_view(panel, number),
                growth=tuple(growth_sentences(panel)),
                grids=_grids(panel, number),
                figures=tuple(pictures),
            )
        )
        if progress is not None:
            progress("draw figures", number, len(shown))
    page = render(results, panels, pages, views.expert_view(results), views.problem_view(panels))
    files["index.html"] = page.encode()
    files |= _table_files(results, panels, pages)
    return files


def _grids(panel: Panel, number: int) -> tuple[Table, ...]:
    grids = [views.grid_view(panel, number, measure) for measure in MEASURES]
    if any(cell.summary("selected", "validation") for cell in panel.cells.values()):
        grids.append(views.grid_view(panel, number, "selected", "validation"))
    return tuple(grids)


def _table_files(
    results: Results, panels: Sequence[Panel], pages: Sequence[PanelPage]
) -> dict[str, bytes]:
    def headed(page: PanelPage, table: Table) -> tuple[str, Table]:
        return ": ".join(filter(None, (table.title, numbers.settings(page.panel.axes)))), table

    problems, experts = views.problem_view(panels), views.expert_view(results)
    as_markdown: dict[str, list[tuple[str, Table]]] = {
        "main": [headed(page, page.main) for page in pages],
        "best_epoch": [headed(page, page.best_epoch) for page in pages if page.best_epoch],
        "grid": [headed(page, table) for page in pages for table in page.grids],
        "experts": [(experts.title, experts)],
        "problems": [(problems.title, problems)],
    }
    as_csv = {
        "main": tables.main_rows(_with_runs(panels)),
        "best_epoch": best_epoch_rows(panels),
        "grid": tables.grid_rows(panels),
        "experts": tables.expert_rows(results),
        "problems": tables.problem_rows(panels),
        "trials": tables.trial_rows(results),
    }
    texts = {f"{name}.csv": textual.to_csv(rows) for name, rows in as_csv.items()}
    texts |= {f"{name}.md": textual.to_markdown(each) for name, each in as_markdown.items()}
    if not as_markdown["best_epoch"]:
        del texts["best_epoch.csv"], texts["best_epoch.md"]
    return {f"tables/{name}": text.encode() for name, text in texts.items()}


def _file_names(panels: Sequence[Panel]) -> list[str]:
    from engine.report import figures
    from engine.report.drawings import drawings_of

    shown = _with_runs(panels)
    with_choice = ["best_epoch"] if any(best_epochs(panel) for panel in shown) else []
    names = ["index.html", "tables/trials.csv"]
    names += [
        f"tables/{table}.{kind}"
        for table in ("main", *with_choice, "grid", "experts", "problems")
        for kind in ("csv", "md")
    ]
    drawn = figures.measured(panels)
    names += [
        f"figures/{_figure_stem(drawing.name, number, len(shown))}.{kind}"
        for number, panel in enumerate(shown, 1)
        for drawing in drawings_of(panel, drawn)
        for kind in ("svg", "png")
    ]
    return names


def _figure_stem(name: str, number: int, panels: int) -> str:
    return name if panels == 1 else f"{name}_{number}"


def _identity(results: Results) -> str:
    """Hash of what the report is about: its dataset and trials, not where they lie."""
    return content_id(
        {
            "kind": "report",
            "format": FORMAT,
            "dataset": results.dataset_id,
            "trials": sorted(_trial_ids(results)),
        }
    )


def _trial_ids(results: Results) -> list[str]:
    return [trial.id for trial in results.trials]


def _manifest(results: Results, identity: str) -> dict[str, Any]:
    try:
        own = version("softlabel-engine")
    except PackageNotFoundError:
        own = "not installed"
    return {
        "kind": "report",
        "id": identity,
        "format": FORMAT,
        "parents": {
            "dataset": results.dataset_id,
            "sweeps": list(results.sweeps),
            "trials": sorted(_trial_ids(results)),
        },
        "versions": {
            "softlabel-engine": own,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "matplotlib", "jinja2")},
        },
    }


def _refuse_sweep_as_destination(sweeps: Sequence[str | Path], out: Path) -> None:
    for sweep in [sweeps] if isinstance(sweeps, str | Path) else sweeps:
        folder = Path(sweep).resolve()
        if out == folder or out in folder.parents:
            raise UsageError(
                f"expected a place for the report outside the sweep {folder}, found {out}\n"
                "choose another --out"
            )
