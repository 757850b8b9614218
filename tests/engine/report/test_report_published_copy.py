"""scripts/publish-report: the copy of a report that is committed, whole in itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from report_synthetic_sweep import grid, write_sweep

from engine.report import write_report

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "publish-report"


def publish(*arguments: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # Verified by the `engine` of these tests, wherever it lies.
    return subprocess.run(
        [SCRIPT, *arguments],
        env={**os.environ, "ENGINE_VENV": sys.prefix, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(each): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


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
    before = content_of(copy)
    (copy / "figures" / "old.svg").write_text("of an earlier report")
    assert publish(full_report, copy).returncode == 0
    assert content_of(copy) == before


def test_what_somebody_else_put_beside_the_copy_stays(full_report: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    publish(full_report, copy)
    (copy / ".notes").write_text("ours")
    (copy / "talk").mkdir()
    (copy / "talk" / "slides.md").write_text("ours, too")
    publish(full_report, copy)
    assert (copy / ".notes").read_text() == "ours"
    assert (copy / "talk" / "slides.md").read_text() == "ours, too"
    assert [each.name for each in tmp_path.iterdir()] == ["copy"]


def test_a_report_without_figures_is_copied_whole(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", grid({(1, 1): None, (1, None): None}))
    write_report([sweep], tmp_path / "r")
    assert not (tmp_path / "r" / "figures").exists()
    (tmp_path / "copy").mkdir()  # an empty place is free
    for _ in range(2):
        assert publish(tmp_path / "r", tmp_path / "copy").returncode == 0
        assert {each.name for each in (tmp_path / "copy").iterdir()} == {
            "README.md",
            "index.html",
            "tables",
        }


def test_a_copy_that_fails_leaves_the_earlier_one(full_report: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copies" / "copy"
    publish(full_report, copy)
    before = content_of(copy)
    broken = tmp_path / "bin" / "sed"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert publish(full_report, copy, PATH=f"{broken.parent}:{os.environ['PATH']}").returncode == 1
    assert content_of(copy) == before
    assert [each.name for each in copy.parent.iterdir()] == ["copy"]


def test_a_damaged_report_is_not_copied(full_report: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(full_report, damaged)
    (damaged / "tables" / "main.csv").write_text("1,2,3")
    told = publish(damaged, tmp_path / "copy")
    assert told.returncode == 1
    assert "main.csv is damaged" in told.stderr
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("wrong", ["report", "folder", "website"])
def test_what_is_no_report_and_where_something_else_lies_is_refused(
    full_report: Path, tmp_path: Path, wrong: str
) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "tables").mkdir(parents=True)
    (theirs / "README.md").write_text("somebody's own")
    if wrong == "website":
        (theirs / "index.html").write_text("<title>My page</title>")
        (theirs / "figures").mkdir()
        (theirs / "figures" / "cat.svg").write_text("<svg></svg>")
        (theirs / "tables" / "trials.csv").write_text("of a court")
    before = content_of(theirs)
    told = publish(theirs, tmp_path / "copy") if wrong == "report" else publish(full_report, theirs)
    assert told.returncode == 2
    assert f"{theirs}: expected" in told.stderr
    assert not (tmp_path / "copy").exists()
    assert content_of(theirs) == before
    assert (theirs / "tables").is_dir()
