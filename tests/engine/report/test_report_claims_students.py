"""Claims beside published numbers, about other students, and what a label is worth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_claim_cells import judged, runs
from report_findings import results_of
from report_synthetic_sweep import grid
from scipy import stats

from engine.analysis.statistics import interval_among
from engine.analysis.worth import Worth
from engine.experiments.learned_labels.reading import Learned
from engine.report.claims.budget_claims import _more_than_one
from engine.report.claims.claims import Judgement, judge
from engine.report.claims.comparisons import Comparison
from engine.report.claims.papers import STATEMENTS
from engine.report.claims.runs import Side
from engine.report.experiments.evidence import evidence_of
from engine.report.experiments.worth import span
from engine.report.published import published_of


def with_student(records: list[dict[str, Any]], **settings: Any) -> list[dict[str, Any]]:
    """The same runs with another student."""
    return [{**each, "student": {**each["student"], **settings}} for each in records]


def test_as_accurate_as_published_allows_a_point(tmp_path: Path) -> None:
    def reaching(name: str, mean: float) -> Judgement:
        return judged(tmp_path / name, "as-published", runs(10, "soft", mean, scatter=0.0005))

    def level(scatter: float) -> list[dict[str, Any]]:
        # The seeds' own effect would hide a point.
        records = runs(10, "soft", 0.34, scatter=scatter)
        for record in records:
            for at in record["result"].values():
                if isinstance(at, dict):
                    at["test"] = 0.343 + 0.0001 * record["seeds"]["init_seed"]
        return records

    assert reaching("a", 0.50).verdict == "confirmed"
    assert reaching("b", 0.20).verdict == "refuted"
    close = judged(tmp_path / "c", "as-published", level(0.0))
    assert close.verdict == "confirmed"
    assert [c.expected for c in close.comparisons] == ["not less", "not less"]


def test_shorter_students_are_told_and_test_nothing(tmp_path: Path) -> None:
    short = with_student(runs(10, "soft", 0.14), epochs=75)
    one = judged(tmp_path, "as-published", short)
    assert one.verdict == "not testable at this scale"
    (told,) = one.numbers
    assert "after 75 epochs" in told
    assert "train for 3,000 at lr 0.01" in told


def test_students_of_another_rate_than_published_are_told_and_test_nothing(tmp_path: Path) -> None:
    tiny = {"name": "tinyimagenet", "num_classes": 200}

    def at_rate(lr: float) -> Judgement:
        own = with_student(runs(10, "soft", 0.30, lr=lr), model="convnet-d4", lr=lr)
        return judged(tmp_path / str(lr), "as-published", own, dataset=tiny)

    assert at_rate(0.1).verdict == "confirmed"
    slow = at_rate(0.01)  # Table 7 has 0.01 at IPC 1 alone
    assert slow.verdict == "not testable at this scale"
    assert "at lr 0.01, which is no test" in slow.numbers[0]
    assert "3,000 at lr 0.1" in slow.numbers[0]


def test_runs_that_could_not_test_a_claim_are_not_said_to_be_missing(tmp_path: Path) -> None:
    def waiting(key: str, dataset: str, student: dict[str, Any], **other: Any) -> int:
        """How many conditions the claim waits for, of students that differ from those that ran."""

        def of(labels: str, settings: dict[str, Any]) -> list[dict[str, Any]]:
            records = with_student(runs(10, labels, 0.1), **settings)
            for each in records:
                del each["cell"]["lr"]  # a sweep tells it of the student
            return records

        ran = [*of("soft", student), *of("hard", student)]
        asked = [*ran, *of("soft", {**student, **other})]
        folder = tmp_path / f"{key}-{dataset}-{student['epochs']}"
        head = {"name": dataset, "num_classes": 1000 if dataset == "imagenet" else 100}
        return len(judged(folder, key, ran, asked=asked, dataset=head).waiting)

    small = {"model": "convnet-d3", "lr": 0.01}
    assert waiting("published-rate", "cifar100", {**small, "epochs": 75}, lr=0.05) == 0
    assert waiting("published-rate", "cifar100", {**small, "epochs": 3000}, lr=0.05) == 1
    large = {"model": "resnet18", "lr": 0.005, "epochs": 3000}
    key, cutmix = "random-under-cutmix", {"augmentation": "cutmix"}
    assert waiting(key, "cifar100", {**small, "epochs": 3000}, **cutmix) == 0
    assert waiting(key, "imagenet", large, **cutmix) == 1


def test_the_published_rate_is_compared_by_students_of_the_published_length(
    tmp_path: Path,
) -> None:
    def tried(**settings: Any) -> list[list[dict[str, Any]]]:
        other = runs(10, "soft", 0.25, scatter=0.0005, lr=0.05)
        main = runs(10, "soft", 0.30, scatter=0.0005)
        main += runs(10, "hard", 0.20)  # the main student is the one with most conditions
        return [with_student(main, **settings), with_student(other, lr=0.05, **settings)]

    long = judged(tmp_path / "a", "published-rate", *tried())
    assert (long.verdict, len(long.comparisons)) == ("confirmed", 1)
    assert long.comparisons[0].difference.mean == pytest.approx(-0.05, abs=0.005)
    short = judged(tmp_path / "b", "published-rate", *tried(epochs=75))
    assert (short.verdict, short.comparisons) == ("not testable at this scale", ())
    assert "students of 75 epochs: lr 0.01 30." in short.numbers[0]


def test_runs_of_the_only_expert_are_not_missing_of_another(tmp_path: Path) -> None:
    first, names = runs(1, "soft", 0.1), ("cifar100-d3-s0", "e1")
    heads = [{"name": name, "run_id": name, "epochs": {"10": {"test": 0.3}}} for name in names]
    other = runs(1, "soft", 0.1, expert="e1")
    for number, asked in enumerate(([*first, *runs(2, "soft", 0.1)], [*first, *other])):
        experts = heads[: number + 1]
        folder = tmp_path / str(number)
        one = judged(folder, "another-expert", first, asked=asked, experts=experts)
        assert len(one.waiting) == number


def test_students_of_another_architecture_have_hard_labels_of_their_own(tmp_path: Path) -> None:
    main = [*runs(10, "soft", 0.3), *runs(10, "hard", 0.2), *runs(10, "soft", 0.2, epoch=4)]
    soft = with_student(runs(10, "soft", 0.15), model="resnet18")
    hard = with_student(runs(10, "hard", 0.10), model="resnet18")
    alone = judged(tmp_path / "a", "another-student", main, soft)
    assert alone.verdict == "not testable at this scale"
    assert "with hard labels not run" in alone.numbers[0]
    both = judged(tmp_path / "b", "another-student", main, soft, hard)
    assert both.verdict == "confirmed"
    assert both.comparisons[0].difference.mean == pytest.approx(0.05, abs=0.005)
    assert set(both.comparisons[0].other.ids) == {each["id"] for each in hard}


def test_random_images_under_cutmix_stand_beside_sre2l_on_imagenet(tmp_path: Path) -> None:
    imagenet = {"name": "imagenet", "num_classes": 1000}

    def of(labels: str, mean: float, augmentation: str) -> list[dict[str, Any]]:
        records = runs(10, labels, mean, lr=0.005)
        return with_student(records, model="resnet18", augmentation=augmentation, lr=0.005)

    groups = [of("soft", 0.24, "rrc"), of("hard", 0.1, "rrc"), of("soft", 0.26, "cutmix")]
    one = judged(tmp_path, "random-under-cutmix", *groups, dataset=imagenet)
    assert one.verdict == "confirmed"
    assert one.comparisons[0].difference.mean == pytest.approx(0.26 - 0.213, abs=0.003)


def test_a_label_is_worth_more_than_an_image_where_hard_labels_need_more(tmp_path: Path) -> None:
    hard = [runs(ipc, "hard", 0.02 + 0.02 * math.log2(ipc)) for ipc in (1, 2, 4, 8)]
    more = judged(tmp_path / "a", "label-worth", runs(1, "soft", 0.06), *hard)
    assert more.verdict == "confirmed"
    # 6 % lie two doublings above one image.
    assert more.comparisons[0].difference.mean == pytest.approx(4 - 1, abs=0.6)
    assert len(more.comparisons[0].other.ids) == 12
    less = judged(tmp_path / "b", "label-worth", runs(8, "soft", 0.03), *hard)
    assert less.verdict == "refuted"


def test_more_than_less_than_an_image_tells_nothing(tmp_path: Path) -> None:
    # Without hard labels at more images than 8, of 8 no label can be shown to be worth one.
    groups = [runs(8, "soft", 0.30), runs(1, "hard", 0.02), runs(4, "hard", 0.06)]
    one = judged(tmp_path, "label-worth", *groups)
    assert one.comparisons == ()
    assert "more than 0.5 hard-labelled images" in one.numbers[0]
    beyond = judged(tmp_path / "b", "label-worth", runs(1, "soft", 0.30), *groups[1:])
    assert beyond.comparisons[0].what.endswith("less 1 (at least)")
    assert beyond.verdict == "confirmed"


def more_than_one(**worth: Any) -> Comparison:
    """What the labels of two images a class are worth, as the claim compares it with one image."""
    side = Side(of="trials")
    return Comparison(
        what="",
        difference=_more_than_one(Worth(**{"ipc": 2, "units": 3, **worth}), 3),
        expected="greater",
        own=side,
        other=side,
        unit="images",
    )


def test_an_interval_beyond_the_hard_labels_measured_has_no_end() -> None:
    comparison = more_than_one(images=100.0, low=math.inf, high=math.inf, kind="more than measured")
    assert (comparison.outcome, comparison.outcome_among(20)) == ("holds", "holds")
    assert comparison.value_in_words() == "+49.00 images [+49.00, no end]"
    below = more_than_one(images=1.0, low=0.0, high=0.0, kind="less than measured")
    assert (below.outcome, below.value_in_words()) == ("contradicts", "−0.50 images [−1.00, −0.50]")
    unknown = Worth(ipc=2, images=100.0, low=None, high=None, kind="interpolated")
    assert _more_than_one(unknown, 1).ci_low is None


def test_an_interval_from_below_to_beyond_the_hard_labels_measured_leaves_all_open() -> None:
    ends: dict[str, Any] = {"low": 0.0, "high": math.inf, "units": 3}
    for kind in ("more than measured", "less than measured", "interpolated"):
        spanning = Worth(ipc=2, images=100.0, kind=kind, **ends)
        assert more_than_one(images=100.0, kind=kind, **ends).outcome == "open"
        assert span(spanning) == "95 % interval from below to beyond the hard labels measured"


def test_several_worths_judged_together_have_the_tails_of_few_runs() -> None:
    found = more_than_one(images=8.0, low=6.0, high=10.0, kind="interpolated", units=3)
    # Of Student's t with 2 degrees of freedom, of which the normal distribution knows nothing.
    wider = stats.t.ppf(1 - 0.025 / 4, 2) / stats.t.ppf(0.975, 2)
    low, high = interval_among(found.difference, 4) or (0.0, 0.0)
    assert (low, high) == pytest.approx((3 - wider, 3 + wider))


def test_learned_labels_are_compared_with_no_correlation_at_all() -> None:
    row = {"epoch": 13, "rank_correlation": 0.2, "intervals": {"rank_correlation": (0.1, 0.3)}}
    best = {"measure": "rank_correlation", "epoch": 13, "low": 7, "high": 24}
    learned = Learned(
        path=Path("learned/ipc-1"),
        id="1" * 16,
        manifest={"knowledge_free": True},
        ids=np.arange(2),
        labels=np.arange(2),
        logits_nk=np.zeros((2, 100), np.float32),
        initial_logits_nk=np.zeros((2, 100), np.float32),
        step=2,
        history=(),
        comparisons=({"expert": "d3", "table": [row], "best": [best], "images": 100},),
    )
    evidence = evidence_of(results_of(grid({(1, 13): 0.1})), ("final", "test"), learned=(learned,))
    one = next(each for each in judge(evidence) if each.key == "learned-resemble")
    (comparison,) = one.comparisons
    assert one.verdict == "confirmed"
    assert comparison.in_words().endswith("+0.20 rank correlation [+0.10, +0.30], n = 100 images")
    assert (comparison.own.of, comparison.own.ids) == ("learned labels", ("1" * 16,))


@pytest.mark.parametrize(
    ("dataset", "classes"),
    [("imagenet", 1000), ("tinyimagenet", 200), ("cifar10", 10), ("cifar100", 100)],
)
def test_what_was_published_can_be_told_of_every_dataset(dataset: str, classes: int) -> None:
    published = published_of(dataset, (), classes)
    assert published is not None
    told = {key: each.published(published) for key, each in STATEMENTS.items()}
    assert told["best-epoch-grows"]
    assert told["published-rate"]
    assert "None" not in " ".join(told.values())
    assert bool(told["random-under-cutmix"]) == (dataset == "imagenet")
    assert bool(told["swap"]) == (dataset == "cifar100")


def test_published_numbers_are_told_as_they_were_printed() -> None:
    published = published_of("cifar100", (), 100)
    assert published is not None
    told = {key: each.published(published) for key, each in STATEMENTS.items()}
    assert "IPC 10 32.5 % against 19 %" in told["soft-beats-hard"]
    assert "soft labels (reproduction): IPC 1 15 ± 0.2 %" in told["as-published"]
    assert "IPC 50: epoch 4 18.9 % → epoch 125 45.9 %" in told["rises-then-falls"]
    assert "IPC 1: epoch 15 15.2 %, epoch 125 8.2 %" in told["early-beats-late"]
    assert "IPC 10 34.9 % without noise, 33.1 % with 10 % of it in 50 %" in told["noise-costs"]
    assert "epoch 4: 18.3 %, 4.08 nats" in told["entropy-falls"]
