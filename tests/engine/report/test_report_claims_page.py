"""`claims.md`: worth reading by itself, every claim in it, every link and figure there."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from report_claim_cells import runs
from report_synthetic_sweep import grid, trial, write_sweep

from engine.report import write_report
from engine.report.claims import registry
from engine.report.claims.claims import TESTS, judge
from engine.report.claims.papers import STATEMENTS
from engine.report.claims.setting import Length, lengths, steps_in_words, worth_caveat
from engine.report.experiments.evidence import evidence_of
from engine.report.sweeps import read_sweeps


def page_of(folder: Path, records: list[dict[str, Any]], **head: Any) -> str:
    write_report([write_sweep(folder / "s", records, **head)], folder / "r")
    return (folder / "r" / "claims.md").read_text()


def section(page: str, key: str) -> str:
    """One claim's part of the page."""
    return page.split(f'<a id="{key}"></a>')[1].split("<a id=")[0]


def test_every_claim_stands_in_the_table_and_in_full(full_report: Path) -> None:
    page = (full_report / "claims.md").read_text()
    for number, each in enumerate(STATEMENTS.values(), 1):
        assert f"| {number} | [" in page
        assert f"](#{each.key}) |" in page
        own = section(page, each.key)
        assert own.count(f"### {number}. ") == 1
        assert "Published: " in own
        assert re.search(r"\n\*\*[A-Z][a-z ]+\.\*\* \w", own), each.key


def test_it_reads_from_what_was_run_to_the_claims_one_by_one(full_report: Path) -> None:
    page = (full_report / "claims.md").read_text()
    headings = re.findall(r"(?m)^## (.*)$", page)
    assert headings == [
        "What was run",
        "In short",
        "The claims",
        "How the verdicts are made",
        "The claims one by one",
        "What else these runs say",
    ]
    run = page.split("## What was run")[1].split("## In short")[0]
    assert "cifar100, 100 classes" in run
    assert "421 done" in run
    assert "cifar100-d3-s1: labels of epochs 4, 13, 41; 44.0 % on test after 41" in run
    assert "3,000 epochs at IPC 1, 5, 10 and 50" in run


def test_figures_and_tables_that_it_names_lie_beside_it(full_report: Path) -> None:
    page = (full_report / "claims.md").read_text()
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", page)
    assert "accuracy_over_expert_epoch" in pictures[0]
    assert len(pictures) > 15
    assert len(set(pictures)) == len(pictures)
    links = re.findall(r"\]\((tables/[^)]*)\)", page)
    assert len(links) > 20
    assert all((full_report / name).is_file() for name in [*pictures, *links])
    anchors = set(re.findall(r'<a id="([^"]*)"></a>', page))
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= anchors


def test_a_figure_of_two_claims_is_embedded_below_the_first(full_report: Path) -> None:
    page = (full_report / "claims.md").read_text()
    assert "figures/shuffle_tail.svg" in section(page, "shuffled-below-soft")
    assert "figures/shuffle_tail.svg" not in section(page, "shuffled-below-hard")
    assert "[above](#shuffled-below-soft)" in section(page, "shuffled-below-hard")


def test_names_of_figures_and_tables_are_those_that_a_report_writes(full_report: Path) -> None:
    learned = {"learned_labels", "learned_labels_best_epoch", "learned_labels_rank_correlation"}
    files = {each.stem for each in (*full_report.glob("figures/*"), *full_report.glob("tables/*"))}
    files |= {stem.removesuffix("_1") for stem in files} | learned | {"evaluated"}
    for each in STATEMENTS.values():
        assert {*each.figures, *each.tables} - {"temperature_1", "robustness"} <= files, each.key


