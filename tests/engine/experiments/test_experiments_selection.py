"""Which images a student gets: names and parameters, and those drawn at random."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.experiments import (
    Pool,
    hard_targets,
    parse_selection,
    select_random,
    selection,
    selection_forms,
)
from engine.experiments.selection.named import _KNOWN

CLASSES = ("a", "b", "c", "d")


def pool_of(labels: np.ndarray, candidates: np.ndarray | None = None) -> Pool:
    every = np.arange(len(labels)) if candidates is None else candidates
    return Pool(labels=labels, candidates=every, classes=CLASSES[: labels.max() + 1])


@given(st.integers(0, 2**32 - 1), st.integers(1, 10))
def test_every_class_gets_its_images_once(seed: int, ipc: int) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), 25))
    candidates = np.setdiff1d(np.arange(100), np.arange(0, 100, 11))
    chosen = select_random(labels, candidates, ipc, seed, CLASSES)
    assert np.array_equal(labels[chosen], np.repeat(np.arange(4), ipc))
    assert len(set(chosen)) == 4 * ipc
    assert np.isin(chosen, candidates).all()
    named = parse_selection("random")(pool_of(labels, candidates), ipc, seed)
    assert np.array_equal(named, chosen)


@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 9))
def test_subsets_of_one_seed_are_nested(seed: int, small: int, large: int) -> None:
    small, large = sorted((small, large))
    labels, every = np.repeat(np.arange(4), 10), np.arange(40)
    inner = select_random(labels, every, small, seed, CLASSES)
    outer = select_random(labels, every, large, seed, CLASSES)
    assert set(inner) <= set(outer)


def test_images_of_a_class_are_drawn_evenly() -> None:
    labels, every = np.zeros(20, np.int64), np.arange(20)
    counts = np.bincount(
        np.concatenate([select_random(labels, every, 5, seed, ("a",)) for seed in range(2000)]),
        minlength=20,
    )
    # 500 expected each; five standard deviations of a binomial are about 97.
    assert abs(counts - 500).max() < 100


def test_random_subsets_are_those_that_sweeps_of_the_past_have_seen() -> None:
    """Pinned: computed before selections had parameters. Records rest on it."""
    labels = np.arange(40) % 4
    chosen = select_random(labels, np.arange(3, 40), 2, 5, CLASSES)
    assert chosen.tolist() == PINNED


PINNED = [4, 20, 9, 37, 18, 10, 7, 3]


def test_an_ipc_above_the_smallest_class_is_refused_naming_it() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    with pytest.raises(UsageError, match=r"'b' has 2 images.*up to 2"):
        select_random(labels, np.arange(5), 3, 0, ("a", "b"))
    with pytest.raises(UsageError, match="at least 1, not 0"):
        select_random(labels, np.arange(5), 0, 0, ("a", "b"))


@given(st.integers(0, 1000), st.integers(1, 5), st.integers(0, 3))
def test_a_dropped_class_leaves_the_images_of_the_others_as_they_are(seed, ipc, dropped) -> None:
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(4), 9))
    pool, select = pool_of(labels), parse_selection(f"drop-class:{dropped}")
    chosen = select(pool, ipc, seed)
    everything = parse_selection("random")(pool, ipc, seed)
    assert chosen.tolist() == [each for each in everything if labels[each] != dropped]
    assert len(chosen) == ipc * select.num_classes(4)


def test_the_dropped_class_need_not_have_any_images() -> None:
    labels = np.array([0, 0, 1, 2, 2])
    assert len(parse_selection("drop-class:1")(pool_of(labels), 2, 0)) == 4
    with pytest.raises(UsageError, match="'b' has 1 images"):
        parse_selection("drop-class:0")(pool_of(labels), 2, 0)
    with pytest.raises(UsageError, match="leaves no class"):
        parse_selection("drop-class:0").num_classes(1)


@pytest.mark.parametrize(
    "spelling",
    ["random", "drop-class:7", "difficulty:3", "difficulty:3@41", "stratified@24", "stratified",
     "k-centre@41", "k-centre", "herding@0"],
)  # fmt: skip
def test_a_selection_is_written_in_one_way(spelling: str) -> None:
    assert str(parse_selection(spelling)) == spelling
    assert str(parse_selection(f" {spelling} ")) == spelling


def test_other_spellings_come_down_to_one() -> None:
    assert str(parse_selection("difficulty: 03@041")) == "difficulty:3@41"
    assert parse_selection("difficulty:3").at_epoch(41) == "difficulty:3@41"
    assert parse_selection("difficulty:3@4").at_epoch(41) == "difficulty:3@41"


@pytest.mark.parametrize(
    ("spelling", "message"),
    [
        ("randm", "unknown selection 'randm'; did you mean random"),
        (
            "k-center@4",
            r"unknown selection 'k-center@4'; did you mean k-centre\[@EPOCH\]\? known: ",
        ),
        ("loss", r"known: difficulty:decile\[@EPOCH\], drop-class:number, .* random, stratified"),
        ("", "unknown selection ''"),
        ("difficulty", r"expected difficulty:decile\[@EPOCH\], found 0 values"),
        ("difficulty:1,2@4", r"expected difficulty:decile\[@EPOCH\], found 2 values"),
        ("difficulty:easy", "invalid literal.*expected difficulty:decile"),
        ("stratified:3", r"expected stratified\[@EPOCH\], found 1 value"),
        ("random@4", "no expert is asked; expected random"),
        ("drop-class:7@4", "no expert is asked; expected drop-class:number"),
        ("herding@best", r"'best' is no epoch; expected herding\[@EPOCH\]"),
        ("herding@", "'' is no epoch"),
        ("herding@-1", "'-1' is no epoch"),
    ],
)
def test_what_can_not_be_meant_is_refused(spelling: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_selection(spelling)


@pytest.mark.parametrize(
    ("spelling", "message"),
    [
        ("drop-class:4", "has 4 classes, expected a number from 0 to 3"),
        ("drop-class:-1", "expected a number from 0 to 3"),
        ("difficulty:10", "expected a decile from 0"),
        ("difficulty:-1", "expected a decile from 0"),
    ],
)
def test_parameters_are_checked_before_anything_starts(spelling: str, message: str) -> None:
    select = parse_selection(spelling)
    with pytest.raises(UsageError, match=message):
        select.check(pool_of(np.arange(40) % 4), 1)
    with pytest.raises(UsageError, match=message):
        select.num_classes(4)


def test_one_decorated_function_adds_a_selection() -> None:
    @selection()
    def every_nth(pool, images_per_class, subset_seed, step: int, first: int = 0):
        of_class = [pool.candidates[pool.candidate_classes == k] for k in range(2)]
        return np.concatenate([ids[first::step][:images_per_class] for ids in of_class])

    try:
        assert "every-nth" in selection_forms()
        select = parse_selection("every-nth:3")
        assert str(select) == "every-nth:3,0"
        assert select(pool_of(np.repeat([0, 1], 10)), 2, 0).tolist() == [0, 3, 10, 13]
    finally:
        del _KNOWN["every-nth"]


def test_hard_targets_are_one_hot() -> None:
    rows = hard_targets(np.array([2, 0]), 3)
    np.testing.assert_array_equal(rows, [[0, 0, 1], [1, 0, 0]])
