"""What a running sweep looks like: a table on a terminal, plain lines elsewhere."""

import io
import os
import pty
import threading
import time
from typing import Any

from cli.live import SweepView, cell_words, final_line, running_line
from engine.sweep.watching.watch import Watch

CELL = {"ipc": 10, "labels": "soft", "selection": "random", "expert": None, "expert_epoch": 13}


def events_of_a_sweep(**about: Any) -> list[dict[str, Any]]:
    """Three trials on one worker: two of one cell done, one failed; 100 images and 10 s each."""
    told: list[dict[str, Any]] = []

    def tell(at: float, kind: str, **content: Any) -> None:
        told.append({"event": kind, "time": 1000.0 + at, **content})

    tell(0, "sweep_started", pid=os.getpid(), trials=3, work=300.0, workers=1, threads=1, **about)
    tell(0, "worker_started", worker=0, pid=7)
    tell(0, "worker_ready", worker=0)
    for number, status in enumerate(("done", "done", "failed")):
        trial = {"worker": 0, "id": f"{number}", "cell": CELL, "work": 100.0}
        tell(10 * number, "trial_started", **trial)
        tell(10 * number + 5, "trial_progress", worker=0, seen=50, total=100)
        outcome = {"error": None, "test": 0.4 + number / 10, "rate": 10.0}
        seconds = {"steps": 8.0, "evaluation": 1.0} if status == "done" else {}
        tell(10 * number + 10, "trial_finished", **trial, status=status, **outcome, seconds=seconds)
    tell(30, "sweep_finished")
    return told


def snapshot_after(number: int, **about: Any) -> dict[str, Any]:
    watch = Watch()
    for event in events_of_a_sweep(**about)[:number]:
        watch(event)
    return watch.snapshot()


def test_a_running_line_tells_progress_rate_time_left_and_the_best_cell() -> None:
    assert running_line(snapshot_after(9, cell_keys=["ipc", "expert_epoch"])) == (
        "students: 2/3 (66 %), 10 images/s, about 10 s left; "
        "best so far 45.0 % (IPC 10, expert epoch 13; mean of 2)"
    )
    assert running_line(snapshot_after(3)) == "students: 0/3 (0 %)"


def test_a_cell_like_all_others_needs_no_name() -> None:
    assert running_line(snapshot_after(9)).endswith("; best so far 45.0 % (mean of 2)")


def test_lines_count_this_run_and_tell_what_had_finished_before() -> None:
    before = snapshot_after(99, already_done=1234)
    assert running_line(before).startswith("students: 3/3 (100 %), 1,234 done before, 1 failed")
    assert final_line(before).startswith(
        "students: 2 done, 1 failed in 30 s (1,234 done before); workers' time: "
    )


def test_the_final_line_names_the_bottleneck() -> None:
    assert final_line(snapshot_after(99)) == (
        "students: 2 done, 1 failed in 30 s; workers' time: steps 53 %, other 40 %, evaluation 7 %"
    )


def test_a_cell_is_named_by_the_keys_that_matter_and_are_set() -> None:
    keys = ["ipc", "labels", "expert", "expert_epoch"]
    assert cell_words(CELL, keys) == "IPC 10, soft labels, expert epoch 13"
    hard = {"ipc": 10, "labels": "hard", "expert": None, "expert_epoch": None}
    assert cell_words(hard, keys) == "IPC 10, hard labels"


def test_elsewhere_than_on_a_terminal_lines_come_now_and_then() -> None:
    stream, now = io.StringIO(), [0.0]
    with SweepView(stream, clock=lambda: now[0]) as view:
        for event in events_of_a_sweep():
            now[0] = event["time"] - 1000
            view(event)
        view({"event": "worker_died", "time": 1031.0, "worker": 0, "reason": "it died\nof this"})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 6 + 1 + 1  # every five seconds, the end, the death
    assert all(line.startswith("students: ") for line in lines[:-1])
    assert lines[-2].startswith("students: 2 done, 1 failed in 30 s")
    assert lines[-1] == "it died"


def test_a_terminal_shows_every_worker_and_is_left_clean() -> None:
    controller, terminal = pty.openpty()
    shown = bytearray()

    def read() -> None:
        try:
            while data := os.read(controller, 4096):
                shown.extend(data)
        except OSError:
            pass  # the terminal was closed

    reader = threading.Thread(target=read)
    reader.start()
    clock = iter(range(1000))
    with (
        os.fdopen(terminal, "w") as stream,
        SweepView(stream, animated=True, clock=lambda: next(clock)) as view,
    ):
        for event in events_of_a_sweep()[:5]:
            view(event)
        time.sleep(0.8)  # the table is redrawn twice a second
        for event in events_of_a_sweep()[5:]:
            view(event)
    reader.join(10)
    os.close(controller)
    text = shown.decode()
    assert "worker 0" in text
    assert "50 %" in text
    assert "students: 2 done, 1 failed" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is back


def test_a_stream_that_is_gone_does_not_stop_the_sweep() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    view = SweepView(Gone())
    for event in events_of_a_sweep():
        view(event)
