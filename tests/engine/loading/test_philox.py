"""The vectorised Philox against numpy's own generator."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.augment.philox import philox_uniform, stream_key

WORD = st.integers(0, 2**64 - 1)


@settings(deadline=None)  # the first call compiles
@given(key=st.tuples(WORD, WORD), counter=WORD, block=WORD)
@example(key=(0, 0), counter=2**64 - 1, block=0)
@example(key=(0, 1), counter=2**64 - 1, block=2**64 - 1)
def test_equals_numpy_bit_for_bit(key: tuple[int, int], counter: int, block: int) -> None:
    words = [np.array(w, np.uint64) for w in (key, [counter, block, 0, 0])]
    generator = np.random.Generator(np.random.Philox(key=words[0], counter=words[1]))
    ours = philox_uniform(key, np.array([counter], np.uint64), block=block)
    assert ours.tolist() == [generator.random(4).tolist()]


def test_a_sample_draws_the_same_whatever_its_neighbours() -> None:
    ids = np.array([7, 3, 1_281_166, 3])
    together = philox_uniform((5, 9), ids)
    alone = np.concatenate([philox_uniform((5, 9), ids[i : i + 1]) for i in range(4)])
    np.testing.assert_array_equal(together, alone)
    assert (together[1] == together[3]).all()
    assert together.min() >= 0
    assert together.max() < 1


def test_streams_seeds_and_epochs_have_their_own_keys() -> None:
    keys = {
        stream_key(name, seed, epoch)
        for name in ("crop", "cutout")
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(keys) == 18


def test_no_counter_gives_no_row() -> None:
    assert philox_uniform((0, 0), np.array([], np.int64)).shape == (0, 4)


@pytest.mark.parametrize("counters", [[-1], [0.5], [[1, 2]]])
def test_bad_counters_are_refused(counters: list[Any]) -> None:
    with pytest.raises(ValueError, match="counters"):
        philox_uniform((0, 0), counters)


def test_bad_words_are_refused() -> None:
    with pytest.raises(ValueError, match=r"key\[1\].*-1"):
        philox_uniform((0, -1), [0])
    with pytest.raises(ValueError, match="augment_seed"):
        stream_key("crop", 2**32, 0)
