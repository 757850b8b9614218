"""The order of an epoch: a permutation, tiled exactly by batches and ranks."""

from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.loading.errors import InvalidRequest
from engine.loading.order import EpochPlan, epoch_order, plan_epoch

SUBSETS = st.lists(st.integers(0, 10_000), unique=True, max_size=60)
SEEDS = st.integers(0, 2**64 - 1)


def batches_of(plan: EpochPlan) -> list[list[int]]:
    return [plan.batch_ids(k).tolist() for k in range(plan.num_batches)]


@given(indices=SUBSETS, seed=SEEDS, epoch=st.integers(0, 1000))
def test_an_epoch_is_a_permutation_and_repeats_itself(
    indices: list[int], seed: int, epoch: int
) -> None:
    order = epoch_order(np.array(indices, np.int64), seed, epoch)
    assert sorted(order.tolist()) == sorted(indices)
    np.testing.assert_array_equal(order, epoch_order(np.array(indices, np.int64), seed, epoch))


def test_order_is_numpys_philox_keyed_on_seed_and_epoch() -> None:
    key = np.array([3, 4], np.uint64)
    expected = np.random.Generator(np.random.Philox(key=key)).permutation(np.arange(5, 100))
    np.testing.assert_array_equal(epoch_order(np.arange(5, 100), 3, 4), expected)


def test_seed_0_epoch_1_is_not_seed_1_epoch_0() -> None:
    assert epoch_order(np.arange(50), 0, 1).tolist() != epoch_order(np.arange(50), 1, 0).tolist()


@given(
    indices=SUBSETS,
    batch_size=st.integers(1, 20),
    world=st.integers(1, 9),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
def test_ranks_together_see_the_batches_of_one(
    indices: list[int], batch_size: int, world: int, shuffle: bool, drop_last: bool
) -> None:
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "shuffle": shuffle,
        "drop_last": drop_last,
        "seed": 7,
    }
    whole = batches_of(plan_epoch(indices, **options))
    shares = [
        batches_of(plan_epoch(indices, rank=rank, world=world, **options)) for rank in range(world)
    ]
    assert [list(chain(*parts)) for parts in zip(*shares, strict=True)] == whole
    assert all(len(share) == len(whole) for share in shares)
    assert all(max(map(len, p)) - min(map(len, p)) <= 1 for p in zip(*shares, strict=True))
    kept = len(indices) // batch_size * batch_size if drop_last else len(indices)
    assert sum(map(len, whole)) == kept


@given(indices=SUBSETS, batch_size=st.integers(1, 9), world=st.integers(1, 3), data=st.data())
def test_starting_in_mid_epoch_gives_its_tail(
    indices: list[int], batch_size: int, world: int, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(0, world - 1))
    plan = plan_epoch(indices, batch_size=batch_size, rank=rank, world=world, epoch=2)
    start = data.draw(st.integers(0, plan.num_batches))
    tail = plan_epoch(indices, batch_size=batch_size, rank=rank, world=world, epoch=2, start=start)
    assert batches_of(tail) == batches_of(plan)[start:]


def test_evaluation_order_is_the_order_given() -> None:
    plan = plan_epoch([9, 2, 5], batch_size=2, shuffle=False)
    assert batches_of(plan) == [[9, 2], [5]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"rank": 2, "world": 2}, "rank 2 of world 2"),
        ({"start": 3}, "expected 0 to 2"),
        ({"seed": -1}, "seed"),
        ({"indices": [0.5]}, "integers"),
    ],
)
def test_what_is_out_of_range_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        plan_epoch(**{"indices": [1, 2, 3], "batch_size": 2, **wrong})  # type: ignore[arg-type]
