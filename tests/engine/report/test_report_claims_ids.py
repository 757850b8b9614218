"""Every comparison leads to the trials on both of its sides, and an unknown interval is unknown."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

from report_claim_cells import judged, runs
from report_every_experiment import experts
from report_synthetic_sweep import grid, write_sweep

from engine.analysis.statistics import Difference
from engine.report import numbers, write_report
from engine.report.claims.experiment import in_short
from engine.report.experiments.words import change, than


def rows_of(report: Path, table: str) -> list[dict[str, str]]:
    with (report / "tables" / f"{table}.csv").open() as file:
        return list(csv.DictReader(file))


def test_both_sides_name_the_runs_of_the_seeds_that_they_share(tmp_path: Path) -> None:
    soft, hard = runs(1, "soft", 0.10, seeds=(0, 1, 2, 7)), runs(1, "hard", 0.04, seeds=(0, 1, 2))
    (comparison,) = judged(tmp_path, "soft-beats-hard", soft, hard).comparisons
    assert comparison.difference.n == 3
    assert set(comparison.own.ids) == {each["id"] for each in soft[:3]}
    assert set(comparison.other.ids) == {each["id"] for each in hard}


def test_a_published_number_has_no_trials_and_says_what_it_is(tmp_path: Path) -> None:
    own = runs(10, "soft", 0.36)
    (comparison,) = judged(tmp_path, "beats-dm", own).comparisons
    assert set(comparison.own.ids) == {each["id"] for each in own}
    assert (comparison.other.of, comparison.other.ids) == ("published", ())


def test_experts_are_named_by_run_and_epoch(tmp_path: Path) -> None:
    one = judged(tmp_path, "entropy-falls", runs(1, "soft", 0.1), experts=experts())
    ids = {side.ids for each in one.comparisons for side in (each.own, each.other)}
    assert ids == {
        ("0" * 16 + "@41", "1" * 16 + "@41"),
        ("0" * 16 + "@4", "1" * 16 + "@4"),
    }


def test_every_comparison_of_the_table_leads_to_its_trials(full_report: Path) -> None:
    rows, trials = (
        rows_of(full_report, "comparisons"),
        {r["trial"] for r in rows_of(full_report, "trials")},
    )
    page = (full_report / "index.html").read_text()
    section = page[page.index('<section id="claims">') :]
    section = section[: section.index("</section>")]
    assert len(rows) > 60
    for row in rows:
        for side in ("", "baseline_"):
            ids = row[f"{side}ids"].split()
            if row[f"{side}ids_of"] == "trials":
                assert ids
                assert set(ids) <= trials
                assert in_short(ids) in section
            elif row[f"{side}ids_of"] != "experts":
                assert not ids
    targets = set(re.findall(r'href="#(trials-[^"]*)"', section))
    assert len(targets) > 30
    assert targets <= set(re.findall(r'id="([^"]*)"', page))


def test_the_trials_that_a_link_leads_to_are_those_of_the_comparison(full_report: Path) -> None:
    page = (full_report / "index.html").read_text()
    for row in rows_of(full_report, "comparisons"):
        if row["ids_of"] == "trials":
            ids = row["ids"].split()
            (anchor,) = set(
                re.findall(rf'title="trials {", ".join(ids)}"[^>]*><a href="#([^"]*)"', page)
            )
            cell = page[page.index(f'id="{anchor}"') :]
            cell = cell[: cell.index("</table>")]
            assert all(each in cell for each in ids), row["comparison"]


def test_the_table_names_claims_by_a_short_key(full_report: Path) -> None:
    claims = {row["key"]: row["claim"] for row in rows_of(full_report, "claims")}
    assert {row["claim"] for row in rows_of(full_report, "comparisons")} <= claims.keys()
    table = (full_report / "tables" / "comparisons.md").read_text()
    assert not [text for text in claims.values() if text in table]


def test_ids_are_shortened_to_a_few() -> None:
    assert in_short(["1caeee868ad40f27", "a" * 16]) == "1caeee8 aaaaaaa"
    assert in_short([str(i) * 16 for i in range(9)]) == "0000000 1111111 2222222 +6"
    assert in_short(["4a34764cfb708b5f@41"]) == "4a34764@41"


def test_runs_that_agree_to_the_last_digit_leave_no_interval(tmp_path: Path) -> None:
    # Soft and hard differ by exactly the same in every seed.
    records = [
        *grid({(ipc, epoch): 0.1 + 0.01 * ipc for ipc in (1, 10) for epoch in (4, 13)}),
        *grid({(1, None): 0.05, (10, None): 0.06}),
        *grid({(1, 13): 0.08}, cell={"transform": "swap-ith:1"}),
        *grid({(1, 13): 0.09}, cell={"transform": "shuffle-tail"}),
    ]
    sweep = write_sweep(tmp_path / "s", records, dataset={"name": "flowers"})
    write_report([sweep], tmp_path / "r")
    # What a label is worth comes from draws of the cells, which scatter.
    compared = [r for r in rows_of(tmp_path / "r", "comparisons") if r["claim"] != "label-worth"]
    assert {row["outcome"] for row in compared} == {"open"}
    assert {row["difference_ci_low"] + row["difference_ci_high"] for row in compared} == {""}
    shown = (tmp_path / "r" / "tables" / "comparisons.md").read_text()
    assert shown.count(numbers.NO_SCATTER) == len(compared) > 3
    (swap,) = [r for r in rows_of(tmp_path / "r", "swap_ith") if r["i"] == "1"]
    assert swap["minus_soft_final_ci_low"] == swap["minus_soft_final_ci_high"] == ""
    assert swap["final_ci_low"] < swap["final_ci_high"]
    assert f"−3.0 ({numbers.NO_SCATTER})" in (tmp_path / "r" / "tables" / "swap_ith.md").read_text()
    assert "equal in every run" in (tmp_path / "r" / "index.html").read_text()


def test_words_never_call_a_difference_sure_that_has_no_scatter() -> None:
    def found(**ends: Any) -> Difference:
        return Difference(mean=0.03, n=3, paired=True, **ends)

    equal, sure = found(ci_low=0.03, ci_high=0.03), found(ci_low=0.02, ci_high=0.04)
    assert change(sure).startswith("gains 3.0 points")
    assert "chance is not known" in change(equal)
    assert "chance is not known" in than(equal)
    assert numbers.gain_with_interval(equal) == f"+3.0 ({numbers.NO_SCATTER})"
    assert numbers.NO_SCATTER in numbers.gain_in_full(equal)
    assert numbers.interval_in_words(0.1, 0.1) == numbers.NO_SCATTER
    assert numbers.interval_in_words(None, None) == numbers.NOT_MEASURED
