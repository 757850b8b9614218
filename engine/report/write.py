"""`write_report`: from sweep folders to a folder that a browser opens.

Read the sweeps; let every experiment say what it finds; sort what no experiment shows into panels;
draw, render; then write everything at once.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.analysis.best_epoch import best_epochs
from engine.analysis.grid import Panel, missing_runs
from engine.analysis.trials import MEASURES
from engine.errors import UsageError
from engine.records import content_id
from engine.report import numbers, textual, views
from engine.report.best_epoch import best_epoch_view, growth_sentences
from engine.report.claims.page import as_markdown, verdict_rows
from engine.report.entries import Table
from engine.report.explorer_place import explorer_of
from engine.report.gathered import Gathered, gather
from engine.report.publish import check_destination, publish
from engine.report.sweeps import Progress, Results
from engine.report.table_files import table_files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from engine.report.page import DrawnFigure

FORMAT = 2
"""Version of the layout of a report's folder."""


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

    `out` gets `index.html` (self-contained), `claims.md` (the papers' claims one by one),
    `figures/*.svg|png`, `tables/*.csv|md|tex` and, last, `manifest.json`; an earlier report there
    is replaced as a whole. The same trials give the same bytes. With `dry_run` nothing is written
    and the answer says what would be.

    Returns {"kind", "id", "path", "index", "dataset", "trials": {"done", "failed", "not_run"},
    "panels", "experiments": names of those that the trials hold something of, "verdicts": a row a
    claim of the papers, "headline": the main numbers in words, "files", "notes", "table": rows of
    text as `main_table` gives them, "dry_run"}; the numbers behind them are in `tables/*.csv`.

    Raises:
        UsageError: no sweep was named, or something that is no report lies at `out`.
        ArtefactError: a sweep is missing, has no trial or lacks a key; the disk is full.
        DamageError: a record's content does not match its checksum.
        MismatchError: the sweeps, or what was named beside them, are of different datasets.
    """
    gathered = gather(sweeps, progress)
    results, panels = gathered.results, gathered.panels
    out = Path(out).resolve()
    check_destination(out)
    _refuse_sweep_as_destination(sweeps, out)
    identity = _identity(gathered)
    notes = list(results.notes)
    if dry_run:
        names = sorted([*_file_names(gathered), "manifest.json"])
    else:
        explorer, note = explorer_of(results, data, labels)
        notes += [note] if note else []
        built = _build(gathered, explorer, notes, progress)
        publish(built, _manifest(gathered, identity), out)
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
        "panels": len(_with_runs(panels)),
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
                views.main_view(panel),
            )
            for panel in _with_runs(panels)
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
    gathered: Gathered, explorer: str, notes: Sequence[str], progress: Progress | None
) -> dict[str, bytes]:
    """Every file of the report but the manifest: relative path → content."""
    from engine.report import figures
    from engine.report.drawings import drawings_of
    from engine.report.page import ExperimentPage, PanelPage, render

    files: dict[str, bytes] = {}
    drawn = figures.measured(gathered.everything)
    shown = _with_runs(gathered.panels)
    total = len(shown) + len(gathered.findings)

    def say(done: int) -> None:
        if progress is not None:
            progress("draw figures", done, total)

    pages = []
    for number, panel in enumerate(shown, 1):
        pictures = []
        for drawing in drawings_of(panel, drawn):
            assert drawn is not None
            figure = drawing.draw(panel, gathered.results.dataset_name, drawn)
            stem = _figure_stem(drawing.name, number, len(shown))
            pictures.append(_draw(files, figure, stem, drawing.caption(panel), drawing.about))
        pages.append(
            PanelPage(
                number=number,
                panel=panel,
                main=views.main_view(panel),
                best_epoch=best_epoch_view(panel),
                growth=tuple(growth_sentences(panel)),
                grids=_grids(panel),
                figures=tuple(pictures),
            )
        )
        say(number)
    sections = []
    for number, (experiment, finding) in enumerate(gathered.findings, len(shown) + 1):
        drawings = tuple(
            _draw(files, picture.draw(), picture.name, picture.caption, "experiment")
            for picture in finding.pictures
        )
        sections.append(ExperimentPage(experiment=experiment, finding=finding, figures=drawings))
        say(number)
    page = render(
        gathered.results,
        gathered.everything,
        pages,
        sections,
        experts=views.expert_view(gathered.results),
        problems=views.problem_view(gathered.everything),
        cards=gathered.cards,
        explorer=explorer,
        notes=notes,
    )
    files["index.html"] = page.encode()
    files["claims.md"] = as_markdown(gathered.judgements).encode()
    return files | table_files(gathered, pages)


def _draw(
    files: dict[str, bytes], figure: Figure, stem: str, caption: str, about: str
) -> DrawnFigure:
    """Add a figure's files; returns it ready for the page."""
    from engine.report import figures
    from engine.report.page import DrawnFigure

    files[f"figures/{stem}.svg"] = figures.svg(figure)
    files[f"figures/{stem}.png"] = figures.png(figure)
    svg = figures.inline(files[f"figures/{stem}.svg"], stem.replace("_", "-"))
    return DrawnFigure(name=stem, svg=svg, caption=caption, about=about)


def _grids(panel: Panel) -> tuple[Table, ...]:
    grids = [views.grid_view(panel, measure) for measure in MEASURES]
    if any(cell.summary("selected", "validation") for cell in panel.cells.values()):
        grids.append(views.grid_view(panel, "selected", "validation"))
    return tuple(grids)


def _file_names(gathered: Gathered) -> list[str]:
    from engine.report import figures
    from engine.report.drawings import drawings_of

    shown = _with_runs(gathered.panels)
    with_choice = ["best_epoch"] if any(best_epochs(panel) for panel in shown) else []
    found = [finding for _, finding in gathered.findings]
    own = [table.name for finding in found for table in finding.tables]
    names = ["index.html", "claims.md", "tables/trials.csv"]
    names += [
        f"tables/{table}.{kind}"
        for table in ("main", *with_choice, "grid", "experts", "problems", *own)
        for kind in ("csv", "md", "tex")
    ]
    drawn = figures.measured(gathered.everything)
    stems = [
        _figure_stem(drawing.name, number, len(shown))
        for number, panel in enumerate(shown, 1)
        for drawing in drawings_of(panel, drawn)
    ]
    stems += [picture.name for finding in found for picture in finding.pictures]
    return names + [f"figures/{stem}.{kind}" for stem in stems for kind in ("svg", "png")]


def _figure_stem(name: str, number: int, panels: int) -> str:
    return name if panels == 1 else f"{name}_{number}"


def _identity(gathered: Gathered) -> str:
    """Hash of what the report is about: its dataset and trials, not where they lie."""
    results, others = gathered.results, _others(gathered)
    return content_id(
        {
            "kind": "report",
            "format": FORMAT,
            "dataset": results.dataset_id,
            "trials": sorted(_trial_ids(results)),
            **({"others": others} if others else {}),
        }
    )


def _trial_ids(results: Results) -> list[str]:
    return [trial.id for trial in results.trials]


def _others(gathered: Gathered) -> list[list[Any]]:
    """Ids and extent of what a report is made from besides trials."""
    evidence = gathered.evidence
    found: list[list[Any]] = [[each.id, sorted(each.seeds)] for each in evidence.evaluated]
    return sorted(found + [[each.id, each.step] for each in evidence.learned], key=repr)


def _manifest(gathered: Gathered, identity: str) -> dict[str, Any]:
    results, others = gathered.results, _others(gathered)
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
            **({"others": [each[0] for each in others]} if others else {}),
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
