"""The tables of a report as files: CSV to compute with, Markdown and LaTeX as they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from engine.report import numbers, tables, textual, views
from engine.report.best_epoch import best_epoch_rows
from engine.report.entries import Table
from engine.report.gathered import Gathered
from engine.report.page import PanelPage


def table_files(gathered: Gathered, pages: Sequence[PanelPage]) -> dict[str, bytes]:
    """Relative path → content of every table."""

    def headed(page: PanelPage, table: Table) -> tuple[str, Table]:
        return ": ".join(filter(None, (table.title, numbers.settings(page.panel.axes)))), table

    results, everything = gathered.results, gathered.everything
    problems, experts = views.problem_view(everything), views.expert_view(results)
    as_text: dict[str, list[tuple[str, Table]]] = {
        "main": [headed(page, page.main) for page in pages],
        "best_epoch": [headed(page, page.best_epoch) for page in pages if page.best_epoch],
        "grid": [headed(page, table) for page in pages for table in page.grids],
        "experts": [(experts.title, experts)],
        "problems": [(problems.title, problems)],
    }
    shown = [page.panel for page in pages]
    as_csv: dict[str, Sequence[tables.Row]] = {
        "main": tables.main_rows(shown),
        "best_epoch": best_epoch_rows(shown),
        "grid": tables.grid_rows(gathered.panels),
        "experts": tables.expert_rows(results),
        "problems": tables.problem_rows(everything),
        "trials": tables.trial_rows(results),
    }
    for _, finding in gathered.findings:
        for table in finding.tables:
            as_text[table.name] = [(table.view.title, table.view)]
            as_csv[table.name] = table.rows
    if not as_text["best_epoch"]:
        del as_text["best_epoch"], as_csv["best_epoch"]
    texts = {f"{name}.csv": textual.to_csv(rows) for name, rows in as_csv.items()}
    texts |= {f"{name}.md": textual.to_markdown(each) for name, each in as_text.items()}
    texts |= {f"{name}.tex": textual.to_latex(each) for name, each in as_text.items()}
    return {f"tables/{name}": text.encode() for name, text in texts.items()}
