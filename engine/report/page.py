"""The HTML page: one file, no network (its own policy refuses any), every text escaped.

In: results, panels and drawn figures. Out: the page as text. Every accuracy links to the list of
its trials, which the browser unfolds; the tooltip has the same ids for those who only point. What
is computed from several accuracies names its trials in the CSV.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from engine.analysis.cells import Cell, runs
from engine.analysis.grid import Panel
from engine.analysis.trials import MEASURES, Trial, Value
from engine.report import numbers
from engine.report.entries import Table, cell_anchor
from engine.report.facts import facts
from engine.report.sweeps import Results
from engine.report.tables import last_line, seeds_in_words

if TYPE_CHECKING:
    from engine.report.experiments.finding import Experiment, Finding
    from engine.report.headline import Card


SECOND = "claims"
"""The experiment that is told after the first panel; there is a panel an expert, or more."""


@dataclass(frozen=True, kw_only=True)
class DrawnFigure:
    """A figure ready for the page: `svg` is an `<svg>` element made by `figures.inline`."""

    name: str
    svg: str
    caption: str
    about: str  # "accuracy", "best epoch" or "experiment"


@dataclass(frozen=True, kw_only=True)
class PanelPage:
    """What the page shows of one panel.

    `best_epoch` is None where no IPC had several expert epochs; `growth` says in sentences whether
    the best one grows with IPC.
    """

    number: int
    panel: Panel
    main: Table
    best_epoch: Table | None
    growth: tuple[str, ...]
    grids: tuple[Table, ...]
    figures: tuple[DrawnFigure, ...]


@dataclass(frozen=True, kw_only=True)
class ExperimentPage:
    """What the page shows of one experiment."""

    experiment: Experiment
    finding: Finding
    figures: tuple[DrawnFigure, ...]


def render(
    results: Results,
    panels: Sequence[Panel],
    pages: Sequence[PanelPage],
    sections: Sequence[ExperimentPage],
    *,
    experts: Table,
    problems: Table,
    cards: Sequence[Card] = (),
    explorer: str = "",
    notes: Sequence[str] = (),
) -> str:
    """The page as HTML: `pages` and `sections` of what has runs, the facts of all `panels`."""
    here = files("engine.report")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((here / "report.html.j2").read_text("utf-8"))
    fixed = (pages[0].panel if pages else panels[0]).fixed
    listed = _Listing()
    told = {section.experiment.name: _section_context(section) for section in sections}
    done = [trial for trial in results.trials if trial.done]
    return template.render(
        dataset=results.dataset_name,
        css=Markup((here / "report.css").read_text("utf-8")),
        facts=facts(results, panels, fixed),
        settings=_student_settings(fixed),
        lead=_lead(results),
        notes=notes,
        cards=cards,
        explorer=Markup(explorer),
        second=[told[name] for name in told if name == SECOND],
        sections=[told[name] for name in told if name != SECOND],
        panels=[
            {
                "number": page.number,
                "heading": numbers.settings(page.panel.axes),
                "main": page.main,
                "best_epoch": page.best_epoch,
                "growth": page.growth,
                "grids": page.grids,
                "figures": {
                    about: [_figure_context(f) for f in page.figures if f.about == about]
                    for about in ("accuracy", "best epoch")
                },
            }
            for page in pages
        ],
        trials=[
            *(
                (
                    numbers.settings(page.panel.axes) or "The main grid",
                    listed.new(page.panel.cells.values()),
                )
                for page in pages
            ),
            *(
                (each.experiment.title, listed.new(each.finding.cells))
                # What claims compare is listed where it is shown, if it is shown elsewhere.
                for each in sorted(sections, key=lambda one: one.experiment.name == SECOND)
            ),
        ],
        experts=experts,
        problems=problems,
        has_choice=any(page.best_epoch for page in pages),
        has_test_split=not done or any(_is_measured(trial.test) for trial in done),
        has_validation=any(_is_measured(trial.validation) for trial in done),
    )


def _is_measured(accuracies: Mapping[str, float | None]) -> bool:
    return any(accuracy is not None for accuracy in accuracies.values())


def _section_context(section: ExperimentPage) -> dict[str, Any]:
    return {
        "anchor": section.experiment.name,
        "title": section.experiment.title,
        "question": section.experiment.question,
        "source": section.experiment.source,
        "sentences": section.finding.sentences,
        "tables": [(table.name, table.view) for table in section.finding.tables],
        "figures": [_figure_context(figure) for figure in section.figures],
    }


def _figure_context(figure: DrawnFigure) -> dict[str, Any]:
    return {"svg": Markup(figure.svg), "caption": figure.caption, "name": figure.name}


class _Listing:
    """The lists of trials under the page: every cell once, where it comes first."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def new(self, cells: Iterable[Cell]) -> list[dict[str, Any]]:
        """Those of `cells` that have runs and were not listed yet."""
        found = []
        for cell in cells:
            anchor = cell_anchor(cell)
            if anchor and anchor not in self._told:
                self._told.add(anchor)
                found.append(_cell_context(cell))
        return found


