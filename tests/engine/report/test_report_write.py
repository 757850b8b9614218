"""The whole report: its folder, its page, its bytes."""

from __future__ import annotations

import csv
import errno
import html.parser
import json
import os
import re

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
    before = content(out)
    (out / "figures" / "old.svg").write_text("left by an earlier version")
    write_report([sweep], out)
    assert content(out) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report", "sweep"]


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


def test_failed_trials_are_reported_not_fatal(tmp_path):
    records = [*grid({(1, 5): 0.1}), trial(10, 5, None, error="Traceback\nValueError: <b>no</b>")]
    summary = write_report([write_sweep(tmp_path / "s", records)], tmp_path / "r")
    assert summary["trials"]["failed"] == 1
    page = (tmp_path / "r" / "index.html").read_text()
    assert "ValueError: &lt;b&gt;no&lt;/b&gt;" in page


def test_a_sweep_of_nothing_but_failures_still_has_a_report(tmp_path):
    sweep = write_sweep(tmp_path / "s", [trial(1, 5, None, error="boom")])
    write_report([sweep], tmp_path / "r")
    assert "failed" in (tmp_path / "r" / "tables" / "grid.md").read_text()


def test_without_test_and_validation_the_page_says_so(tmp_path):
    sweep = write_sweep(tmp_path / "s", grid({(1, 1): None, (1, None): None}))
    write_report([sweep], tmp_path / "r")
    page = (tmp_path / "r" / "index.html").read_text()
    assert "not measured: the dataset has no test split" in page
    assert "No figure" in page
    assert not (tmp_path / "r" / "figures").exists()
    assert "nan" not in page.lower()


def test_names_are_shown_as_text_never_as_markup(tmp_path):
    evil = "<script>alert(1)</script>"
    records = [
        trial(1, 5, 0.1, cell={"expert": evil, "view": t}, environment={"machine": evil})
        for t in ("a", evil)
    ]
    experts = [{"name": evil, "run_id": evil, "epochs": {"5": {"test": 0.3}}}]
    sweep = write_sweep(
        tmp_path / evil.replace("/", ""),
        records,
        dataset={"name": evil, "classes": [evil]},
        experts=experts,
    )
    write_report([sweep], tmp_path / "r")
    page = (tmp_path / "r" / "index.html").read_text()
    assert "<script" not in page.lower()
    assert "&lt;script&gt;alert(1)" in page


def test_the_page_needs_no_network_and_is_well_formed(sweep, tmp_path):
    files = write_report([sweep], tmp_path / "r")["files"]
    page = (tmp_path / "r" / "index.html").read_text()
    assert page.count("<svg") == sum(name.endswith(".svg") for name in files) > 3
    assert not re.search(r'(src|href)="(https?:)?//', page.replace("xmlns", ""))
    assert "@import" not in page
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert balance(page) == []


def test_every_link_of_a_number_has_its_list_of_trials(sweep, tmp_path):
    summary = write_report([sweep], tmp_path / "r")
    page = (tmp_path / "r" / "index.html").read_text()
    targets = set(re.findall(r'href="#(trials-[^"]+)"', page))
    assert len(targets) == len(ACCURACIES)
    assert targets <= set(re.findall(r'id="([^"]+)"', page))
    rows = list(csv.DictReader((tmp_path / "r" / "tables" / "main.csv").open()))
    assert len(rows) == len(summary["table"])
    for row in rows:
        assert all(name in page for name in row["soft_trials"].split())


def test_each_setting_has_its_own_tables_and_figures(tmp_path):
    records = [
        r
        for view in ("plain", "flip")
        for r in grid({(1, 5): 0.1, (10, 5): 0.2}, cell={"view": view})
    ]
    summary = write_report([write_sweep(tmp_path / "s", records)], tmp_path / "r")
    assert summary["panels"] == 2
    assert "figures/accuracy_over_ipc_2.svg" in summary["files"]
    page = (tmp_path / "r" / "index.html").read_text()
    assert "<h2>view flip</h2>" in page
    assert "<h2>view plain</h2>" in page


def test_a_setting_whose_runs_all_failed_has_no_figure_and_does_not_stop_the_others(tmp_path):
    records = [
        *(trial(ipc, 5, 0.1, cell={"view": "flip"}) for ipc in (1, 10)),
        *(trial(ipc, 5, None, cell={"view": "plain"}, error="boom") for ipc in (1, 10)),
    ]
    sweep = write_sweep(tmp_path / "s", records)
    plan = write_report([sweep], tmp_path / "r", dry_run=True)
    summary = write_report([sweep], tmp_path / "r")
    figures = [name for name in summary["files"] if name.endswith("ipc_1.svg")]
    assert figures == ["figures/accuracy_over_ipc_1.svg"]
    assert not any("_2." in name for name in summary["files"])
    assert plan["files"] == summary["files"]


