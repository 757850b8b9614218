"""Progress is quiet for short stages, plain without a terminal, honest about the time left."""

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.progress import Progress, Stage, duration, rate_words

CHECKOUT = Path(__file__).resolve().parents[2]


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lines_of(reports: Iterable[tuple[float, str, int, int]]) -> list[str]:
    """The plain lines written for reports of (seconds since the start, stage, done, total)."""
    stream, clock = io.StringIO(), Clock()
    with Progress(stream, animated=False, clock=clock) as progress:
        for seconds, stage, done, total in reports:
            clock.now = 100.0 + seconds
            progress(stage, done, total)
    return stream.getvalue().splitlines()


def test_short_stages_are_never_mentioned() -> None:
    assert lines_of([(0, "a", 0, 9), (1, "a", 5, 9), (1.9, "a", 9, 9), (2, "b", 3, 3)]) == []


def test_plain_lines_come_every_few_seconds_and_at_the_end() -> None:
    reports = [(n / 10, "train", n, 131) for n in range(132)]
    assert lines_of(reports) == [
        "train: 50/131 (38 %), 10/s, about 8.1 s left",
        "train: 100/131 (76 %), 10/s, about 3.1 s left",
        "train: 131 in 13 s, 10/s",
    ]


def test_a_long_stage_gets_at_most_a_line_a_minute() -> None:
    lines = lines_of((n, "train", n, 20_000) for n in range(10_000))
    assert 10_000 / 60 <= len(lines) < 10_000 / 60 + 60


def test_what_an_earlier_run_did_is_not_counted_as_speed() -> None:
    assert lines_of([(0, "labels", 900, 1000), (10, "labels", 950, 1000)]) == [
        "labels: 950/1,000 (95 %), 5.0/s, about 10 s left"
    ]


def test_slow_items_are_told_by_their_length() -> None:
    assert lines_of([(0, "epochs", 0, 13), (34, "epochs", 1, 13), (442, "epochs", 13, 13)]) == [
        "epochs: 1/13 (7 %), 34 s each, about 6 min 48 s left",
        "epochs: 13 in 7 min 22 s, 34 s each",
    ]


def test_nothing_done_yet_promises_nothing() -> None:
    assert lines_of([(0, "compile", 0, 1), (6, "compile", 0, 1), (7, "compile", 1, 1)]) == [
        "compile: 0/1 (0 %), 6.0 s so far",
        "compile: 1 in 7.0 s",
    ]


@given(
    st.integers(0, 50),
    st.integers(1, 50),
    st.integers(1, 50),
    st.floats(0.1, 1e4),
    st.floats(0, 1e4),
)
def test_the_time_left_is_never_less_than_an_immediate_next_item_would_give(
    first: int, items: int, left: int, took: float, silent: float
) -> None:
    done = first + items
    stage = Stage("x", 0.0, first, done, done + left, took, 0.0)
    promised = stage.remaining(took)
    assert promised == pytest.approx(left * took / items)
    later = stage.remaining(took + silent)
    assert later is not None
    assert later >= (took + silent) / (items + 1) * (left - 1) - 1e-6


def test_a_stream_that_breaks_ends_the_reporting_not_the_work() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    clock = Clock()
    progress = Progress(Broken(), animated=False, clock=clock)
    for n in range(5):
        clock.now += 10
        progress("a", n, 4)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (11_100, "3 h 05 min"),
    ],
)
def test_durations_read_well(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_rates_read_well() -> None:
    assert [rate_words(r) for r in (5234.6, 10, 3.14, 0.5)] == [
        "5,235/s",
        "10/s",
        "3.1/s",
        "2.0 s each",
    ]


ANIMATED_STAGE = """
import sys, time
from cli import progress
progress.SHORTEST_SHOWN = 0.2
with progress.Progress() as report:
    for n in range(12):
        report("labels", n, 12)
        time.sleep(0.1)
    report("labels", 12, 12)
    print("the result")
"""


def on_a_terminal(code: str, **environment: str) -> tuple[str, str]:
    """Run code with its stderr on a pseudo-terminal; (stdout, what the terminal received)."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment},
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    received = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other side was closed
            break
        received += piece
    os.close(ours)
    stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return stdout.decode(), received.decode()


COLOR = re.compile(r"\x1b\[[0-9;]*3[0-9]")


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end() -> None:
    stdout, terminal = on_a_terminal(ANIMATED_STAGE, TERM="xterm-256color", COLUMNS="100")
    assert stdout == "the result\n"
    assert "━" in terminal
    assert "left" in terminal
    assert "labels: 12 in 1." in terminal
    assert "\x1b[?25h" in terminal.rpartition("\x1b[?25l")[2]  # the cursor is shown again


def test_no_color_is_honoured_on_a_terminal() -> None:
    _, coloured = on_a_terminal(ANIMATED_STAGE, TERM="xterm-256color", NO_COLOR="")
    _, plain = on_a_terminal(ANIMATED_STAGE, TERM="xterm-256color", NO_COLOR="1")
    assert COLOR.search(coloured)
    assert not COLOR.search(plain)


def test_a_dumb_terminal_gets_plain_lines() -> None:
    _, terminal = on_a_terminal(ANIMATED_STAGE, TERM="dumb")
    assert "\x1b" not in terminal
    assert "labels: 12 in 1." in terminal
