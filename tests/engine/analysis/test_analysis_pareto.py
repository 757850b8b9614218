"""The Pareto front and the best epoch of every IPC, against brute force and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis import Measured, pareto_front


def seeds(number, subset=None):
    return (("init_seed", number), ("subset_seed", number if subset is None else subset))


def cell(ipc, epoch, values):
    return Measured(
        ipc=ipc, expert_epoch=epoch, values={seeds(i): value for i, value in enumerate(values)}
    )


@given(
    st.dictionaries(
        st.tuples(st.integers(1, 4), st.integers(1, 4)), st.floats(0, 1), min_size=1, max_size=10
    )
)
def test_front_is_what_comparing_all_pairs_gives(accuracies):
    found = pareto_front([cell(*place, [value]) for place, value in accuracies.items()])
    assert [(point.ipc, point.expert_epoch) for point in found] == sorted(accuracies)
    for point in found:
        dominated = any(
            ipc <= point.ipc and epoch <= point.expert_epoch and value >= point.mean
            for (ipc, epoch), value in accuracies.items()
            if (ipc, epoch) != (point.ipc, point.expert_epoch)
        )
        assert point.on_front == (not dominated)


def test_clear_winners_win_every_draw_and_shares_of_an_ipc_add_up_to_one():
    points = [
        cell(1, 4, [0.10, 0.11, 0.12]),
        cell(1, 13, [0.15, 0.16, 0.17]),
        cell(1, 41, [0.11, 0.12, 0.13]),
        cell(10, 4, [0.20, 0.21, 0.22]),
        cell(10, 41, [0.30, 0.31, 0.32]),
    ]
    found = {(p.ipc, p.expert_epoch): p for p in pareto_front(points)}
    assert [found[1, epoch].share for epoch in (4, 13, 41)] == [0, 1, 0]
    assert [found[10, epoch].share for epoch in (4, 41)] == [0, 1]
    # Later and worse than epoch 13 of the same images; later and more images, but better.
    assert not found[1, 41].on_front
    assert found[10, 41].on_front
    assert found[1, 41].front_share == 0


def test_seeds_shared_by_two_cells_tell_a_small_difference_that_single_cells_hide():
    level = [0.1, 0.2, 0.3, 0.4]
    better = [value + 0.01 + 0.001 * i for i, value in enumerate(level)]
    paired = pareto_front([cell(1, 4, level), cell(1, 13, better)])
    assert paired[1].share == 1
    apart = Measured(
        ipc=1, expert_epoch=13, values={seeds(10 + i): value for i, value in enumerate(better)}
    )
    unpaired = pareto_front([cell(1, 4, level), apart])
    assert 0.3 < unpaired[1].share < 0.7


def test_equal_cells_share_the_first_place():
    generator = np.random.default_rng(0)
    shares = np.mean(
        [
            [
                point.share
                for point in pareto_front(
                    [cell(1, epoch, generator.normal(0.3, 0.01, 4)) for epoch in (4, 13, 41)],
                    resamples=200,
                )
            ]
            for _ in range(100)
        ],
        axis=0,
    )
    assert shares == pytest.approx([1 / 3] * 3, abs=0.1)


def test_one_run_a_cell_has_a_front_and_no_shares():
    found = pareto_front([cell(1, 4, [0.1]), cell(1, 13, [0.2]), cell(10, 4, [0.1, 0.2])])
    assert [point.share for point in found] == [None, None, 1.0]
    assert [point.front_share for point in found] == [None] * 3
    assert (found[0].low, found[0].high) == (None, None)
    assert found[1].on_front


def test_runs_of_one_subset_are_one_unit():
    runs = {seeds(i, subset=i // 2): value for i, value in enumerate([0.1, 0.12, 0.3, 0.32])}
    subset_of = {key: dict(key)["subset_seed"] for key in runs}
    (grouped,) = pareto_front([Measured(ipc=1, expert_epoch=4, values=runs)], group_of=subset_of)
    (alone,) = pareto_front([Measured(ipc=1, expert_epoch=4, values=runs)])
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_same_seed_same_shares():
    points = [cell(1, 4, [0.1, 0.2, 0.15]), cell(1, 13, [0.12, 0.17, 0.2])]
    assert pareto_front(points, seed=5) == pareto_front(points, seed=5)


def test_nothing_has_no_front_and_a_cell_may_come_but_once():
    assert pareto_front([]) == []
    with pytest.raises(ValueError, match="every cell once and with a run"):
        pareto_front([cell(1, 4, [0.1]), cell(1, 4, [0.2])])
    with pytest.raises(ValueError, match="every cell once and with a run"):
        pareto_front([cell(1, 4, [])])
