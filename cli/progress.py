"""Progress of a running command on stderr: bars on a terminal, a plain line now and then elsewhere.

In: calls `progress(stage, done, total)`, in items, from any thread of the process that made it.
Out: for each stage that takes two seconds or more, its share, its rate and the time that is left,
judged by what this stage has taken so far; items that were already done at a stage's first call
(a resumed run) don't count as fast ones. When such a stage ends, one line says what it took.

A thread redraws the bars twice a second, so that a silent stretch (a compilation) is seen to live.
It writes to the file descriptor and not through Python's stderr: a process forked while the thread
holds the stream's lock would wait for that lock for ever.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

SHORTEST_SHOWN = 2.0  # seconds; stages that are over sooner are never mentioned
LINE_EVERY = 5.0  # seconds between plain lines at first; …
LINE_EVERY_AT_MOST = 60.0  # … a long stage gets one a minute


@dataclass
class Stage:
    """One stage as far as it was reported; times in seconds of a monotonic clock."""

    name: str
    started: float
    first_done: int
    done: int
    total: int
    updated: float
    last_line: float

    def elapsed(self, now: float) -> float:
        """Seconds since the first report."""
        return now - self.started

    def rate(self) -> float | None:
        """Items per second between the first report and the last; None while nothing was done."""
        items, seconds = self.done - self.first_done, self.updated - self.started
        return items / seconds if items > 0 and seconds > 0 else None

    def remaining(self, now: float) -> float | None:
        """Seconds left at the stage's own rate; None while there is none to judge by.

        Counts down between reports, and never below what would be left if the next item were
        finished this moment: a stage that stalls is not promised to end at once.
        """
        rate = self.rate()
        if rate is None:
            return None
        left = self.total - self.done
        promised = left / rate - (now - self.updated)
        done_next = self.done - self.first_done + 1
        stalled = self.elapsed(now) / done_next * max(left - 1, 0)
        return max(promised, stalled, 0.0)


class Progress:
    """Callable `progress(stage, done, total)`; a context manager that leaves the terminal clean.

    `animated` defaults to whether `stream` is a terminal that can redraw a line. A terminal that
    goes away ends the reporting, never the work.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        animated: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._animated = can_animate(self._stream) if animated is None else animated
        self._clock = clock
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._stages: dict[str, Stage] = {}
        self._live: Any = None
        self._gone = self._stream is None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close_display()

    def close_display(self) -> None:
        """Leave the terminal to somebody else, until a stage is next reported."""
        if self._live is not None and os.getpid() == self._owner:
            self._stages.clear()
            self._live.stop()
            self._live = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._gone or os.getpid() != self._owner:
            return
        # Nothing is written under this lock: the redrawing thread holds the display's own lock
        # while it looks at the stages, so waiting for the two in the other order could hang.
        with self._lock:
            line = self._report(stage, int(done), int(total))
            if self._animated and self._live is None:
                self._live = open_live(self._stream, self._bars)
        if line is not None:
            try:
                self._write(line)
            except OSError:
                self._gone = True

    def _report(self, name: str, done: int, total: int) -> str | None:
        now = self._clock()
        stage = self._stages.get(name)
        if stage is None:
            stage = Stage(name, now, done, done, total, now, now)
            self._stages[name] = stage
        stage.done, stage.total, stage.updated = done, total, now

        if done >= total:
            del self._stages[name]
            return finished_line(stage, now) if stage.elapsed(now) >= SHORTEST_SHOWN else None
        if self._animated or not self._line_is_due(stage, now):
            return None
        stage.last_line = now
        return running_line(stage, now)

    @staticmethod
    def _line_is_due(stage: Stage, now: float) -> bool:
        pause = min(max(LINE_EVERY, stage.elapsed(now) / 20), LINE_EVERY_AT_MOST)
        return now - stage.last_line >= pause

    def _write(self, line: str) -> None:
        if self._live is not None:
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            self._stream.write(f"{line}\n")
            self._stream.flush()

    def _bars(self) -> "RenderableType":
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now = self._clock()
        shown = [s for s in list(self._stages.values()) if s.elapsed(now) >= SHORTEST_SHOWN]
        bars = Table.grid(padding=(0, 1))
        for stage in shown:
            bars.add_row(
                Text(stage.name),
                ProgressBar(total=max(stage.total, 1), completed=stage.done, width=24),
                Text(progress_words(stage, now)),
            )
        return bars


class _Descriptor:
    """A text stream over a file descriptor that holds no lock of Python's between calls."""

    encoding = "utf-8"

    def __init__(self, number: int) -> None:
        self._number = number

    def write(self, text: str) -> int:
        data = text.encode("utf-8", "replace")
        try:
            while data:
                data = data[os.write(self._number, data) :]
        except OSError:
            pass  # the terminal has gone; the work goes on without it
        return len(text)

    def flush(self) -> None:
        """Nothing is ever held back."""

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return True


def open_live(stream: TextIO, draw: "Callable[[], RenderableType]") -> Any:
    """A started display on a terminal that shows what ``draw`` returns, and leaves no trace."""
    from rich.live import Live

    live = Live(
        get_renderable=draw,
        console=console_on(stream),
        refresh_per_second=2,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    live.start()
    return live


def console_on(stream: TextIO) -> "Console":
    from rich.console import Console

    return Console(file=_Descriptor(stream.fileno()))  # type: ignore[arg-type]


def can_animate(stream: TextIO | None) -> bool:
    """Whether lines on the stream can be redrawn: a terminal, and not a dumb one."""
    if stream is None or os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
        return False
    try:
        return stream.isatty() and stream.fileno() >= 0
    except (OSError, ValueError):
        return False


def running_line(stage: Stage, now: float) -> str:
    """`train: 3/13 (23 %), 34 s each, about 5 min 40 s left`."""
    return f"{stage.name}: {progress_words(stage, now)}"


def finished_line(stage: Stage, now: float) -> str:
    """`train: 13 in 7 min 22 s, 34 s each`."""
    rate = stage.rate()
    pace = f", {rate_words(rate)}" if rate is not None and stage.done > 1 else ""
    return f"{stage.name}: {stage.done:,} in {duration(stage.elapsed(now))}{pace}"


def progress_words(stage: Stage, now: float) -> str:
    """Share, rate and time left of a running stage."""
    parts = [f"{stage.done:,}/{stage.total:,} ({100 * stage.done // max(stage.total, 1)} %)"]
    rate, left = stage.rate(), stage.remaining(now)
    if rate is not None and left is not None:
        parts += [rate_words(rate), f"about {duration(left)} left"]
    else:
        parts.append(f"{duration(stage.elapsed(now))} so far")
    return ", ".join(parts)


def rate_words(rate: float) -> str:
    """`5,200/s`, `3.1/s`, or `34 s each` for what takes over a second."""
    if rate < 1:
        return f"{duration(1 / rate)} each"
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def duration(seconds: float) -> str:
    """`0.4 s`, `34 s`, `7 min 22 s`, `3 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
