"""Trials on worker processes: every one recorded once, whatever dies; nothing hangs."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sweep_fakes import FakeTrial, MakeFakes, fake_trials, write_file

from engine.errors import ArtefactError, MismatchError, RankError
from engine.records import read_record
from engine.sweep.ledger import Ledger
from engine.sweep.local import run_local

HERE = Path(__file__).parent


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


def records_in(folder: Path) -> dict[str, dict[str, Any]]:
    return {file.stem: json.loads(file.read_text()) for file in folder.glob("*.json")}


def attempts_in(folder: Path) -> Counter[str]:
    return Counter(file.name.split(".")[0] for file in folder.iterdir())


def children() -> set[str]:
    tasks = Path("/proc/self/task").iterdir()
    return {child for task in tasks for child in (task / "children").read_text().split()}


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


# A sweep in a process of its own: argv are folder, number of trials, seconds of each.
SWEEP = """
    import sys
    from pathlib import Path
    sys.path[:0] = [{here!r}, {checkout!r}]
    from cli.signals import Terminated, sigterm_raises
    from sweep_fakes import MakeFakes, FakeTrial
    from engine.records import content_id, sole_writer
    from engine.sweep.ledger import Ledger
    from engine.sweep.local import run_local

    folder, count, seconds, workers = Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
    ledger = Ledger(folder / "sweep")
    act = "silent" if float(seconds) > 10 else "succeed"
    trials = [FakeTrial(id=content_id(i), act=act, seconds=float(seconds)) for i in range(count)]
    here = workers == "here"
    try:
        with sigterm_raises(), sole_writer(ledger.path):
            to_run = [trial for trial in trials if not ledger.is_done(trial.id)]
            print("begun", flush=True)
            run_local(
                to_run,
                MakeFakes(folder / "attempts"),
                ledger.write,
                workers=1 if here else int(workers),
                threads=None if here else 1,
                retries=40,
            )
    except KeyboardInterrupt:
        sys.exit(130)
    except Terminated:
        sys.exit(75)
"""


def start_sweep(folder: Path, trials: int, seconds: float, workers: object = 2) -> Any:
    """Start the sweep; returns the process when it has begun."""
    (folder / "attempts").mkdir(parents=True, exist_ok=True)
    code = textwrap.dedent(SWEEP).format(here=str(HERE), checkout=str(HERE.parents[2]))
    command = [sys.executable, "-c", code, *map(str, (folder, trials, seconds, workers))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def finished_in(folder: Path) -> dict[str, int]:
    return {file.stem: file.stat().st_mtime_ns for file in folder.glob("sweep/trials/*/*.json")}


def workers_of(process: Any) -> list[int]:
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


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