def test_what_the_sweep_was_asked_for_and_has_not_is_listed(tmp_path):
    asked = [*grid({(1, 5): 0, (50, 24): 0, (1, None): 0}), trial(1, 5, 0, cell={"lr": 0.5})]
    sweep = write_sweep(tmp_path / "s", grid({(1, 5): 0.1}), asked=asked)
    summary = write_report([sweep], tmp_path / "r")
    assert summary["trials"] == {"done": 3, "failed": 0, "not_run": 7}
    assert (summary["panels"], summary["notes"]) == (1, [])
    problems = (tmp_path / "r" / "tables" / "problems.md").read_text()
    assert "| not run | 0.01 | 50 | 24 | 3 | all 0; all 1; all 2 |" in problems
    assert "| not run | 0.5 | 1 | 5 | 1 | all 0 |" in problems
    assert "7 not run" in (tmp_path / "r" / "index.html").read_text()


def test_runs_that_one_sweep_owes_and_another_has_are_not_missing(tmp_path):
    everything = grid({(1, 5): 0.1, (10, 5): 0.2})
    a = write_sweep(tmp_path / "a", everything[:2], asked=everything)
    b = write_sweep(tmp_path / "b", everything[2:], asked=everything[2:])
    assert write_report([a], tmp_path / "r")["trials"]["not_run"] == 4
    assert write_report([a, b], tmp_path / "r")["trials"]["not_run"] == 0


def test_a_sweep_that_does_not_say_what_it_was_asked_for_has_a_note(tmp_path):
    sweep = write_sweep(tmp_path / "old", grid({(1, 5): 0.1}), plan={"grids": [{"ipc": [1, 10]}]})
    summary = write_report([sweep], tmp_path / "r")
    assert summary["trials"]["not_run"] == 0
    (note,) = summary["notes"]
    assert "The sweep “old” does not say which cells" in note


def test_a_damaged_record_of_what_was_asked_for_is_named_by_file(tmp_path):
    sweep = write_sweep(tmp_path / "s", grid({(1, 5): 0.1}))
    head = json.loads((sweep / "sweep.json").read_text())
    del head["checksum"]
    write_record(sweep / "sweep.json", {**head, "asked": {"all": {}, "blocks": [{}]}})
    with pytest.raises(ArtefactError, match=r"sweep\.json: .*seeds"):
        write_report([sweep], tmp_path / "r")


def test_the_page_says_whether_the_best_epoch_grows_with_ipc(tmp_path):
    growing = {(1, 5): 0.2, (1, 13): 0.1, (10, 5): 0.1, (10, 13): 0.3}
    summary = write_report([write_sweep(tmp_path / "s", grid(growing))], tmp_path / "r")
    page = (tmp_path / "r" / "index.html").read_text()
    assert "<b>In these data the best expert epoch grows with IPC: 5 at IPC 1, 13" in page
    assert "The seeds establish a rise from IPC 1 to IPC 10 at 95 %" in page
    assert "figures/best_epoch_over_ipc.svg" in summary["files"]
    (first, second) = csv.DictReader((tmp_path / "r" / "tables" / "best_epoch.csv").open())
    assert (first["best_expert_epoch"], second["best_expert_epoch"]) == ("5", "13")
    assert (first["may_be_best_95"], first["epochs_compared"]) == ("5", "5 13")


def test_where_every_ipc_has_one_epoch_nothing_is_said_of_the_best(tmp_path):
    sweep = write_sweep(tmp_path / "s", grid({(1, 13): 0.1, (10, 36): 0.2, (50, 125): 0.3}))
    plan = write_report([sweep], tmp_path / "r", dry_run=True)
    summary = write_report([sweep], tmp_path / "r")
    assert "Best expert epoch" not in (tmp_path / "r" / "index.html").read_text()
    assert [name for name in summary["files"] if name.endswith(".svg")] == [
        "figures/accuracy_over_ipc.svg",
        "figures/baseline.svg",
    ]
    assert plan["files"] == summary["files"]


def test_cells_that_an_old_sweep_still_owes_are_listed(tmp_path):
    plan = {"ipc": [1, 50], "expert_epochs": [5], "labels": ["soft"], "seeds": [0]}
    sweep = write_sweep(tmp_path / "s", [trial(1, 5, 0.1)], plan=plan)
    summary = write_report([sweep], tmp_path / "r")
    assert summary["trials"]["not_run"] == 1
    assert "| not run | 50 | 5 | 1 |" in (tmp_path / "r" / "tables" / "problems.md").read_text()


def test_the_header_says_how_the_numbers_were_made(sweep, tmp_path):
    write_report([sweep], tmp_path / "r")
    page = (tmp_path / "r" / "index.html").read_text()
    header = page[: page.index("<main>")]
    for words in ("cifar100, 100 classes", "18 done", "convnet-d3, 3000 epochs", "bf16, compiled"):
        assert words in header
    assert "3 per cell: subsets, initial weights" in header
    assert "2 cores, cpu, 2 threads" in header


def test_progress_covers_reading_and_drawing(sweep, tmp_path):
    stages = []
    summary = write_report(
        [sweep], tmp_path / "r", progress=lambda stage, done, total: stages.append((stage, done))
    )
    assert stages[-1] == ("draw figures", 1 + len(summary["experiments"]))
    assert stages[0] == ("read trials", 1)


class _Balance(html.parser.HTMLParser):
    void = frozenset({"meta", "path", "use", "line", "rect", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.problems: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag in self.void:
            return
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)


def balance(page):
    """Tags of a page that are closed without having been opened, or never closed."""
    parser = _Balance()
    parser.feed(page)
    return parser.problems + parser.open
