"""Pages opened in a real browser without a window: the document once its scripts have run.

Every page is opened from its file with a policy that refuses whatever is not in the page itself,
and with a record of all that went wrong: errors, refusals, anything fetched.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 90

POLICY = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src
'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">"""

WATCH = """<script>(() => {
const note = (text) => { document.documentElement.dataset.problems =
  (document.documentElement.dataset.problems ?? "") + text + "\\n"; };
addEventListener("error", (e) => note(`error: ${e.message ?? e.target.outerHTML}`), true);
addEventListener("unhandledrejection", (e) => note(`rejected: ${e.reason}`));
addEventListener("securitypolicyviolation", (e) => note(`refused: ${e.blockedURI || "inline"}`));
for (const kind of ["error", "warn"]) console[kind] = (...all) => note(`console: ${all.join(" ")}`);
addEventListener("load", () => { for (const each of performance.getEntriesByType("resource"))
  if (!each.name.startsWith("data:")) note(`fetched: ${each.name}`);
  document.documentElement.dataset.loaded = "yes"; });
})();</script>"""


def find_browser() -> str | None:
    """The first of `NAMES` that is installed."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@dataclass(frozen=True)
class Document:
    """What a page became. text: its HTML. problems: one line each, empty if all went well."""

    text: str
    problems: tuple[str, ...]

    def inner(self, name: str) -> str:
        """The text inside the only element of a class that is not nested in its own kind."""
        (found,) = re.findall(
            rf'<(\w+)[^>]*class="(?:[^"]* )?{name}(?: [^"]*)?"[^>]*>(.*?)</\1>',
            self.text,
            re.DOTALL,
        )
        return shown_text(found[1])

    def items(self, name: str) -> list[str]:
        """The texts of the entries of the list of a class."""
        (found,) = re.findall(rf'<ol class="{name}">(.*?)</ol>', self.text, re.DOTALL)
        return [shown_text(item) for item in re.findall(r"<li.*?>(.*?)</li>", found, re.DOTALL)]


def shown_text(markup: str) -> str:
    """The text of a piece of HTML, spaces joined."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


class Browser:
    """`program`: of Chromium's family. `folder`: for profiles and watched copies of pages."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._folder = folder

    def open(self, page: Path, fragment: str = "", *flags: str, policy: str = POLICY) -> Document:
        """The document of a page (opened as `page#fragment`) after its scripts have run.

        policy: what is put before the page's own; with "" the page is on its own.
        """
        source = page.read_text("utf-8")
        assert "<head>" in source
        watched = self._folder / f"watched-{page.stem}.html"
        watched.write_text(source.replace("<head>", f"<head>{policy}{WATCH}", 1), "utf-8")
        text = self._run(watched, fragment, "--virtual-time-budget=8000", "--dump-dom", *flags)
        assert 'data-loaded="yes"' in text, f"the page did not finish loading: {text[:300]}"
        found = re.search(r'<html[^>]*data-problems="([^"]*)"', text)
        problems = html.unescape(found[1]).splitlines() if found else []
        return Document(text, tuple(problems))

    def screenshot(
        self, page: Path, out: Path, fragment: str = "", *, width: int = 1200, height: int = 1600
    ) -> None:
        """A PNG of the page's first `height` pixels."""
        size = f"--window-size={width},{height}"
        self._run(page, fragment, size, "--virtual-time-budget=8000", f"--screenshot={out}")

    def _run(self, page: Path, fragment: str, *flags: str) -> str:
        address = page.resolve().as_uri() + (f"#{fragment}" if fragment else "")
        done = subprocess.run(
            [
                str(self._program),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--no-first-run",
                "--hide-scrollbars",
                "--host-resolver-rules=MAP * ~NOTFOUND",
                f"--user-data-dir={self._folder / 'profile'}",
                *flags,
                address,
            ],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
            env={**os.environ, "HOME": str(self._folder)},
        )
        return done.stdout
