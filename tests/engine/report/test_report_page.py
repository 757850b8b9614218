"""The page of a report: what it says, what is missing, escaped text, links that lead somewhere."""

from __future__ import annotations

import csv
import html.parser
import re

import pytest
from report_synthetic_sweep import grid, trial, write_sweep

from engine.report import write_report

ACCURACIES = {(i, e): 0.1 + 0.01 * i + 0.001 * (e or 0) for i in (1, 10) for e in (5, 13, None)}


@pytest.fixture
def sweep(tmp_path):
    return write_sweep(tmp_path / "sweep", grid(ACCURACIES))


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


ALL_TESTED = "All are test accuracies of one training run"
NONE_TESTED = "the dataset has no test split, so none of them was measured"


@pytest.mark.parametrize(
    ("records", "said", "unsaid"),
    [
        (grid({(1, 5): 0.1, (1, None): 0.05}), ALL_TESTED, NONE_TESTED),
        ([trial(1, 5, None, error="boom")], ALL_TESTED, NONE_TESTED),
        (grid({(1, 5): None}), f"{NONE_TESTED}. <b>", ALL_TESTED),
        (
            grid({(1, 5): None, (1, None): None}, validation=0.1, max_on_test=None),
            f"{NONE_TESTED}, and figures and sections show accuracies on validation images. <b>",
            ALL_TESTED,
        ),
    ],
)
def test_accuracies_are_said_to_be_on_test_only_where_there_is_a_test_split(
    tmp_path, records, said, unsaid
):
    write_report([write_sweep(tmp_path / "s", records)], tmp_path / "r")
    page = (tmp_path / "r" / "index.html").read_text()
    assert said in page
    assert unsaid not in page


def test_claims_come_after_the_panel_of_the_first_expert(full_report):
    page = (full_report / "index.html").read_text()
    places = re.findall(r'<section id="(claims|panel-1|panel-2|worth)"', page)
    assert places == ["panel-1", "claims", "panel-2", "worth"]
    named = re.findall(r'<li><a href="#(claims|panel-1|panel-2|worth)"', page)
    assert named == places


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
