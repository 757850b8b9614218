"""Sweeps on a Ray cluster that outlives its drivers: stopped, killed, their actors too."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sweep_process import attempts_in, children_of, finished_in, is_running, start_sweep, wait_until

from engine.records import read_record
from engine.sweep.ledger import Ledger
from tests.engine.sweep.ray_cases import two_nodes

pytestmark = pytest.mark.long
LONG = 120.0  # seconds; Ray starts processes slowly on a busy machine


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as nodes:
        yield nodes


def actors_of(folder: Path) -> list[int]:
    """Processes that ran trials of the sweep and still live."""
    pids = {int(file.name.split(".")[2]) for file in (folder / "attempts").iterdir()}
    return sorted(filter(is_running, pids))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_ends_the_actors_and_keeps_what_is_finished(
    cluster: Any, tmp_path: Path, number: int, code: int
) -> None:
    process = start_sweep(tmp_path, 1000, 0.05, address=cluster.address)
    wait_until(lambda: len(finished_in(tmp_path)) >= 10, LONG)
    process.send_signal(number)
    assert process.wait(LONG) == code
    wait_until(lambda: not actors_of(tmp_path), LONG)
    begun, finished = attempts_in(tmp_path / "attempts"), finished_in(tmp_path)
    assert 10 <= len(finished) < 1000
    assert len(begun) - len(finished) <= 2 * 8  # dropped, answered to nobody
    assert all(read_record(Ledger(tmp_path / "sweep").trial_path(name)) for name in finished)
    assert process.stdout.read() == ""  # of Ray's own news, too


def test_a_driver_that_is_killed_takes_actors_in_the_middle_of_long_trials_with_it(
    cluster: Any, tmp_path: Path
) -> None:
    process = start_sweep(tmp_path, 2, 600, address=cluster.address)
    wait_until(lambda: len(actors_of(tmp_path)) == 2, LONG)
    process.kill()
    process.wait()
    wait_until(lambda: not actors_of(tmp_path), LONG)


def test_a_cluster_of_its_own_goes_with_a_driver_that_is_killed(tmp_path: Path) -> None:
    process = start_sweep(tmp_path, 1000, 0.05, address="local")
    wait_until(lambda: len(finished_in(tmp_path)) >= 10, LONG)
    family = descendants(process.pid)
    assert len(family) >= 3  # a head, a raylet, an actor
    process.kill()
    process.wait()
    wait_until(lambda: not any(map(is_running, family)), LONG)


def test_a_head_that_is_killed_ends_the_run_with_a_word_and_not_in_silence(tmp_path: Path) -> None:
    """Ray's own calls wait for it a minute and then end the process."""
    with two_nodes() as cluster:
        process = start_sweep(tmp_path, 4000, 0.2, address=cluster.address)
        wait_until(lambda: len(finished_in(tmp_path)) >= 5, LONG)
        (head,) = cluster.head_node.all_processes["gcs_server"]
        head.process.kill()
        assert process.wait(LONG) == 2
        assert "the head of the Ray cluster has not answered" in process.stdout.read()
    finished = finished_in(tmp_path)
    assert all(read_record(Ledger(tmp_path / "sweep").trial_path(name)) for name in finished)


def descendants(pid: int) -> set[int]:
    children = set(children_of(pid))
    return children.union(*map(descendants, children))


def test_twenty_kills_lose_and_repeat_nothing_that_had_finished(
    cluster: Any, tmp_path: Path
) -> None:
    """Actors and the driver in turn, in every phase; the cluster stays."""
    luck = random.Random(0)
    count, kills, of_the_driver = 400, 0, 0
    finished: dict[str, int] = {}
    while kills < 20:
        process = start_sweep(tmp_path, count, 0.1, address=cluster.address)
        if luck.random() < 0.7:  # else it is killed while it starts
            at_least = len(finished) + luck.choice([1, 5, 15])
            wait_until(lambda most=at_least: len(finished_in(tmp_path)) >= most, LONG)  # type: ignore[misc]
        while process.poll() is None and kills < 20:
            time.sleep(luck.choice([0.0, 0.02, 0.1, 0.4]))
            actors = actors_of(tmp_path)
            if of_the_driver <= kills // 2 or not actors:
                process.kill()
                process.wait()
                of_the_driver += 1
            else:
                os.kill(luck.choice(actors), signal.SIGKILL)
            kills += 1
            now = finished_in(tmp_path)
            assert {name: now.get(name) for name in finished} == finished
            finished = now
    assert 0 < len(finished) < count  # so that every kill could do harm
    process.wait(LONG)
    assert start_sweep(tmp_path, count, 0.1, address=cluster.address).wait(LONG) == 0
    final = finished_in(tmp_path)
    assert {name: final[name] for name in finished} == finished
    records = [read_record(Ledger(tmp_path / "sweep").trial_path(name)) for name in final]
    assert Counter(record["status"] for record in records) == {"done": count}
    assert of_the_driver >= 10
    assert not list(tmp_path.rglob("*.partial"))
