"""Every file of a report but its manifest: figures drawn, pages rendered, tables written out.

In: what a report will say. Out: relative path → bytes, or the paths alone for a plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from engine.analysis.best_epoch import best_epochs
from engine.analysis.grid import Panel, missing_runs
from engine.analysis.trials import MEASURES
from engine.report import views
from engine.report.best_epoch import best_epoch_view, growth_sentences
from engine.report.entries import Table
from engine.report.facts import facts
from engine.report.gathered import Gathered
from engine.report.sweeps import Progress
from engine.report.table_files import table_files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from engine.report.page import DrawnFigure, PanelPage

MAIN_FIGURES = ("accuracy_over_expert_epoch", "accuracy_over_ipc")
"""What the page of claims begins with: the first of these that a panel has."""


def files_of(
    gathered: Gathered, explorer: str, notes: Sequence[str], progress: Progress | None
) -> dict[str, bytes]:
    """Every file of the report but the manifest: relative path → content."""
    from engine.report.page import ExperimentPage, render

    files: dict[str, bytes] = {}
    shown = with_runs(gathered.panels)
    total = len(shown) + len(gathered.findings)

    def say(done: int) -> None:
        if progress is not None:
            progress("draw figures", done, total)

    pages = []
    for number, panel in enumerate(shown, 1):
        pages.append(_panel_page(files, gathered, panel, number, len(shown)))
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
    files |= table_files(gathered, pages)
    files["claims.md"] = _claims_page(gathered, files).encode()
    return files


def _panel_page(
    files: dict[str, bytes], gathered: Gathered, panel: Panel, number: int, panels: int
) -> PanelPage:
    """Draw a panel's figures into `files`; returns what the page shows of it."""
    from engine.report.drawings import drawings_of
    from engine.report.figures import measured
    from engine.report.page import PanelPage

    of = measured(gathered.everything)
    pictures = []
    for drawing in drawings_of(panel, of):
        assert of is not None
        figure = drawing.draw(panel, gathered.results.dataset_name, of)
        stem = _figure_stem(drawing.name, number, panels)
        pictures.append(_draw(files, figure, stem, drawing.caption(panel), drawing.about))
    return PanelPage(
        number=number,
        panel=panel,
        main=views.main_view(panel),
        best_epoch=best_epoch_view(panel),
        growth=tuple(growth_sentences(panel)),
        grids=_grids(panel),
        figures=tuple(pictures),
    )


def _claims_page(gathered: Gathered, files: Mapping[str, bytes]) -> str:
    """The page of claims, with what there is of `files` to embed and to link to."""
    from engine.report.claims.page import Surroundings, as_markdown

    shown = with_runs(gathered.panels) or gathered.everything
    figures, tables = (
        {PurePath(name).stem for name in files if name.startswith(f"{folder}/")}
        for folder in ("figures", "tables")
    )
    stems = [stem for name in MAIN_FIGURES for stem in (name, f"{name}_1") if stem in figures]
    return as_markdown(
        gathered.evidence,
        gathered.judgements,
        Surroundings(
            facts=facts(gathered.results, gathered.everything, shown[0].fixed),
            cards=gathered.cards,
            findings=gathered.findings,
            figures=figures,
            tables=tables,
            main_figure=next(iter(stems), None),
            not_run=sum(len(seeds) for *_, seeds in missing_runs(gathered.everything)),
            failed=sum(not trial.done for trial in gathered.results.trials),
        ),
    )


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


def with_runs(panels: Sequence[Panel]) -> list[Panel]:
    """The panels to show: one of which nothing has run yet is in the list of missing runs alone."""
    return [panel for panel in panels if panel.has_runs]


def file_names(gathered: Gathered) -> list[str]:
    """The paths of `files_of`, without drawing anything."""
    from engine.report import figures
    from engine.report.drawings import drawings_of

    shown = with_runs(gathered.panels)
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
