"""Images chosen by an expert's scores, against plain loops: deciles, strata, centres, means."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.augment import philox_uniform, stream_key
from engine.errors import UsageError
from engine.experiments import Pool, centred, parse_selection

SCORED = ["difficulty:0", "difficulty:6", "stratified", "k-centre", "herding"]


def pool_of(
    generator: np.random.Generator, sizes: tuple[int, ...] = (30, 30, 37), *, coarse: bool = False
) -> Pool:
    """Classes of these sizes in any order, a tenth of the samples not to choose from."""
    labels = generator.permutation(np.repeat(np.arange(len(sizes)), [size + 3 for size in sizes]))
    kept = [np.flatnonzero(labels == k)[:size] for k, size in enumerate(sizes)]
    nats = generator.exponential(size=len(labels))
    return Pool(
        labels=labels,
        candidates=np.sort(np.concatenate(kept)),
        classes=tuple("abcdef"[: len(sizes)]),
        difficulty=(np.round(nats) if coarse else nats).astype(np.float32),
        features=generator.normal(size=(len(labels), 4)).astype(np.float32),
    )


pools = st.builds(
    lambda seed, coarse: pool_of(np.random.default_rng(seed), coarse=coarse),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)


def by_difficulty(pool: Pool, number: int) -> list[int]:
    """Candidates of a class, easiest first."""
    ids = [int(each) for each in pool.candidates if pool.labels[each] == number]
    return sorted(ids, key=lambda each: (pool.difficulty[each], each))


def decile_of(pool: Pool, sample: int) -> int:
    ordered = by_difficulty(pool, pool.labels[sample])
    return 10 * ordered.index(sample) // len(ordered)


def in_drawn_order(ids: list[int], seed: int) -> list[int]:
    drawn = philox_uniform(stream_key("subset", seed, 0), np.array(ids))[:, 0]
    return [ids[place] for place in np.argsort(drawn)]


@given(pools, st.integers(0, 9), st.integers(1, 3), st.integers(0, 999))
def test_images_of_one_decile_of_every_class_are_drawn_at_random(pool, decile, ipc, seed) -> None:
    chosen = parse_selection(f"difficulty:{decile}")(pool, ipc, seed)
    expected: list[int] = []
    for number in range(3):
        ids = [each for each in by_difficulty(pool, number) if decile_of(pool, each) == decile]
        expected += in_drawn_order(ids, seed)[:ipc]
    assert chosen.tolist() == expected


@given(pools)
def test_deciles_part_a_class_evenly_and_in_order(pool) -> None:
    of_class = [
        {d: [s for s in by_difficulty(pool, k) if decile_of(pool, s) == d] for d in range(10)}
        for k in range(3)
    ]
    for deciles in of_class:
        assert {len(ids) for ids in deciles.values()} <= {3, 4}
        hardest = [max(pool.difficulty[ids]) for ids in deciles.values()]
        easiest = [min(pool.difficulty[ids]) for ids in deciles.values()]
        assert all(a <= b for a, b in zip(hardest, easiest[1:], strict=False))
    for decile, ipc in itertools.product(range(10), (3, 4)):
        enough = all(len(deciles[decile]) >= ipc for deciles in of_class)
        select = parse_selection(f"difficulty:{decile}")
        if enough:
            assert len(select(pool, ipc, 0)) == 3 * ipc
        else:
            with pytest.raises(UsageError, match=rf"what {select} chooses from.*up to 3"):
                select.check(pool, ipc)


@given(pools, st.integers(0, 999))
def test_ten_stratified_images_are_one_of_each_decile(pool, seed) -> None:
    chosen = parse_selection("stratified")(pool, 10, seed).reshape(3, 10)
    for number, ids in enumerate(chosen):
        assert {pool.labels[each] for each in ids} == {number}
        assert sorted(decile_of(pool, each) for each in ids) == list(range(10))


@given(pools, st.integers(1, 30), st.integers(0, 999))
def test_stratified_images_are_spread_as_evenly_as_can_be(pool, ipc, seed) -> None:
    for ids in parse_selection("stratified")(pool, ipc, seed).reshape(3, ipc):
        counts = np.bincount([decile_of(pool, each) for each in ids], minlength=10)
        assert counts.max() - counts.min() <= 1
        for decile in range(10):  # within a stratum, at random
            of_class = by_difficulty(pool, pool.labels[ids[0]])
            stratum = [each for each in of_class if decile_of(pool, each) == decile]
            taken = [each for each in ids if each in stratum]
            assert taken == in_drawn_order(stratum, seed)[: counts[decile]]


@given(pools, st.integers(0, 999))
def test_few_stratified_images_lie_far_apart(pool, seed) -> None:
    for first, second, *_ in parse_selection("stratified")(pool, 5, seed).reshape(3, 5):
        assert abs(decile_of(pool, first) - decile_of(pool, second)) == 5


def test_with_one_stratified_image_every_decile_is_equally_likely() -> None:
    pool = pool_of(np.random.default_rng(0), (20,))
    select = parse_selection("stratified")
    found = [decile_of(pool, int(select(pool, 1, seed)[0])) for seed in range(2000)]
    assert abs(np.bincount(found, minlength=10) - 200).max() < 70  # five standard deviations: 67


def farthest_first(rows: np.ndarray, count: int) -> list[int]:
    chosen = [int(np.argmin([np.linalg.norm(row - rows.mean(axis=0)) for row in rows]))]
    while len(chosen) < count:
        left = [i for i in range(len(rows)) if i not in chosen]
        gaps = [min(np.linalg.norm(rows[i] - rows[j]) for j in chosen) for i in left]
        chosen.append(left[int(np.argmax(gaps))])
    return chosen


def nearest_mean(rows: np.ndarray, count: int) -> list[int]:
    chosen: list[int] = []
    for _ in range(count):
        left = [i for i in range(len(rows)) if i not in chosen]
        gaps = [np.linalg.norm(rows.mean(axis=0) - rows[[*chosen, i]].mean(axis=0)) for i in left]
        chosen.append(left[int(np.argmin(gaps))])
    return chosen


@pytest.mark.parametrize(
    ("name", "loop"), [("k-centre", farthest_first), ("herding", nearest_mean)]
)
@settings(max_examples=20)
@given(pool=pools, ipc=st.integers(1, 12))
def test_anchors_are_those_of_a_plain_loop(name, loop, pool, ipc) -> None:
    expected = []
    for number in range(3):
        ids = pool.candidates[pool.labels[pool.candidates] == number]
        expected += ids[loop(pool.features[ids].astype(np.float64), ipc)].tolist()
    select = parse_selection(name)
    assert select(pool, ipc, 0).tolist() == expected
    assert select(pool, ipc, 1).tolist() == expected  # the seed has no influence
    assert not select.seeded


def test_herding_finds_the_mean_and_k_centre_the_corners() -> None:
    corners = np.array([[-9, -9], [-9, 9], [9, -9], [9, 9]], np.float32)
    rows = np.concatenate([np.random.default_rng(0).normal(size=(60, 2)), corners])
    every = np.arange(len(rows))
    pool = Pool(labels=0 * every, candidates=every, classes=("a",), features=rows)
    assert {60, 61, 62, 63} <= set(parse_selection("k-centre")(pool, 5, 0).tolist())

    def gap(ids: np.ndarray) -> float:
        return float(np.linalg.norm(rows[ids].mean(axis=0) - rows.mean(axis=0)))

    by_chance = [gap(parse_selection("random")(pool, 8, seed)) for seed in range(50)]
    assert gap(parse_selection("herding")(pool, 8, 0)) < min(by_chance) / 2


def test_equal_images_are_taken_once_each() -> None:
    every = np.arange(6)
    pool = Pool(
        labels=0 * every, candidates=every, classes=("a",), features=np.ones((6, 2), np.float32)
    )
    for name in ("k-centre", "herding"):
        assert parse_selection(name)(pool, 6, 0).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", SCORED)
@settings(max_examples=20)
@given(pool=pools, seed=st.integers(0, 999))
def test_scored_subsets_are_nested_and_the_same_again(name, pool, seed) -> None:
    select = parse_selection(name)
    subsets = [select(pool, ipc, seed) for ipc in (1, 2, 3)]
    assert subsets[2].tolist() == select(pool, 3, seed).tolist()
    for inner, outer in itertools.pairwise(subsets):
        assert set(inner) <= set(outer)
        assert np.isin(outer, pool.candidates).all()
        assert len(set(outer.tolist())) == len(outer)


@pytest.mark.parametrize("name", SCORED)
def test_the_order_of_candidates_has_no_influence(name: str) -> None:
    pool = pool_of(np.random.default_rng(3))
    turned = Pool(**{**vars(pool), "candidates": pool.candidates[::-1].copy()})
    select = parse_selection(name)
    assert select(pool, 3, 7).tolist() == select(turned, 3, 7).tolist()


@pytest.mark.parametrize("name", SCORED)
def test_an_expert_that_diverged_scores_nothing(name: str) -> None:
    pool = pool_of(np.random.default_rng(0))
    pool.difficulty[pool.candidates[4]] = np.nan
    pool.features[pool.candidates[4]] = np.inf
    with pytest.raises(UsageError, match="choose another epoch"):
        parse_selection(name)(pool, 1, 0)


def test_centring_takes_out_what_softmax_ignores() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    shifted = logits + np.arange(5, dtype=np.float32)[:, None]
    np.testing.assert_allclose(centred(shifted), centred(logits), atol=1e-6)
    np.testing.assert_allclose(centred(logits).sum(axis=1), 0, atol=1e-5)
    assert centred(logits.astype(np.float16)).dtype == np.float32
