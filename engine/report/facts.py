"""How the numbers of a report were made: dataset, students, seeds, hardware, software."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from engine.analysis.cells import Cell, spread_meaning
from engine.analysis.grid import Panel, missing_runs
from engine.analysis.trials import LABEL_VIEW_ID, Trial, Value
from engine.report import numbers
from engine.report.sweeps import Results
from engine.report.without_test_split import caveat


def facts(
    results: Results, panels: Sequence[Panel], fixed: Mapping[str, Value]
) -> list[tuple[str, str]]:
    """How the numbers were made: (term, text) pairs, only those that the trials record.

    `fixed`: the settings that the main grid has throughout.
    """
    trials = results.trials
    done = [trial for trial in trials if trial.done]
    not_run = sum(len(seeds) for *_, seeds in missing_runs(panels))
    counted = [f"{len(done)} done", f"{len(trials) - len(done)} failed", f"{not_run} not run"]
    cells = [cell for panel in panels for cell in panel.cells.values()]
    classes = f", {results.num_classes} classes" if results.num_classes else ""
    rates = [trial.images_per_second for trial in done if trial.images_per_second]
    rate = f"; median {median(rates):,.0f} images/s" if rates else ""
    labels = [
        numbers.setting(name, fixed[name])
        for name in fixed
        if name not in ("lr", "protocol", LABEL_VIEW_ID) and fixed[name] is not None
        if not name.startswith("student.")
    ]
    found = [
        ("Dataset", f"{results.dataset_name}{classes}, id {results.dataset_id[:12]}"),
        ("Accuracies", caveat(results)),
        ("Trials", ", ".join(part for part in counted if not part.startswith("0 "))),
        ("Student", _student(fixed)),
        ("Labels", ", ".join(labels)),
        ("Seeds", _seeds(cells)),
        ("Hardware", _counted(trials, _hardware)),
        ("Precision", _counted(trials, _precision)),
        ("Software", _counted(trials, lambda env: _named(env, "torch", "torch "))),
        ("Protocol", numbers.setting_value(fixed["protocol"]) if fixed.get("protocol") else ""),
        ("Student time", numbers.duration(sum(t.seconds for t in done)) + rate),
        ("Sweeps" if len(results.sweeps) > 1 else "Sweep", ", ".join(results.sweeps)),
    ]
    return [(term, text) for term, text in found if text]


def _seeds(cells: Sequence[Cell]) -> str:
    """How many runs a cell has, and what they differ in."""
    counts = sorted({len(cell.trials) for cell in cells if cell.trials})
    if not counts:
        return ""
    span = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    return f"{span} per cell: {', or '.join(spread_meaning(cells))}"


def _student(fixed: Mapping[str, Value]) -> str:
    parts = [
        numbers.setting_value(fixed["student.model"]) if fixed.get("student.model") else "",
        f"{fixed['student.epochs']} epochs" if fixed.get("student.epochs") else "",
        f"batch size {fixed['student.batch_size']}" if fixed.get("student.batch_size") else "",
        numbers.setting("lr", lr) if (lr := fixed.get("lr", fixed.get("student.lr"))) else "",
    ]
    return ", ".join(part for part in parts if part)


def _hardware(environment: Mapping[str, Value]) -> str:
    threads = environment.get("threads")
    machine = _named(environment, "machine")
    if "engine" not in environment:  # those records counted the cores of a worker, not all
        machine = re.sub(r", \d+ cores$", "", machine)
    parts = [machine, _named(environment, "device")]
    noun = "thread" if threads == 1 else "threads"
    return ", ".join(part for part in [*parts, f"{threads} {noun}" if threads else ""] if part)


def _precision(environment: Mapping[str, Value]) -> str:
    compiled = {True: ", compiled", False: ", eager"}.get(environment.get("compiled") is True, "")
    return (
        _named(environment, "precision") + (compiled if "compiled" in environment else "")
        if environment.get("precision")
        else ""
    )


def _named(environment: Mapping[str, Value], key: str, prefix: str = "") -> str:
    value = environment.get(key)
    return f"{prefix}{value}" if value not in (None, "") else ""


def _counted(trials: Sequence[Trial], text_of: Callable[[Mapping[str, Value]], str]) -> str:
    """The one value that all trials share, or every value with its number of trials."""
    counts = Counter(text for trial in trials if (text := text_of(trial.environment)))
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{text} ({count} trials)" for text, count in sorted(counts.items()))
