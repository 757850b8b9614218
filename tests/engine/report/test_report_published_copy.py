"""scripts/publish-report: the copy of a report that is committed, whole in itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "publish-report"


def publish(*arguments: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def links(page: str) -> set[str]:
    """Files of the same folder that a page in HTML or Markdown links to or shows."""
    found = re.findall(r'(?:href|src)="([^"#:]+)["#]|\]\(([^)#:]+)\)', page)
    return {html or markdown for html, markdown in found}


def test_every_link_of_the_copy_leads_to_a_file_of_it(full_report: Path, tmp_path: Path) -> None:
    copy = tmp_path / "docs" / "reproduction"
    assert publish(full_report, copy).returncode == 0
    for name in ("README.md", "index.html"):
        linked = links((copy / name).read_text())
        assert len(linked) > 10
        assert [link for link in linked if not (copy / link).is_file()] == []
    assert not list(copy.rglob("*.png"))
    assert (copy / "README.md").read_bytes() == (full_report / "claims.md").read_bytes()


def test_a_later_report_takes_the_place_of_the_copy(full_report: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    publish(full_report, copy)
    before = {str(f): f.read_bytes() for f in copy.rglob("*") if f.is_file()}
    (copy / "figures" / "old.svg").write_text("of an earlier report")
    assert publish(full_report, copy).returncode == 0
    assert {str(f): f.read_bytes() for f in copy.rglob("*") if f.is_file()} == before


@pytest.mark.parametrize("wrong", ["report", "folder"])
def test_what_is_no_report_and_where_something_else_lies_is_refused(
    full_report: Path, tmp_path: Path, wrong: str
) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "tables").mkdir(parents=True)
    (theirs / "README.md").write_text("somebody's own")
    told = publish(theirs, tmp_path / "copy") if wrong == "report" else publish(full_report, theirs)
    assert told.returncode == 2
    assert f"{theirs}: expected" in told.stderr
    assert not (tmp_path / "copy").exists()
    assert (theirs / "tables").is_dir()
