"""Events as JSON lines: whole ones at once, and a log that fails never stops a sweep."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_fakes import FakeTrial, MakeFakes, fake_trials

from engine.errors import UsageError
from engine.sweep.executors.local import run_local
from engine.sweep.watching.event_log import EventLog


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def event(number: int, **content: Any) -> dict[str, Any]:
    return {"event": "trial_finished", "time": 1.5, "number": number, **content}


def nothing(_record: dict[str, Any]) -> None:
    """A ledger that keeps nothing."""


def test_every_event_of_a_sweep_is_one_line_in_order(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    with EventLog(tmp_path / "events.jsonl") as log:

        def tell(event: dict[str, Any]) -> None:
            told.append(event)
            log(event)

        run_local(fake_trials(5), MakeFakes(), nothing, on_event=tell)
    lines = lines_of(tmp_path / "events.jsonl")
    assert lines == told
    assert [lines[0]["event"], lines[-1]["event"]] == ["sweep_started", "sweep_finished"]
    assert sum(line["event"] == "trial_finished" for line in lines) == 5


def test_a_line_can_be_read_before_the_next_event(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "new" / "events.jsonl")
    for number in range(3):
        log(event(number))
        assert [line["number"] for line in lines_of(tmp_path / "new" / "events.jsonl")] == list(
            range(number + 1)
        )
    log.close()


def test_a_resumed_sweep_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for number in range(3):
        with EventLog(tmp_path / "events.jsonl") as log:
            log(event(number))
    assert [line["number"] for line in lines_of(tmp_path / "events.jsonl")] == [0, 1, 2]


@given(
    texts=st.lists(st.text(max_size=30), min_size=1, max_size=4),
    cut=st.integers(0, 400),
    long=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_whatever_a_kill_left_only_whole_lines_remain(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], cut: int, long: bool
) -> None:
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    with EventLog(path) as log:
        for number, text in enumerate(texts):
            log(event(number, text=text * 2000 if long else text))
    whole = path.read_bytes()
    torn = whole[: max(0, len(whole) - cut)]
    path.write_bytes(torn)
    with EventLog(path) as log:
        log(event(99))
    numbers = [line["number"] for line in lines_of(path)]
    assert numbers == [*range(torn.count(b"\n")), 99]


def test_a_file_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("half a line of someone's notes")
    with pytest.raises(UsageError, match="holds no events"):
        EventLog(path)
    assert path.read_text() == "half a line of someone's notes"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be written to"):
        EventLog(tmp_path)


def test_stdout_takes_lines_at_once_and_stays_open(capfd: pytest.CaptureFixture[str]) -> None:
    with EventLog("-") as log:
        log(event(1))
        assert json.loads(capfd.readouterr().out) == event(1)
    print("afterwards", flush=True)
    assert capfd.readouterr().out == "afterwards\n"


def test_a_stdout_that_is_no_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(UsageError, match="write events to a file"):
        EventLog("-")


def test_a_full_disk_drops_the_log_with_one_warning_and_the_sweep_goes_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    log = EventLog("/dev/full")
    outcome = run_local(fake_trials(5), MakeFakes(), nothing, on_event=log)
    assert outcome.done == 5
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("events can no longer be written to /dev/full (No space left on device)")


def test_half_a_line_that_a_full_disk_took_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The disk takes ten bytes of the second line and no more."""
    log = EventLog(tmp_path / "events.jsonl")
    log(event(0))
    write = os.write
    room = [10]

    def short(file: int, data: bytes) -> int:
        if not room:
            raise OSError(28, "No space left on device")
        return write(file, data[: room.pop()])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        log(event(1))
        log(event(2))
    assert capfd.readouterr().err.count("\n") == 1
    assert [line["number"] for line in lines_of(tmp_path / "events.jsonl")] == [0]


def test_a_line_that_is_taken_in_pieces_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with EventLog(tmp_path / "events.jsonl") as log, monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[:7]))
        log(event(0))
        log(event(1))
    assert [line["number"] for line in lines_of(tmp_path / "events.jsonl")] == [0, 1]


def test_a_reader_that_leaves_drops_the_log_and_the_sweep_goes_on(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        log = EventLog("-")
        seen: list[str] = []

        def tell(event: dict[str, Any]) -> None:
            log(event)
            seen.append(event["event"])
            if len(seen) == 3:
                os.close(reading)

        outcome = run_local(fake_trials(5), MakeFakes(), nothing, on_event=tell)
    assert outcome.done == 5
    assert seen[-1] == "sweep_finished"
    err = capfd.readouterr().err
    assert err == (
        "events can no longer be written to stdout (Broken pipe); the sweep goes on without them\n"
    )


SCRIPT = """
import sys
from engine.sweep.watching.event_log import EventLog
with EventLog("-") as log:
    for number in range(100_000):
        log({"event": "tick", "number": number})
print("went on", file=sys.stderr)
"""


def test_head_may_end_the_pipe_and_the_exit_code_stays_zero() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"event": "tick", "number": 0}
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read().decode()
    assert process.wait(60) == 0
    assert err.endswith("went on\n")
    assert err.count("can no longer be written") == 1


def test_numbers_that_json_lacks_are_null_and_strange_values_are_text(tmp_path: Path) -> None:
    with EventLog(tmp_path / "events.jsonl") as log:
        log(event(0, rate=float("nan"), cell={"lr": [float("inf"), 0.5]}, where=Path("x")))
    (line,) = lines_of(tmp_path / "events.jsonl")
    assert (line["rate"], line["cell"], line["where"]) == (None, {"lr": [None, 0.5]}, "x")


def test_lines_of_several_threads_do_not_mix(tmp_path: Path) -> None:
    with EventLog(tmp_path / "events.jsonl") as log:

        def write(number: int) -> None:
            for _ in range(200):
                log(event(number, text=str(number) * 500))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = lines_of(tmp_path / "events.jsonl")
    assert sorted(line["number"] for line in lines) == sorted(list(range(4)) * 200)
    assert all(line["text"] == str(line["number"]) * 500 for line in lines)


WRITER = """
import itertools, sys
from engine.sweep.watching.event_log import EventLog
log = EventLog(sys.argv[1])
for number in itertools.count():
    log({"event": "tick", "number": number, "text": "x" * 3000})
"""


def test_a_killed_writer_leaves_a_log_that_the_next_one_continues(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for kills in range(3):
        before = path.stat().st_size if path.exists() else 0
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        while process.poll() is None and not (path.exists() and path.stat().st_size > before):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, kills
    with EventLog(path) as log:
        log({"event": "tick", "number": -1})
    numbers = [line["number"] for line in lines_of(path)]
    assert numbers.count(0) == 3
    assert numbers[-1] == -1


def test_a_trial_of_a_dead_worker_is_in_the_log(tmp_path: Path) -> None:
    """Reasons of several lines stay one line of the log."""
    with EventLog(tmp_path / "events.jsonl") as log:
        trials = [FakeTrial(id="a" * 16, act="kill"), *fake_trials(2)]
        run_local(trials, MakeFakes(), nothing, workers=1, threads=1, retries=0, on_event=log)
    lines = lines_of(tmp_path / "events.jsonl")
    finished = {line["id"]: line for line in lines if line["event"] == "trial_finished"}
    assert finished["a" * 16]["status"] == "failed"
    assert any(line["event"] == "worker_died" for line in lines)