def test_the_papers_numbers_stand_beside_ours_where_the_dataset_is_known(tmp_path: Path) -> None:
    records = [*grid({(1, 13): 0.15, (1, None): 0.05})]
    known = page_of(tmp_path / "a", records)
    assert "IPC 1 15.1 % against 4.6 %" in section(known, "soft-beats-hard")
    assert "DM: IPC 1 11.4 ± 0.3 %" in section(known, "beats-dm")
    assert "IPC 1: 0.475 (i = 1), 0.71 (i = 2), 0.94 (i = 64)" in section(known, "swap")
    elsewhere = page_of(tmp_path / "b", records, dataset={"name": "flowers"})
    assert elsewhere.count("Published: no numbers on this dataset are at hand.") == len(STATEMENTS)


def test_runs_that_are_missing_are_said_to_be_missing(tmp_path: Path) -> None:
    asked = grid({(1, 13): 0, (1, None): 0}) + grid({(1, 13): 0}, cell={"transform": "swap-ith:1"})
    page = page_of(tmp_path, grid({(1, 13): 0.1}), asked=asked)
    assert "**Missing**: 6 runs asked for and not there yet" in page
    swaps = section(page, "swap")
    assert "some of these runs are still missing" in swaps
    assert "Missing: 3 runs of IPC 1, epoch 13, swap-ith:1." in swaps
    assert "Missing: 3 runs of IPC 1, hard labels." in section(page, "soft-beats-hard")
    assert "none were run" in section(page, "zero-shot")


def test_a_claim_that_rests_on_few_seeds_says_so(tmp_path: Path) -> None:
    def soft_and_hard(seeds: list[int]) -> str:
        records = grid({(1, 13): 0.1, (1, None): 0.05}, seeds)
        return section(page_of(tmp_path / str(len(seeds)), records), "soft-beats-hard")

    assert "Few runs: its comparison rests on 1 seed, which tells nothing" in soft_and_hard([0])
    assert "rests on 2 seeds, which lets only a large difference" in soft_and_hard([0, 1])
    assert "Few runs" not in soft_and_hard([0, 1, 2])


def test_many_runs_on_two_subsets_are_few(tmp_path: Path) -> None:
    records = [
        trial(1, epoch, 0.1 + 0.001 * seed + 0.002 * (epoch or 0), seed=seed, subset_seed=seed % 2)
        for epoch in (13, None)
        for seed in range(10)
    ]
    own = section(page_of(tmp_path, records), "soft-beats-hard")
    assert "n = 10 runs on 2 subsets:" in own
    assert "rests on 10 runs on 2 subsets, which lets only a large difference be sure" in own


