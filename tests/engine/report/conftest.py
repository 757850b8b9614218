"""What many tests share: every experiment's finding, and a real browser to open pages in."""

from __future__ import annotations

from pathlib import Path

import pytest
from headless_browser import NAMES, Browser, find_browser
from report_every_experiment import everything, experts
from report_findings import found_in
from report_synthetic_sweep import write_sweep

from engine.report import write_report
from engine.report.experiments.finding import Finding


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """Chromium or Chrome without a window; skips, naming what is absent, where there is none."""
    program = find_browser()
    if program is None:
        pytest.skip(f"no browser to open pages in: none of {', '.join(NAMES)} is on the PATH")
    return Browser(Path(program), tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="session")
def all_found() -> dict[str, Finding]:
    """What every experiment finds in a sweep that has something of each, by its name."""
    return found_in(everything())


@pytest.fixture(scope="session")
def full_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of that sweep; not to be written to."""
    folder = tmp_path_factory.mktemp("full")
    write_report([write_sweep(folder / "s", everything(), experts=experts())], folder / "r")
    return folder / "r"
