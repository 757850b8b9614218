"""Sweeps on worker processes that are stopped and killed, the driver too: nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from sweep_process import (
    attempts_in,
    finished_in,
    is_running,
    start_sweep,
    wait_until,
    workers_of,
)

from engine.records import read_record
from engine.sweep.ledger import Ledger


@pytest.mark.parametrize("workers", [2, "here"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_drops_the_current_trials_and_keeps_what_is_finished(
    tmp_path: Path, number: int, code: int, workers: object
) -> None:
    process = start_sweep(tmp_path, 1000, 0.05, workers)
    wait_until(lambda: len(finished_in(tmp_path)) >= 4)
    pids = workers_of(process)
    started = time.monotonic()
    process.send_signal(number)
    assert process.wait(10) == code
    assert time.monotonic() - started < 3
    assert not any(is_running(pid) for pid in pids)
    begun = attempts_in(tmp_path / "attempts")
    finished = finished_in(tmp_path)
    in_hand = 1 if workers == "here" else 2
    assert len(begun) - in_hand <= len(finished) <= len(begun)
    assert all(read_record(Ledger(tmp_path / "sweep").trial_path(name)) for name in finished)
    assert not list(tmp_path.rglob("*.partial"))


def test_workers_ignore_the_terminals_ctrl_c(tmp_path: Path) -> None:
    process = start_sweep(tmp_path, 8, 0.1)
    wait_until(lambda: finished_in(tmp_path))
    for pid in workers_of(process):
        os.kill(pid, signal.SIGINT)
    assert process.wait(20) == 0
    assert set(attempts_in(tmp_path / "attempts").values()) == {1}


def test_workers_go_with_a_driver_that_is_killed_and_the_next_run_goes_on(tmp_path: Path) -> None:
    process = start_sweep(tmp_path, 40, 0.02)
    wait_until(lambda: len(finished_in(tmp_path)) >= 5)
    pids = workers_of(process)
    assert len(pids) == 2
    process.kill()
    process.wait()
    wait_until(lambda: not any(map(is_running, pids)), seconds=1)
    before = finished_in(tmp_path)
    assert start_sweep(tmp_path, 40, 0.02).wait(20) == 0
    after = finished_in(tmp_path)
    assert len(after) == 40
    assert {name: after[name] for name in before} == before


def test_a_worker_in_the_middle_of_a_long_trial_goes_with_its_driver(tmp_path: Path) -> None:
    process = start_sweep(tmp_path, 2, 600)
    wait_until(lambda: len(attempts_in(tmp_path / "attempts")) == 2)
    pids = workers_of(process)
    process.kill()
    process.wait()
    wait_until(lambda: not any(map(is_running, pids)), seconds=1)


def test_a_sweep_that_was_stopped_for_a_while_blames_no_worker(tmp_path: Path) -> None:
    """Ctrl-Z and fg: nothing was heard because nobody listened."""
    process = start_sweep(tmp_path, 40, 0.3, stall_timeout=2)
    wait_until(lambda: finished_in(tmp_path))
    everyone = [process.pid, *workers_of(process)]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(4)
    for pid in everyone:
        os.kill(pid, signal.SIGCONT)
    assert process.wait(60) == 0
    assert (tmp_path / "lost").read_text() == "0"
    assert set(attempts_in(tmp_path / "attempts").values()) == {1}


@pytest.mark.long
def test_forty_kills_lose_and_repeat_nothing_that_had_finished(tmp_path: Path) -> None:
    """Workers and the driver in turn, in every phase: start-up, trials, the last ones."""
    luck = random.Random(0)
    count, kills, of_the_driver = 500, 0, 0
    finished: dict[str, int] = {}
    while kills < 40:
        process = start_sweep(tmp_path, count, 0.05)
        while process.poll() is None and kills < 40:
            time.sleep(luck.choice([0.0, 0.02, 0.1, 0.4]))
            workers = workers_of(process)
            if of_the_driver < kills // 2 or not workers:
                process.kill()
                of_the_driver += 1
            else:
                os.kill(luck.choice(workers), signal.SIGKILL)
            kills += 1
            now = finished_in(tmp_path)
            assert {name: now.get(name) for name in finished} == finished
            finished = now
        if kills == 40:
            break
        process.wait()
    assert len(finished) < count  # so that every kill could do harm
    process.wait(60)
    assert start_sweep(tmp_path, count, 0.05).wait(60) == 0
    final = finished_in(tmp_path)
    assert {name: final[name] for name in finished} == finished
    records = [read_record(Ledger(tmp_path / "sweep").trial_path(name)) for name in final]
    assert Counter(record["status"] for record in records) == {"done": count}
    assert of_the_driver >= 15
    assert not list(tmp_path.rglob("*.partial"))