def test_a_bootstrap_checks_what_is_sure(tmp_path: Path) -> None:
    records = [each for ipc in (1, 5) for each in runs(ipc, "soft", 0.12 + 0.01 * ipc)]
    records += [each for ipc in (1, 5) for each in runs(ipc, "hard", 0.05)]
    (told,) = re.findall(r"(?m)^- As a check, (.*)$", page_of(tmp_path, records))
    with (tmp_path / "r" / "tables" / "comparisons.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["bootstrap_ci_low"]]
    sure = [row for row in rows if row["outcome"] != "open"]
    agree = [row for row in sure if float(row["bootstrap_ci_low"]) > 0]
    assert len(agree) > 1
    assert f"Of {len(sure)} of these that are sure at 95 % {len(agree)} are so by it" in told


def test_the_reason_of_a_verdict_is_a_sentence_with_its_counts(tmp_path: Path) -> None:
    def why(name: str, soft: float, scatter: float, ipcs: tuple[int, ...]) -> str:
        records = [r for i in ipcs for r in runs(i, "soft", soft, scatter=scatter)]
        records += [r for i in ipcs for r in runs(i, "hard", 0.1, scatter=scatter)]
        own = section(page_of(tmp_path / name, records), "soft-beats-hard")
        (text,) = re.findall(r"(?m)^(\*\*.*)$", own)
        return str(text)

    assert why("a", 0.2, 0.001, (1,)) == "**Confirmed.** Its one comparison holds at 95 %."
    assert why("b", 0.2, 0.001, (1, 2)) == "**Confirmed.** Both comparisons hold at 95 %."
    opposite = "**Refuted.** All 3 comparisons show the opposite at 95 %."
    assert why("c", 0.05, 0.001, (1, 2, 5)) == opposite
    assert why("d", 0.101, 0.03, (1,)) == (
        "**Not decided.** Its one comparison is open: with an interval that leaves both "
        "outcomes open."
    )
    assert why("e", 0.101, 0.03, (1, 2)).startswith(
        "**Not decided.** Of 2 comparisons none is sure at 95 % with all judged together: 2 with"
    )


def test_names_from_the_runs_are_text(tmp_path: Path) -> None:
    evil = "<img src=x>|[a](b)"
    records = [trial(1, 13, 0.1, cell={"expert": evil})]
    head = {"name": evil, "run_id": "e" * 16, "epochs": {"13": {"test": 0.3}}}
    page = page_of(tmp_path, records, dataset={"name": evil}, experts=[head])
    assert "<img" not in page
    assert "[a](b)" not in page
    assert "&lt;img src=x>" in page


def test_no_number_has_a_hyphen_for_its_minus(full_report: Path) -> None:
    texts = [
        full_report / "claims.md",
        full_report / "tables" / "comparisons.md",
        full_report / "index.html",
    ]
    for file in texts:
        words = re.sub(r"(?s)<(style|svg|script).*?</\1>", "", file.read_text())
        assert not re.search(r"[\s(\[]-\d", words), file.name
    assert "−" in (full_report / "claims.md").read_text()
    numbers = (full_report / "tables" / "comparisons.csv").read_text()
    assert "−" not in numbers
    assert re.search(r",-0\.\d", numbers)


def test_every_claim_has_a_test_and_every_test_a_claim() -> None:
    assert list(TESTS.keys() - STATEMENTS.keys()) == []
    assert list(STATEMENTS.keys() - TESTS.keys()) == []
    assert all(len(key) < 28 and re.fullmatch(r"[a-z-]+", key) for key in STATEMENTS)


def test_a_report_judges_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = TESTS["swap"]
    monkeypatch.setitem(registry.TESTS, "swap", lambda e: [calls.append(1), *real(e)][1:])
    page_of(tmp_path, grid({(1, 13): 0.1, (1, None): 0.05}))
    assert len(calls) == 1


def test_students_of_the_published_kind_in_number_of_steps(tmp_path: Path) -> None:
    student = {"model": "convnet-d3", "batch_size": 256, "lr": 0.01}
    records = [
        *grid({(1, 13): 0.1}, student={**student, "epochs": 300}),
        *grid({(10, 13): 0.2}, student={**student, "epochs": 75}),
    ]
    evidence = evidence_of(read_sweeps([write_sweep(tmp_path / "s", records)]), ("final", "test"))
    # 100 images are one batch, 1,000 are four, of which the last is part of one.
    expected = {1: Length(epochs=300, steps=300), 10: Length(epochs=75, steps=300)}
    assert lengths(evidence) == expected
    assert steps_in_words(expected, 3000) == (
        "Students make 300 steps of SGD, the same number at every IPC. The papers’ train for "
        "3,000 epochs at every IPC."
    )
    assert "same number of SGD steps" in worth_caveat(expected)
    assert "(300 times at IPC 1, 75 at IPC 10)" in worth_caveat(expected)
    assert judge(evidence)


def test_the_caveat_of_students_of_equal_epochs_is_another() -> None:
    equal = {1: Length(epochs=300, steps=300), 10: Length(epochs=300, steps=1200)}
    assert "as in the papers" in worth_caveat(equal)
    unlike = {1: Length(epochs=300, steps=300), 10: Length(epochs=150, steps=600)}
    assert "different lengths" in worth_caveat(unlike)
    assert "300 to 1,200 steps" in steps_in_words(equal, None)
