"""What a sweep was asked for is recorded in few bytes and comes back as it was."""

from __future__ import annotations

import itertools
import json

import pytest
from analysis_record import record
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis import parse_trial, read_asked, record_asked

SEEDS = [
    dict.fromkeys(("subset_seed", "init_seed", "order_seed", "augment_seed"), n) for n in (0, 1)
]


def through_json(cells):
    return read_asked(json.loads(json.dumps(record_asked(cells))))


def places(cells):
    """Every asked run as the analysis knows a trial: place, axes and seeds."""
    return sorted(
        repr((c.ipc, c.labels, c.expert_epoch, sorted(c.axes.items(), key=str), seeds))
        for c in cells
        for seeds in c.seeds
    )


def places_of_trials(records):
    trials = [parse_trial(each) for each in records]
    return sorted(
        repr((t.ipc, t.labels, t.expert_epoch, sorted(t.axes.items(), key=str), t.seeds))
        for t in trials
    )


runs = st.fixed_dictionaries(
    {
        "ipc": st.sampled_from([1, 10, 50]),
        "epoch": st.sampled_from([None, 4, 13]),
        "seed": st.integers(0, 2),
        "subset_seed": st.sampled_from([None, 0]),
        "codec": st.sampled_from(["dense", "topk:5"]),
        "cell": st.fixed_dictionaries(
            {"temperature": st.sampled_from([1.0, 2.5]), "ensemble": st.sampled_from([None, "4+7"])}
        ),
        "student": st.fixed_dictionaries(
            {
                "epochs": st.sampled_from([30, 300]),
                "optimizer": st.fixed_dictionaries({"lr": st.sampled_from([0.1, 0.2])}),
            }
        ),
    }
)


@given(st.lists(runs, min_size=1, max_size=20))
def test_any_trials_come_back_with_the_axes_that_their_records_will_have(chosen):
    records = {repr(options): record(**options) for options in chosen}.values()
    asked = through_json([(each, [each["seeds"]]) for each in records])
    assert places(asked) == sorted(set(places_of_trials(records)))


def test_a_grid_is_one_block_and_an_ipc_with_epochs_of_its_own_one_more():
    product = [(record(i, e), SEEDS) for i in (1, 10, 50) for e in (4, 7, 13)]
    recorded = record_asked(product)
    assert recorded["blocks"] == [{}] or len(recorded["blocks"]) == 1
    assert recorded["all"]["cell.ipc"] == [1, 10, 50]
    recorded = record_asked([*product, *((record(100, e), SEEDS) for e in (57, 125))])
    assert len(recorded["blocks"]) == 2
    own = {"cell.ipc": [100], "cell.expert_epoch": [57, 125]}
    assert own in recorded["blocks"]


def test_a_hundred_thousand_trials_take_a_few_kilobytes():
    seeds = [dict.fromkeys(SEEDS[0], n) for n in range(10)]
    cells = [
        (record(i, e, student={"epochs": 3000 // i}), seeds)
        for i, e in itertools.product(range(1, 51), range(200))
    ]
    assert len(json.dumps(record_asked(cells))) < 8_000


def test_the_same_run_asked_for_twice_is_asked_for_once():
    (cell,) = through_json([(record(1, 4), [SEEDS[0]]), (record(1, 4), SEEDS)])
    assert len(cell.seeds) == 2


def test_nothing_asked_for_is_nothing():
    assert through_json([]) == []


def test_an_expert_can_be_given_a_name_unique_among_sweeps():
    asked = record_asked([(record(1, 4), SEEDS)])
    (cell,) = read_asked(asked, expert_names={"d3-s0": "d3-s0 (run abc)"})
    assert cell.axes["expert"] == "d3-s0 (run abc)"


@pytest.mark.parametrize(
    "wrong",
    [{}, {"all": {}, "blocks": [{}]}, {"all": {"seeds": [{"init_seed": "x"}]}, "blocks": 3}],
)
def test_what_is_no_record_of_cells_is_refused(wrong):
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        read_asked(wrong)
