"""The folder of a report: its files, its bytes, what survives a crash, what is refused."""

from __future__ import annotations

import errno
import json
import os

import pytest
from report_synthetic_sweep import grid, trial, write_sweep

from engine.errors import ArtefactError, UsageError
from engine.records import write_record
from engine.report import report_info, verify_report, write_report

ACCURACIES = {(i, e): 0.1 + 0.01 * i + 0.001 * (e or 0) for i in (1, 10) for e in (5, 13, None)}


@pytest.fixture
def sweep(tmp_path):
    return write_sweep(tmp_path / "sweep", grid(ACCURACIES))


def content(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_the_folder_holds_page_figures_tables_and_manifest(sweep, tmp_path):
    summary = write_report([sweep], tmp_path / "report")
    assert set(content(tmp_path / "report")) == set(summary["files"])
    assert {"index.html", "manifest.json", "tables/main.csv", "tables/grid.md"} <= set(
        summary["files"]
    )
    assert "figures/accuracy_over_ipc.png" in summary["files"]
    assert summary["trials"] == {"done": 18, "failed": 0, "not_run": 0}
    json.dumps(summary, allow_nan=False)


def test_the_same_trials_give_the_same_bytes(sweep, tmp_path):
    write_report([sweep], tmp_path / "a")
    write_report([sweep], tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_running_again_replaces_the_report_as_a_whole(sweep, tmp_path):
    out = tmp_path / "report"
    write_report([sweep], out)
    write_sweep(sweep, [trial(50, 13, 0.4)])
    write_report([sweep], out)
    write_report([sweep], tmp_path / "new")
    assert content(out) == content(tmp_path / "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "report", "sweep"]


def test_a_report_with_somebodys_own_files_in_it_is_not_replaced(sweep, tmp_path):
    out = tmp_path / "report"
    write_report([sweep], out)
    (out / "notes").mkdir()
    (out / "notes" / "talk.md").write_text("words")
    (out / ".DS_Store").write_text("of a file manager")
    before = content(out)
    for dry_run in (False, True):
        with pytest.raises(UsageError, match=r"found other files \(notes/talk\.md\); move them"):
            write_report([sweep], out, dry_run=dry_run)
    assert content(out) == before
    (out / "notes" / "talk.md").unlink()
    write_report([sweep], out)
    assert verify_report(out)["ok"]


def test_a_damaged_report_is_replaced(sweep, tmp_path):
    out = tmp_path / "report"
    write_report([sweep], out)
    whole = content(out)
    manifest = whole["manifest.json"]
    (out / "manifest.json").write_bytes(manifest.replace(b'"versions"', b'"versionz'))
    (out / "index.html").write_text("cut short")
    (out / "tables" / "main.csv").unlink()
    write_report([sweep], out)
    assert content(out) == whole


def test_a_dry_run_names_the_files_and_writes_nothing(sweep, tmp_path):
    plan = write_report([sweep], tmp_path / "report", dry_run=True)
    assert not (tmp_path / "report").exists()
    summary = write_report([sweep], tmp_path / "report")
    assert plan["dry_run"]
    assert {**plan, "dry_run": False} == summary


def test_the_manifest_names_parents_and_versions(sweep, tmp_path):
    write_report([sweep], tmp_path / "report")
    manifest = report_info(tmp_path / "report")
    assert manifest["kind"] == "report"
    assert manifest["parents"]["dataset"] == "d" * 16
    assert len(manifest["parents"]["trials"]) == 18
    assert {"softlabel-engine", "matplotlib", "numpy"} <= set(manifest["versions"])


def test_the_id_follows_the_trials_not_the_place(sweep, tmp_path):
    moved = sweep.rename(tmp_path / "moved")
    first = write_report([moved], tmp_path / "a", dry_run=True)["id"]
    write_sweep(moved, [trial(50, 13, 0.4)])
    assert write_report([moved], tmp_path / "a", dry_run=True)["id"] != first


def test_every_flipped_byte_is_found(sweep, tmp_path):
    out = tmp_path / "report"
    files = write_report([sweep], out)["files"]
    assert verify_report(out) == {"ok": True, "checked": len(files), "problems": []}
    for name in ("index.html", "figures/accuracy_over_ipc.png", "tables/grid.csv"):
        file = out / name
        whole = file.read_bytes()
        file.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
        (problem,) = verify_report(out)["problems"]
        assert name in problem
        file.write_bytes(whole)
    manifest = (out / "manifest.json").read_bytes()
    for i in range(0, len(manifest), 97):
        (out / "manifest.json").write_bytes(
            manifest[:i] + bytes([manifest[i] ^ 1]) + manifest[i + 1 :]
        )
        assert not verify_report(out)["ok"]


def test_a_missing_file_is_found(sweep, tmp_path):
    write_report([sweep], tmp_path / "report")
    (tmp_path / "report" / "tables" / "main.csv").unlink()
    assert not verify_report(tmp_path / "report")["ok"]
    with pytest.raises(ArtefactError, match="engine report"):
        verify_report(tmp_path)


def test_other_peoples_files_are_not_replaced(sweep, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("words")
    for out in (tmp_path / "thesis", tmp_path / "thesis" / "chapter1.tex", sweep):
        with pytest.raises(UsageError, match="choose another --out"):
            write_report([sweep], out)
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "words"


def test_a_report_does_not_replace_the_folder_that_its_sweep_lies_in(sweep, tmp_path):
    out = tmp_path / "report"
    write_report([sweep], out)
    inside = sweep.rename(out / "sweep")
    with pytest.raises(UsageError, match="outside the sweep"):
        write_report([inside], out)
    assert (inside / "sweep.json").is_file()


def test_a_full_disk_leaves_the_old_report_and_nothing_else(sweep, tmp_path, monkeypatch):
    out = tmp_path / "report"
    write_report([sweep], out)
    before = content(out)
    real = os.fsync
    calls = []

    def full(handle):
        calls.append(handle)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ArtefactError, match="No space left"):
        write_report([sweep], out)
    assert content(out) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report", "sweep"]


def test_what_a_killed_writer_left_is_cleared_and_the_old_report_survives(sweep, tmp_path):
    out = tmp_path / "report"
    write_report([sweep], out)
    dead = 2**22 + 1  # above the kernel's largest process id
    out.rename(tmp_path / f".report.replaced-{dead}")
    (tmp_path / f".report.writing-{dead}").mkdir()
    write_report([sweep], out)
    assert verify_report(out)["ok"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report", "sweep"]


def test_a_damaged_record_of_what_was_asked_for_is_named_by_file(tmp_path):
    sweep = write_sweep(tmp_path / "s", grid({(1, 5): 0.1}))
    head = json.loads((sweep / "sweep.json").read_text())
    del head["checksum"]
    write_record(sweep / "sweep.json", {**head, "asked": {"all": {}, "blocks": [{}]}})
    with pytest.raises(ArtefactError, match=r"sweep\.json: .*seeds"):
        write_report([sweep], tmp_path / "r")


def test_progress_covers_reading_and_drawing(sweep, tmp_path):
    stages = []
    summary = write_report(
        [sweep], tmp_path / "r", progress=lambda stage, done, total: stages.append((stage, done))
    )
    assert stages[-1] == ("draw figures", 1 + len(summary["experiments"]))
    assert stages[0] == ("read trials", 1)
