"""Halving as logic: which trials ask one question, who goes on, and that test plays no part."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from halving_cases import (
    answers,
    grid,
    hard_trial,
    pairs,
    plan,
    quality,
    soft_trial,
    student_of,
    teacher_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.experiments import parse_selection
from engine.sweep.halving.questions import FAILED, shorten_student
from engine.sweep.planning.grid import StudentAxes
from engine.sweep.planning.trial import Trial
from engine.training import Seeds
from engine.training.optimise import Schedule


def same_seeds(seed: int) -> Seeds:
    return Seeds(subset_seed=seed, init_seed=seed, order_seed=seed, augment_seed=seed)


def test_the_best_pair_is_found_and_runs_at_full_length_with_all_seeds() -> None:
    halving = plan(grid(seeds=(0, 1, 2)))
    winners = halving.winners(answers(halving, quality))
    assert pairs(winners) == {(0.01, 7)}
    assert sorted(t.seeds.init_seed for t in winners) == [0, 1, 2]
    assert {t.student.epochs for t in winners} == {90}


def test_rungs_are_as_many_and_as_long_as_the_rule_says() -> None:
    halving = plan(grid())
    scores: dict[str, float] = {}
    seen = []
    while trials := halving.next_rung(scores):
        seen.append((len(trials), {t.student.epochs for t in trials}))
        assert {t.seeds for t in trials} == {same_seeds(0)}
        scores |= {trial.id: quality(trial) for trial in trials}
    assert seen == [(9, {10}), (3, {30})]


def test_a_question_is_all_but_learning_rate_expert_epoch_and_seeds() -> None:
    trials = [
        *grid(ipcs=(1, 5)),
        *(soft_trial(expert_epoch=epoch, expert="bob") for epoch in (4, 7)),
        *(soft_trial(expert_epoch=(4, 7), lr=lr) for lr in (0.01, 0.1)),
        *(hard_trial(lr=lr) for lr in (0.001, 0.01)),
        hard_trial(epochs=30),
    ]
    halving = plan(trials)
    sizes = {question.name: len(question.candidates) for question in halving.questions}
    assert sizes == {
        "ipc 1, labels soft, expert ada, epochs 90": 9,
        "ipc 5, labels soft, expert ada, epochs 90": 9,
        "ipc 1, labels soft, expert bob, epochs 90": 2,
        "ipc 1, labels soft, expert ada, ensemble 4+7, epochs 90": 2,
        "ipc 1, labels hard, epochs 90": 2,
        "ipc 1, labels hard, epochs 30": 1,
    }


def test_hard_labels_on_images_that_two_experts_chose_are_two_questions() -> None:
    """Rungs are of students on the same images: the short ones keep their scorer, too."""
    trials = [
        replace(
            hard_trial(lr=lr, seed=seed),
            selection=parse_selection("herding@4"),
            scorer=teacher_of(4, expert=expert),
        )
        for expert in ("ada", "bob")
        for lr in (0.01, 0.1, 1.0)
        for seed in (0, 1)
    ]
    halving = plan(trials)
    assert len(halving.questions) == 2
    scorers = [{trial.scorer for trial in halving.next_rung({})}]
    assert scorers == [{teacher_of(4, expert="ada"), teacher_of(4, expert="bob")}]


def test_questions_are_answered_apart() -> None:
    """IPC 1 does best at expert epoch 4 and IPC 5 at 10, whatever the other one does."""
    best = {1: 4, 5: 10}

    def accuracy(trial: Trial) -> float:
        return 0.5 - abs(trial.teacher.epochs[0] - best[trial.ipc]) / 100 - trial.student.lr

    halving = plan(grid(ipcs=(1, 5)))
    winners = halving.winners(answers(halving, accuracy))
    assert {t.ipc: (t.student.lr, t.teacher.epochs[0]) for t in winners} == {
        1: (0.001, 4),
        5: (0.001, 10),
    }


def test_what_has_one_candidate_is_reported_without_being_asked() -> None:
    only = [soft_trial(ipc=5, seed=seed) for seed in (0, 1)]
    halving = plan([*grid(), *only])
    scores = answers(halving, quality)
    assert {t.id for t in only} <= {t.id for t in halving.winners(scores)}
    assert {t.ipc for rung in halving.rungs for t in rung} == {1}


@given(
    num_lrs=st.integers(1, 6),
    num_epochs=st.integers(1, 8),
    eta=st.integers(2, 4),
    epochs=st.integers(8, 400),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_the_winner_of_a_problem_without_noise_always_survives(
    num_lrs: int, num_epochs: int, eta: int, epochs: int, order: random.Random
) -> None:
    """Accuracy grows with length at the candidate's own pace, in one order at every length."""
    lrs = [0.001 * 2**i for i in range(num_lrs)]
    expert_epochs = list(range(num_epochs))
    trials = grid(lrs=lrs, expert_epochs=expert_epochs, epochs=epochs, seeds=(3, 1))
    places = list(range(num_lrs * num_epochs))
    order.shuffle(places)
    place = dict(zip(sorted(pairs(trials)), places, strict=True))
    order.shuffle(trials)

    def accuracy(trial: Trial) -> float:
        own = place[trial.student.lr, trial.teacher.epochs[0]]
        return (1 - math.exp(-trial.student.epochs / epochs)) * (1 + own) / (2 + len(places))

    if len(places) == 1:
        with pytest.raises(UsageError, match="one of each"):
            plan(trials, eta=eta)
        return
    halving = plan(trials, eta=eta)
    scores = answers(halving, accuracy)
    winners = halving.winners(scores)
    best = max(place, key=lambda pair: place[pair])
    assert best in pairs(winners)
    (question,) = halving.questions
    expected = len(places)
    for decision in halving.decisions(scores):
        assert len(decision.ranked) == max(1, len(places) // eta**decision.rung)
        assert decision.epochs == math.ceil(epochs / eta ** (len(question.lengths) - decision.rung))
        assert len(decision.kept) == (expected := max(1, expected // eta))
    assert len(winners) == 2 * expected
    assert {t.seeds for t in winners} == {same_seeds(1), same_seeds(3)}
    assert [len(rung) for rung in halving.rungs] == [
        len(decision.ranked) for decision in halving.decisions(scores)
    ]


@given(known=st.data())
@settings(max_examples=40, deadline=None)
def test_what_is_asked_next_depends_on_nothing_but_the_scores(known: st.DataObject) -> None:
    """However the scores came in, and whatever is missing, the same trials end up scored."""
    trials = grid(ipcs=(1, 5))
    whole = answers(plan(trials), quality)
    kept = known.draw(st.sets(st.sampled_from(sorted(whole))))
    halving = plan(known.draw(st.permutations(trials)))
    scores = {trial_id: whole[trial_id] for trial_id in kept}
    asked: list[str] = []
    while lacking := halving.next_rung(scores):
        asked += [trial.id for trial in lacking]
        scores |= {trial.id: quality(trial) for trial in lacking}
    assert sorted(asked) == sorted(set(whole) - kept)
    assert [t.id for t in halving.winners(scores)] == [t.id for t in plan(trials).winners(whole)]


def test_nothing_wins_before_the_last_rung_is_decided() -> None:
    halving = plan(grid())
    first = {trial.id: quality(trial) for trial in halving.next_rung({})}
    assert len(halving.decisions(first)) == 1
    assert halving.winners(first) == []
    assert halving.winners({}) == []


def test_equals_go_by_the_earlier_expert_then_by_the_lower_learning_rate() -> None:
    halving = plan(grid())
    assert pairs(halving.winners(answers(halving, lambda _trial: 0.5))) == {(0.001, 4)}
    crossed = plan([t for t in grid() if pairs([t]) <= {(0.001, 7), (0.1, 4), (0.01, 4)}])
    assert pairs(crossed.winners(answers(crossed, lambda _trial: 0.5))) == {(0.01, 4)}


def test_equals_of_a_rung_go_by_that_rung_alone() -> None:
    """The earlier expert wins the tie of the last rung though it was behind in the first."""
    halving = plan(grid(lrs=(0.01,), expert_epochs=range(9)))

    def accuracy(trial: Trial) -> float:
        return 0.5 if trial.student.epochs == 30 else trial.teacher.epochs[0] / 100

    assert pairs(halving.winners(answers(halving, accuracy))) == {(0.01, 6)}


def test_a_failed_candidate_goes_no_further_however_few_are_left() -> None:
    halving = plan(grid())
    scores = answers(halving, lambda t: FAILED if t.student.lr > 0.001 else quality(t))
    assert pairs(halving.winners(scores)) == {(0.001, 7)}
    one_left = answers(halving, lambda t: quality(t) if pairs([t]) == {(0.1, 10)} else FAILED)
    assert pairs(halving.winners(one_left)) == {(0.1, 10)}
    assert not halving.unanswerable(one_left)


def test_a_question_whose_students_all_fail_has_no_winner_and_others_have() -> None:
    halving = plan(grid(ipcs=(1, 5)))
    scores = answers(halving, lambda t: FAILED if t.ipc == 5 else quality(t))
    assert {t.ipc for t in halving.winners(scores)} == {1}
    (decision,) = halving.unanswerable(scores)
    assert (decision.question.name, decision.rung, len(decision.trials)) == (
        "ipc 5, labels soft",
        0,
        9,
    )


def test_several_seeds_are_averaged() -> None:
    """One seed would choose epoch 4, two choose epoch 7."""
    accuracy = {(4, 0): 0.6, (4, 1): 0.1, (7, 0): 0.5, (7, 1): 0.5}
    trials = grid(lrs=(0.01,), expert_epochs=(4, 7), seeds=(0, 1, 2))

    def measured(trial: Trial) -> float:
        return accuracy[trial.teacher.epochs[0], trial.seeds.init_seed]

    one, two = plan(trials), plan(trials, num_seeds=2)
    assert pairs(one.winners(answers(one, measured))) == {(0.01, 4)}
    assert pairs(two.winners(answers(two, measured))) == {(0.01, 7)}


def test_short_students_bound_the_rungs_and_the_rest_is_trained() -> None:
    halving = plan(grid(), min_epochs=30)
    assert [{t.student.epochs for t in rung} for rung in halving.rungs] == [{30}]
    winners = halving.winners(answers(halving, quality))
    assert len(pairs(winners)) == 3
    assert len(winners) == 6


@pytest.mark.parametrize("kind", ["step", "cosine", "constant"])
@given(epochs=st.integers(1, 500), full=st.integers(1, 3000))
@settings(max_examples=30, deadline=None)
def test_a_short_student_is_the_one_that_a_plan_of_that_length_would_have(
    kind: str, epochs: int, full: int
) -> None:
    axes = StudentAxes(schedule=Schedule(kind=kind), resolution=16, epochs=full)
    (student,) = axes.recipes()
    (expected,) = axes.model_copy(update={"epochs": epochs, "evaluations": 1}).recipes()
    assert shorten_student(student, epochs) == expected


def test_lengths_of_a_schedule_that_were_given_shrink_in_proportion() -> None:
    student = student_of(epochs=90, schedule=Schedule(kind="step", every=60, factor=0.3))
    assert shorten_student(student, 30).schedule.every == 20
    assert shorten_student(student, 1).schedule.every == 1


def test_a_dry_run_says_what_halving_costs_against_the_full_grid() -> None:
    halving = plan(grid(ipcs=(1, 5), seeds=(0, 1, 2)))
    described = halving.describe()
    assert (described["questions"], described["candidates"]) == (2, 18)
    images = 3 * (1 + 5)
    assert described["rungs"] == [
        {
            "rung": 0,
            "epochs": [10],
            "trials": 18,
            "training_images": 9 * 10 * images,
            "evaluation_images": 18 * 60,
        },
        {
            "rung": 1,
            "epochs": [30],
            "trials": 6,
            "training_images": 3 * 30 * images,
            "evaluation_images": 6 * 60,
        },
    ]
    assert described["reported"]["trials"] == 6
    assert described["reported"]["training_images"] == 3 * 90 * images
    assert described["full_grid"]["trials"] == 54
    assert described["full_grid"]["training_images"] == 27 * 90 * images
    evaluated = 18 * 60 + 6 * 60 + 6 * 15 * 60
    assert described["share"] == pytest.approx(
        (images * (90 + 90 + 270) + evaluated / 3) / (images * 27 * 90 + 54 * 15 * 60 / 3)
    )


@pytest.mark.parametrize(
    ("trials", "options", "message"),
    [
        (grid(), {"num_validation": 0}, "no validation split"),
        (grid(epochs=20), {"min_epochs": 10}, "at least 10 epochs first, 3 times fewer"),
        (grid(lrs=(0.1,), expert_epochs=(4,)), {}, "one of each"),
        (grid(), {"eta": 1}, "eta of halving is 1: expected at least 2"),
        (grid(), {"min_epochs": 0}, "min_epochs"),
        (grid(), {"num_seeds": 0}, "num_seeds"),
    ],
)
def test_what_cannot_be_halved_is_refused(trials, options, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refusal:
        plan(trials, **options)
    assert refusal.value.exit_code == 2
