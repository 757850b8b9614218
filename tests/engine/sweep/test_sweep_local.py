"""Trials on worker processes: every one recorded once, whatever dies; nothing hangs."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sweep_fakes import FakeTrial, MakeFakes, fake_trials, write_file
from sweep_process import attempts_in, children_of, records_in

from beton_builder.machine import usable_cores
from engine.errors import ArtefactError, MismatchError, RankError
from engine.sweep.executors.local import run_local


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, dict[str, Any]]]:
    """`run(trials)` runs them on two workers and returns the records by id."""
    (tmp_path / "records").mkdir()
    (tmp_path / "attempts").mkdir()

    def run(trials: list[FakeTrial], **options: Any) -> dict[str, dict[str, Any]]:
        options = {"workers": 2, "threads": 1} | options
        make = options.pop("make_runner", MakeFakes(tmp_path / "attempts"))
        run_local(trials, make, lambda record: write_file(tmp_path / "records", record), **options)
        return records_in(tmp_path / "records")

    return run


def children() -> set[int]:
    return set(children_of(os.getpid()))


def test_every_trial_is_run_and_recorded_once(run, tmp_path: Path) -> None:
    trials = fake_trials(300, seconds=0.002)
    before = children()
    records = run(trials)
    assert set(records) == {trial.id for trial in trials}
    assert set(attempts_in(tmp_path / "attempts").values()) == {1}
    assert {record["status"] for record in records.values()} == {"done"}
    assert len({record["where"]["pid"] for record in records.values()} - {os.getpid()}) == 2
    assert children() == before


def test_one_worker_without_threads_of_its_own_is_this_process(run) -> None:
    records = run(fake_trials(3), workers=1, threads=None)
    assert {record["where"]["pid"] for record in records.values()} == {os.getpid()}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_trial_that_raises_fails_with_its_traceback_and_the_rest_goes_on(run, workers) -> None:
    threads = None if workers == 1 else 1
    trials = [FakeTrial(id="bad", act="raise"), *fake_trials(5)]
    records = run(trials, workers=workers, threads=threads)
    assert records["bad"]["status"] == "failed"
    assert "ZeroDivisionError: a bug in a student" in records["bad"]["error"]
    assert Counter(r["status"] for r in records.values()) == {"done": 5, "failed": 1}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("act", ["unpicklable", "not a number"])
def test_a_result_that_can_not_be_kept_fails_its_trial(run, act: str, workers: int) -> None:
    threads = None if workers == 1 else 1
    records = run([FakeTrial(id="bad", act=act), *fake_trials(5)], workers=workers, threads=threads)
    assert records["bad"]["status"] == "failed"
    assert "can't be recorded as JSON" in records["bad"]["error"]
    assert len(records) == 6


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("kill", "SIGKILL, often the sign of too little memory"),
        ("segfault", "Fatal Python error: Segmentation fault"),
        ("exit", "exit code 3; it wrote:\na library gave up"),
    ],
)
def test_a_trial_that_kills_its_workers_is_tried_again_and_then_fails(
    run, tmp_path: Path, act: str, reason: str
) -> None:
    records = run([FakeTrial(id="bad", act=act), *fake_trials(20)], retries=2)
    assert records["bad"]["status"] == "failed"
    assert records["bad"]["error"].startswith("lost 3 workers:")
    assert records["bad"]["error"].count(reason) == 3
    attempts = attempts_in(tmp_path / "attempts")
    assert attempts.pop("bad") == 3
    assert set(attempts.values()) == {1}  # what it held beside was given to others
    assert Counter(r["status"] for r in records.values()) == {"done": 20, "failed": 1}


def test_the_reason_tells_what_the_trial_wrote_and_not_those_before_it(run) -> None:
    trials = [FakeTrial(id="before", act="talk", work=2), FakeTrial(id="bad", act="exit")]
    records = run(trials, workers=1, threads=1, retries=0)
    assert "a library gave up" in records["bad"]["error"]
    assert "all is well" not in records["bad"]["error"]


def test_a_trial_that_breaks_the_gpu_of_its_process_is_tried_in_another(
    run, tmp_path: Path
) -> None:
    trials = [FakeTrial(id="unlucky", act="break the GPU once", work=2), *fake_trials(5)]
    records = run(trials, workers=1)
    assert {record["status"] for record in records.values()} == {"done"}
    assert len({record["where"]["pid"] for record in records.values()}) == 1
    assert attempts_in(tmp_path / "attempts")["unlucky"] == 2


def test_a_trial_that_breaks_every_gpu_fails_alone_and_says_how(run) -> None:
    trials = [FakeTrial(id="bad", act="break the GPU", work=2), *fake_trials(5)]
    records = run(trials, workers=1, retries=1)
    assert records["bad"]["error"].startswith("lost 2 workers:")
    assert "an illegal memory access" in records["bad"]["error"]
    assert Counter(r["status"] for r in records.values()) == {"done": 5, "failed": 1}


def test_a_gpu_that_is_broken_in_this_process_ends_the_command(run, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys.modules.get("torch"))  # put back afterwards
    trials = [FakeTrial(id="bad", act="break the GPU", work=2), *fake_trials(5)]
    with pytest.raises(RankError, match=r"trial bad .*run the same command again"):
        run(trials, workers=1, threads=None)


def test_a_worker_that_dies_by_accident_costs_its_trial_nothing(run, tmp_path: Path) -> None:
    records = run([FakeTrial(id="unlucky", act="kill once"), *fake_trials(5)])
    assert records["unlucky"]["status"] == "done"
    assert attempts_in(tmp_path / "attempts")["unlucky"] == 2


@pytest.mark.parametrize(
    ("start", "error", "message"),
    [
        ("killed", RankError, "before their first trial.*SIGKILL"),
        ("refused", MismatchError, "the labels are of another dataset"),
        ("bug", RankError, "KeyError: 'a bug in a factory'"),
    ],
)
def test_workers_that_never_start_end_the_run(run, start: str, error: type, message: str) -> None:
    before = children()
    with pytest.raises(error, match=f"(?s){message}"):
        run(fake_trials(5), make_runner=MakeFakes(start=start))
    assert children() == before


def test_a_start_that_hangs_ends_the_run(run) -> None:
    with pytest.raises(RankError, match=r"not ready after 0\.3 s"):
        run(fake_trials(5), make_runner=MakeFakes(start="hangs"), start_timeout=0.3)


@pytest.mark.parametrize("act", ["silent", "stop"])
def test_a_trial_that_makes_no_progress_is_ended_and_tried_again_and_then_fails(
    run, tmp_path: Path, act: str
) -> None:
    """Asleep, or a process that is stopped: the worker is killed, the others go on."""
    before = children()
    trials = [FakeTrial(id="bad", act=act, seconds=600, work=2), *fake_trials(20)]
    records = run(trials, retries=1, stall_timeout=2)
    assert records["bad"]["status"] == "failed"
    assert records["bad"]["error"].startswith("lost 2 workers:")
    assert records["bad"]["error"].count("made no progress for 2 s at trial bad") == 2
    assert attempts_in(tmp_path / "attempts")["bad"] == 2
    assert Counter(r["status"] for r in records.values()) == {"done": 20, "failed": 1}
    assert children() == before
    if act == "silent":
        assert 'sweep_fakes.py", line' in records["bad"]["error"]  # where it hung


def test_a_trial_that_goes_on_slowly_is_left_alone(run, tmp_path: Path) -> None:
    records = run(fake_trials(2, seconds=5), stall_timeout=2.5)
    assert {record["status"] for record in records.values()} == {"done"}
    assert set(attempts_in(tmp_path / "attempts").values()) == {1}


@pytest.mark.parametrize("never", [None, 0])
def test_without_a_limit_a_silent_trial_is_waited_for(run, never: float | None) -> None:
    records = run(fake_trials(1, act="silent", seconds=1.5), stall_timeout=never)
    assert {record["status"] for record in records.values()} == {"done"}


def test_workers_of_a_slot_see_the_gpu_of_that_slot(run) -> None:
    """Also after one died: its successor is on the same device."""
    trials = [FakeTrial(id="unlucky", act="kill once", work=2), *fake_trials(60, seconds=0.05)]
    events: list[dict[str, Any]] = []
    records = run(trials, workers=3, devices=[4, 6], on_event=events.append)
    slots = {e["pid"]: e["worker"] for e in events if e["event"] == "worker_started"}
    found = {(slots[r["where"]["pid"]], r["where"]["gpu"]) for r in records.values()}
    assert found
    assert found <= {(0, "4"), (1, "6"), (2, "4")}


@pytest.mark.parametrize("seen", [None, "3"])
def test_without_devices_workers_see_what_their_driver_sees(
    run, monkeypatch: pytest.MonkeyPatch, seen: str | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if seen:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    assert {record["where"]["gpu"] for record in run(fake_trials(4)).values()} == {seen}


def test_one_worker_with_a_device_is_a_process_of_its_own(run) -> None:
    (record,) = run(fake_trials(1), workers=1, threads=None, devices=[5]).values()
    assert record["where"]["gpu"] == "5"
    assert record["where"]["pid"] != os.getpid()


def test_trials_that_all_kill_their_workers_end_the_run(run, tmp_path: Path) -> None:
    with pytest.raises(RankError, match="10 workers died in a row and none finished a trial"):
        run(fake_trials(50, act="kill"))
    assert 2 <= len(records_in(tmp_path / "records")) <= 4


def test_a_full_disk_ends_the_run(tmp_path: Path) -> None:
    def refuse(record: dict[str, Any]) -> None:
        raise ArtefactError("no space left")

    before = children()
    with pytest.raises(ArtefactError, match="no space left"):
        run_local(fake_trials(500), MakeFakes(), refuse, workers=2, threads=1)
    assert children() == before


@pytest.mark.parametrize("threads", [None, 1])
def test_an_error_of_the_listener_ends_the_run(tmp_path: Path, threads: int | None) -> None:
    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "trial_finished":
            raise BrokenPipeError("the reader has gone")

    with pytest.raises(BrokenPipeError):
        run_local(
            fake_trials(50),
            MakeFakes(),
            lambda record: write_file(tmp_path, record),
            workers=1,
            threads=threads,
            on_event=listen,
        )


def test_threads_are_limited_before_anything_is_imported_and_cores_are_not_shared(run) -> None:
    cores = sorted(os.sched_getaffinity(0))
    records = run(fake_trials(100, seconds=0.02), workers=len(cores), threads=1)
    places = {r["where"]["pid"]: tuple(r["where"]["cores"]) for r in records.values()}
    assert {r["where"]["omp"] for r in records.values()} == {"1"}
    assert not any(r["where"]["torch"] for r in records.values())
    assert all(len(place) == 1 for place in places.values())
    assert len(set(places.values())) == len(places)
    assert {r["where"]["machine_cores"] for r in records.values()} == {usable_cores()}


def test_events_tell_of_every_trial(run) -> None:
    events: list[dict[str, Any]] = []
    run([FakeTrial(id="bad", act="raise"), *fake_trials(9, seconds=0.1)], on_event=events.append)
    kinds = Counter(event["event"] for event in events)
    assert kinds["trial_started"] == kinds["trial_finished"] == 10
    assert kinds["worker_started"] == kinds["worker_ready"] == kinds["worker_ended"] == 2
    assert [events[0]["event"], events[-1]["event"]] == ["sweep_started", "sweep_finished"]
    (bad,) = (e for e in events if e.get("id") == "bad" and e["event"] == "trial_finished")
    assert (bad["status"], bad["error"]) == ("failed", "ZeroDivisionError: a bug in a student")
    assert all(json.dumps(event) for event in events)


def test_a_long_trial_tells_of_its_progress(run) -> None:
    events: list[dict[str, Any]] = []
    run(fake_trials(1, seconds=0.8), on_event=events.append)
    told = [event for event in events if event["event"] == "trial_progress"]
    assert 1 <= len(told) <= 4
    assert (told[0]["worker"], told[0]["seen"], told[0]["total"]) == (0, 1, 2)


def test_records_that_the_driver_had_no_time_to_read_are_written_when_it_is_stopped(
    run, tmp_path: Path
) -> None:
    seen = Counter[str]()

    def listen(event: dict[str, Any]) -> None:
        seen[event["event"]] += 1
        if seen["trial_finished"] == 50 and event["event"] == "trial_finished":
            time.sleep(0.2)  # the workers go on with what they hold
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

    with pytest.raises(KeyboardInterrupt):
        run(fake_trials(400, seconds=0.004), on_event=listen)
    records = records_in(tmp_path / "records")
    assert 50 < len(records) < 400
    assert len(attempts_in(tmp_path / "attempts")) - len(records) <= 2