def _lead(results: Results) -> str:
    """Which students there are: by their labels, and on how many images of each class."""
    soft = [trial for trial in results.trials if trial.labels == "soft"]
    hard = [trial for trial in results.trials if _has_hard_labels(trial)]
    experts = sorted({str(trial.axes["expert"]) for trial in soft if trial.axes.get("expert")})
    of = f" of {numbers.listed(experts)}" if experts else ""
    beside = ", beside the same images with hard labels" if _shared(soft, hard) else ""
    told: list[str] = []
    left = {trial.ipc for trial in results.trials}
    for trials, labels in (
        (soft, f"with soft labels{of}{beside}"),
        (hard, "with hard labels"),
        (results.trials, "with labels that no expert made"),
    ):
        ipcs = sorted(left & {trial.ipc for trial in trials})
        left -= set(ipcs)
        if ipcs:
            noun = "" if told else " image per class" if ipcs == [1] else " images per class"
            alone = " alone" if told else ""
            told.append(f"on {numbers.listed([str(i) for i in ipcs])}{noun} {labels}{alone}")
    return f"Students trained {'; '.join(told)}."


def _shared(some: Sequence[Trial], others: Sequence[Trial]) -> bool:
    """Whether any images are of both."""
    return not {_images(trial) for trial in some}.isdisjoint(_images(trial) for trial in others)


def _images(trial: Trial) -> tuple[Value, ...]:
    """What a student's images follow from."""
    return trial.ipc, trial.subset_seed, trial.axes.get("selection") or "random"


def _has_hard_labels(trial: Trial) -> bool:
    """Whether the labels are the images' classes: not all that are made without an expert are."""
    return trial.labels == "hard" and (trial.axes.get("transform") or "hard") == "hard"


def _student_settings(fixed: Mapping[str, Value]) -> list[tuple[str, str]]:
    return [
        (name.removeprefix("student."), numbers.setting_value(value))
        for name, value in fixed.items()
        if name.startswith("student.") or name == "lr"
    ]


def _cell_context(cell: Cell) -> dict[str, Any]:
    axes = runs(cell)[0].axes
    words = [f"IPC {cell.ipc}"]
    words.append(
        f"expert epoch {cell.expert_epoch}"
        if cell.expert_epoch is not None
        else str(axes.get("transform") or "hard labels")
    )
    if cell.expert_epoch is not None and axes.get("transform") not in (None, "soft"):
        words.append(str(axes["transform"]))
    words += [
        numbers.setting(name, axes[name])
        for name, plain in (("selection", "random"), ("temperature", 1.0), ("ensemble", None))
        if axes.get(name) not in (None, plain)
    ]
    return {
        "anchor": cell_anchor(cell),
        "heading": ", ".join(words),
        "runs": [_run_context(trial) for trial in runs(cell)],
    }


def _run_context(trial: Trial) -> dict[str, Any]:
    return {
        "id": trial.id,
        "seeds": seeds_in_words(trial.seeds),
        "accuracies": [numbers.percent(trial.test.get(measure), 2) for measure in MEASURES],
        "validation": numbers.percent(trial.validation.get("selected"), 2),
        "sweep": trial.sweep,
        "error": "" if trial.done else last_line(trial.error),
        "traceback": trial.error,
    }
