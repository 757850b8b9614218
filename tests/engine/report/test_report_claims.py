"""Verdicts on claims: they follow from the runs, whichever way these point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report_claim_cells import judged, runs
from report_synthetic_sweep import write_sweep

from engine.analysis.statistics import Difference
from engine.report.claims.claims import judge
from engine.report.claims.comparisons import Comparison, compare
from engine.report.claims.reasons import because
from engine.report.claims.runs import Runs, Side
from engine.report.claims.verdict import verdict
from engine.report.experiments.evidence import evidence_of
from engine.report.headline import headline
from engine.report.sweeps import read_sweeps


def test_a_clear_gain_confirms_that_soft_labels_beat_hard_ones(tmp_path: Path) -> None:
    one = judged(tmp_path, "soft-beats-hard", runs(1, "soft", 0.10), runs(1, "hard", 0.04))
    assert one.verdict == "confirmed"
    (comparison,) = one.comparisons
    assert comparison.difference.mean == pytest.approx(0.06, abs=0.005)


def test_the_opposite_refutes_it(tmp_path: Path) -> None:
    one = judged(tmp_path, "soft-beats-hard", runs(1, "soft", 0.03), runs(1, "hard", 0.09))
    assert one.verdict == "refuted"


def test_one_ipc_for_and_one_against_is_mixed(tmp_path: Path) -> None:
    groups = [runs(1, "soft", 0.10), runs(1, "hard", 0.04)]
    groups += [runs(10, "soft", 0.10), runs(10, "hard", 0.14)]
    assert judged(tmp_path, "soft-beats-hard", *groups).verdict == "mixed"


def test_scatter_larger_than_the_gain_settles_nothing(tmp_path: Path) -> None:
    noisy = [runs(1, "soft", 0.201, scatter=0.05), runs(1, "hard", 0.200, scatter=0.05)]
    assert judged(tmp_path, "soft-beats-hard", *noisy).verdict == "not decided"


def test_a_claim_without_runs_is_not_testable(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "sweep", runs(1, "soft", 0.1), dataset={"name": "flowers"})
    judgements = judge(evidence_of(read_sweeps([sweep]), ("final", "test")))
    assert {each.verdict for each in judgements} == {"not testable at this scale"}
    assert len(judgements) > 10


def test_the_best_epoch_grows_where_late_labels_gain_at_many_images_only(tmp_path: Path) -> None:
    def grid(late_at_one: float, late_at_ten: float) -> list[list[dict[str, Any]]]:
        return [
            runs(1, "soft", 0.10, epoch=10),
            runs(1, "soft", late_at_one, epoch=41),
            runs(10, "soft", 0.13, epoch=10),
            runs(10, "soft", late_at_ten, epoch=41),
        ]

    key = "best-epoch-grows"
    assert judged(tmp_path / "a", key, *grid(0.07, 0.15)).verdict == "confirmed"
    assert judged(tmp_path / "b", key, *grid(0.13, 0.11)).verdict == "refuted"


def test_no_better_needs_an_interval_below_one_point(tmp_path: Path) -> None:
    def cells(generated: float) -> list[list[dict[str, Any]]]:
        labels = {"hard": 0.10, "generated:0.8": generated}
        return [runs(10, name, mean, scatter=0.0005) for name, mean in labels.items()]

    assert judged(tmp_path / "a", "generated", *cells(0.10)).verdict == "confirmed"
    assert judged(tmp_path / "b", "generated", *cells(0.15)).verdict == "refuted"


def test_swaps_are_compared_in_the_order_of_their_rank(tmp_path: Path) -> None:
    cells = [runs(1, "soft", 0.10), runs(1, "swap-ith:2", 0.06), runs(1, "swap-ith:16", 0.09)]
    one = judged(tmp_path, "swap", *cells, runs(1, "swap-ith:1", 0.04))
    assert one.verdict == "confirmed"
    assert one.numbers[0].index("swap-ith:2") < one.numbers[0].index("swap-ith:16")


def test_a_class_never_shown_is_scored_by_itself(tmp_path: Path) -> None:
    known = [0.4 if c == 7 else 0.1 for c in range(100)]
    shown = runs(10, "soft", 0.1, selection="drop-class:7", per_class=known)
    one = judged(tmp_path, "zero-shot", shown, runs(10, "soft", 0.12))
    (comparison,) = one.comparisons
    assert comparison.difference.mean == pytest.approx(0.4 - 0.01)


def test_an_accuracy_of_exactly_0_in_every_run_says_nothing_of_chance(tmp_path: Path) -> None:
    unknown = [0.0 if c == 7 else 0.1 for c in range(100)]
    shown = runs(10, "soft", 0.1, selection="drop-class:7", per_class=unknown)
    one = judged(tmp_path, "zero-shot", shown, runs(10, "soft", 0.12))
    assert (len(one.comparisons), one.verdict) == (1, "not decided")


def test_hard_labels_without_a_class_are_no_evidence_against_soft_ones(tmp_path: Path) -> None:
    scores = [0.0 if c == 7 else 0.1 for c in range(100)]
    hard = runs(10, "hard", 0.1, selection="drop-class:7", per_class=scores)
    one = judged(tmp_path, "zero-shot", hard, runs(10, "soft", 0.12))
    assert one.verdict == "not testable at this scale"


def test_a_class_without_its_column_is_compared_with_the_same_labels_whole(tmp_path: Path) -> None:
    def scored(*levels: float) -> list[list[float]]:
        return [[level if c == 7 else 0.1 for c in range(100)] for level in levels]

    whole, without = runs(10, "soft", 0.12), runs(10, "drop-class-column:7", 0.12)
    for records, scores in ((whole, scored(0.6, 0.62, 0.64)), (without, scored(0.3, 0.33, 0.35))):
        for record, score in zip(records, scores, strict=True):
            record["result"]["test_per_class"] = score
    one = judged(tmp_path, "column-teaches", whole, without)
    assert one.verdict == "confirmed"
    assert one.comparisons[0].difference.mean == pytest.approx(-0.88 / 3)


def test_accuracy_that_only_falls_does_not_rise_first(tmp_path: Path) -> None:
    cells = [runs(1, "soft", mean, epoch=e) for e, mean in ((4, 0.16), (10, 0.12), (41, 0.06))]
    assert judged(tmp_path, "rises-then-falls", *cells).verdict == "mixed"


def test_a_curve_that_rises_and_stays_level_does_not_fall(tmp_path: Path) -> None:
    def curve(ipc: int, *means: float) -> list[dict[str, Any]]:
        pairs = zip((4, 10, 41), means, strict=True)
        return [each for epoch, mean in pairs for each in runs(ipc, "soft", mean, epoch=epoch)]

    key, level = "rises-then-falls", (0.05, 0.12, 0.12)
    one = judged(tmp_path / "a", key, curve(1, *level), curve(10, *level))
    assert [each.outcome for each in one.comparisons] == ["holds", "open"] * 2
    assert one.verdict == "not decided"
    assert because(one) == (
        "Of 4 comparisons 2 hold at 95 % with all judged together; 2 open. Nowhere do all parts of "
        "the claim hold."
    )
    # One curve rises and another falls: that is no curve which does both.
    apart = judged(tmp_path / "b", key, curve(1, *level), curve(10, 0.12, 0.12, 0.05))
    assert apart.verdict == "not decided"
    both = judged(tmp_path / "c", key, curve(1, *level), curve(10, 0.05, 0.12, 0.04))
    assert both.verdict == "confirmed in part"


def test_what_is_sure_by_itself_and_not_among_several_is_told(tmp_path: Path) -> None:
    cells = [runs(1, "soft", 0.12, scatter=0.005), runs(2, "soft", 0.1, scatter=0.005)]
    cells += [runs(ipc, "hard", 0.1, scatter=0.005) for ipc in (1, 2)]
    one = judged(tmp_path, "soft-beats-hard", *cells)
    assert [each.outcome for each in one.comparisons] == ["holds", "open"]
    assert because(one) == (
        "Of 2 comparisons none is sure at 95 % with all judged together: 2 with an interval that "
        "leaves both outcomes open (1 holds taken by itself)."
    )


def test_a_late_epoch_that_is_best_everywhere_does_not_grow(tmp_path: Path) -> None:
    cells = [
        runs(1, "soft", 0.06, epoch=10),
        runs(1, "soft", 0.10, epoch=41),
        runs(10, "soft", 0.10, epoch=10),
        runs(10, "soft", 0.20, epoch=41),
    ]
    one = judged(tmp_path, "best-epoch-grows", *cells)
    assert one.verdict == "not decided"
    assert one.why.endswith("at IPC 1 epoch 41 and at IPC 10 epoch 41 may be.")


GROWTH = {
    "confirmed": ({4: 0.14, 10: 0.10, 41: 0.05}, {4: 0.10, 10: 0.12, 41: 0.18}),
    "confirmed in part": ({4: 0.10, 10: 0.10, 41: 0.05}, {4: 0.10, 10: 0.15, 41: 0.15}),
    "not decided": ({4: 0.10, 10: 0.10, 41: 0.10}, {4: 0.15, 10: 0.15, 41: 0.15}),
    "refuted": ({4: 0.05, 10: 0.07, 41: 0.10}, {4: 0.18, 10: 0.12, 41: 0.10}),
}
"""Accuracy by epoch at IPC 1 and at IPC 10; in the second, epoch 10 is tied for best at both."""


@pytest.mark.parametrize("expected", GROWTH)
def test_growth_of_the_best_epoch_is_told_alike_in_claim_and_headline(
    tmp_path: Path, expected: str
) -> None:
    at = dict(zip((1, 10), GROWTH[expected], strict=True))
    records = [
        each
        for ipc, means in at.items()
        for epoch, mean in means.items()
        for each in runs(ipc, "soft", mean, epoch=epoch)
    ]
    sweep = write_sweep(tmp_path / "sweep", records)
    evidence = evidence_of(read_sweeps([sweep]), ("final", "test"))
    (one,) = (each for each in judge(evidence) if each.key == "best-epoch-grows")
    (card,) = headline(evidence, [])
    assert one.verdict == expected
    # Where the best epochs of both IPCs are known, both say so in the same words.
    assert (one.why in card.note) == (expected in ("confirmed", "refuted"))
    assert ("do not establish" in card.note) == (expected not in ("confirmed", "refuted"))
    if expected == "confirmed in part":
        assert one.why == (
            "That an early epoch beats a late one at IPC 1, and the late one the early one at IPC "
            "10, is established at 95 %; which epochs are the best is not: at IPC 1 epochs 4–10 "
            "and at IPC 10 epochs 10–41 may be."
        )
        assert {each.outcome for each in one.comparisons} == {"holds"}


def test_softer_labels_of_another_expert_are_no_answer(tmp_path: Path) -> None:
    cells = [
        runs(1, "soft", 0.10, epoch=10),
        runs(1, "soft", 0.06, epoch=41),
        runs(1, "soft", 0.05, epoch=41, temperature=2.0),
        runs(1, "soft", 0.30, epoch=41, temperature=4.0, expert="other"),
    ]
    one = judged(tmp_path, "temperature", *cells)
    assert (len(one.comparisons), one.verdict) == (1, "confirmed")


def test_every_other_expert_is_compared_with_hard_labels(tmp_path: Path) -> None:
    cells = [runs(1, "soft", 0.14), runs(1, "hard", 0.08)]
    cells += [runs(1, "soft", mean, expert=name) for name, mean in (("e1", 0.12), ("e2", 0.03))]
    one = judged(tmp_path, "another-expert", *cells)
    assert [each.what[:2] for each in one.comparisons] == ["e1", "e2"]
    assert one.verdict == "mixed"


def test_students_of_the_published_length_are_set_beside_distilled_images(tmp_path: Path) -> None:
    key = "beats-dm"
    assert judged(tmp_path / "a", key, runs(10, "soft", 0.36)).verdict == "confirmed"
    assert judged(tmp_path / "b", key, runs(10, "soft", 0.22)).verdict == "refuted"
    short = runs(10, "soft", 0.34)
    for record in short:
        record["student"]["epochs"] = 75
    assert judged(tmp_path / "c", key, short).verdict == "not testable at this scale"


def test_fewer_soft_labels_are_compared_with_more_hard_ones(tmp_path: Path) -> None:
    cells = [runs(1, "soft", 0.10), runs(1, "hard", 0.04), runs(2, "hard", 0.06)]
    one = judged(tmp_path, "knowledge-replaces-images", *cells)
    assert (len(one.comparisons), one.verdict) == (1, "confirmed")
    assert one.comparisons[0].difference.mean == pytest.approx(0.04, abs=0.005)


def test_the_entropy_of_labels_is_followed_over_experts(tmp_path: Path) -> None:
    experts = [
        {
            "name": f"cifar100-d3-s{seed}",
            "run_id": str(seed) * 16,
            "epochs": {
                "4": {"test": 0.18, "train": 0.2, "label_entropy": 4.1},
                "41": {"test": 0.44 + seed / 500, "train": 0.5, "label_entropy": 2.3 - seed / 50},
            },
        }
        for seed in (0, 1)
    ]
    one = judged(tmp_path, "entropy-falls", runs(1, "soft", 0.1), experts=experts)
    assert one.verdict == "confirmed"
    assert one.comparisons[1].in_words().startswith("mean entropy of the labels over experts")
    assert "−1.81 nats" in one.comparisons[1].in_words()


def test_one_comparison_of_many_decides_nothing_by_chance() -> None:
    def found(mean: float) -> Comparison:
        difference = Difference(
            mean=mean, ci_low=mean - 0.01, ci_high=mean + 0.01, n=3, paired=True, degrees=2
        )
        side = Side(of="trials")
        return Comparison(what="", difference=difference, expected="greater", own=side, other=side)

    assert verdict([found(-0.011)]) == "refuted"
    assert verdict([found(-0.011), *[found(0.0)] * 9]) == "not decided"
    assert verdict([found(0.011), *[found(0.0)] * 9]) == "not decided"
    assert verdict([found(0.09), *[found(0.0)] * 9]) == "confirmed in part"
    assert verdict([found(0.011)] * 9) == "confirmed"


def test_no_comparison_no_verdict() -> None:
    assert verdict([]) == "not testable at this scale"


def test_words_have_the_interval_and_the_number_of_pairs() -> None:
    def by_seed(*values: float) -> Runs:
        runs = {(("init_seed", seed),): value for seed, value in enumerate(values)}
        return Runs(values=runs, cell=None)

    cells = {"soft": by_seed(0.10, 0.12), "hard": by_seed(0.05, 0.06)}
    (one,) = compare(cells, "hard", "greater")
    assert one.in_words().startswith("soft: +5.5 points [")
    assert one.in_words().endswith("n = 2 seeds")
    (other,) = compare(cells, "soft", "less")
    assert other.in_words().startswith("hard: −5.5 points [−")
    assert "-" not in other.in_words()
