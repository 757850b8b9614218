"""A real browser for the tests that open pages in one."""

from __future__ import annotations

from pathlib import Path

import pytest
from headless_browser import NAMES, Browser, find_browser


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """Chromium or Chrome without a window; skips, naming what is absent, where there is none."""
    program = find_browser()
    if program is None:
        pytest.skip(f"no browser to open pages in: none of {', '.join(NAMES)} is on the PATH")
    return Browser(Path(program), tmp_path_factory.mktemp("browser"))
