"""A running sweep on stderr: a table that is redrawn on a terminal, plain lines elsewhere.

In: the executor's events, from any thread. The last line says what came of it and names the
bottleneck.
"""

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from cli.progress import LINE_EVERY, LINE_EVERY_AT_MOST, can_animate, duration, open_live
from engine.sweep.watching.watch import Watch

if TYPE_CHECKING:
    from rich.console import RenderableType

LOOK_EVERY = 0.5  # seconds between two snapshots
MOST_WORKERS = 16  # shown one by one
PLACE = ("ipc", "labels", "expert_epoch")  # named of a cell while none other was seen


class SweepView:
    """An event listener that shows a sweep; a context manager that leaves the terminal clean."""

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
        self._lock = threading.Lock()
        self._watch = Watch()
        self._snapshot = self._watch.snapshot()
        self._began = self._looked = self._last_line = clock()
        self._live: Any = None

    def __enter__(self) -> "SweepView":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take an event into account, and show what has become of the sweep now and then."""
        if event["event"] == "sweep_started":
            self._begin()
        with self._lock:
            line = self._take(event)
        if line is not None:
            self._write(line)

    def _begin(self) -> None:
        """Show a run from its start; a command may have several, one after the other."""
        with self._lock:
            self._watch = Watch()
            self._began = self._looked = self._last_line = self._clock()
        if self._animated and self._live is None:
            self._live = open_live(self._stream, self._table)

    def _take(self, event: Mapping[str, Any]) -> str | None:
        self._watch(event)
        now = self._clock()
        over = event["event"] in ("sweep_finished", "sweep_stopped")
        if over or now - self._looked >= LOOK_EVERY:
            # The drawing thread reads snapshots, never the watch, which changes under it.
            self._snapshot, self._looked = self._watch.snapshot(), now
        if over:
            return final_line(self._snapshot)
        if event["event"] == "worker_died":
            return str(event["reason"]).splitlines()[0]
        pause = min(max(LINE_EVERY, (now - self._began) / 20), LINE_EVERY_AT_MOST)
        if self._animated or now - self._last_line < pause:
            return None
        self._last_line = now
        return running_line(self._snapshot)

    def _write(self, line: str) -> None:
        try:
            if self._live is not None:
                self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
                self._stream.write(f"{line}\n")
                self._stream.flush()
        except OSError:
            pass  # the terminal has gone; the sweep goes on without it

    def _table(self) -> "RenderableType":
        from rich.table import Table
        from rich.text import Text

        snapshot = self._snapshot
        table = Table.grid(padding=(0, 2))
        for worker in snapshot["workers"][:MOST_WORKERS]:
            spent = duration(max(snapshot["updated"] - worker["since"], 0))
            share = f"{100 * worker['seen'] // worker['total']} %" if worker["total"] else ""
            rate = worker["images_per_second"]
            table.add_row(
                Text(f"worker {worker['worker']}"),
                Text(worker["state"]),
                Text(cell_words(worker["cell"] or {}, snapshot["cell_keys"] or PLACE)),
                Text(share),
                Text(spent),
                Text(f"{rate:,.0f} images/s" if rate else ""),
            )
        frame = Table.grid()
        frame.add_row(table)
        hidden = len(snapshot["workers"]) - MOST_WORKERS
        if hidden > 0:
            frame.add_row(Text(f"and {hidden} workers more"))
        frame.add_row(Text(running_line(snapshot)))
        return frame


def running_line(snapshot: Mapping[str, Any]) -> str:
    """`students: 34/120 (28 %), 880 done before, 1 failed, 1,590 images/s, about 5 min left; …`."""
    trials = snapshot["trials"]
    ended = trials["done"] + trials["failed"]
    parts = [
        f"students: {ended:,}/{trials['total']:,} ({100 * ended // max(trials['total'], 1)} %)"
    ]
    if trials["done_before"]:
        parts.append(f"{trials['done_before']:,} done before")
    if trials["failed"]:
        parts.append(f"{trials['failed']:,} failed")
    if snapshot["images_per_second"]:
        parts.append(f"{snapshot['images_per_second']:,.0f} images/s")
    if snapshot["eta_seconds"] is not None:
        parts.append(f"about {duration(snapshot['eta_seconds'])} left")
    return ", ".join(parts) + best_words(snapshot["best"], snapshot["cell_keys"])


def final_line(snapshot: Mapping[str, Any]) -> str:
    """`students: 119 done, 1 failed in 7 min 22 s; steps 92 %, evaluation 3 %, …`."""
    trials = snapshot["trials"]
    seconds = snapshot["updated"] - snapshot["started"]
    failed = f", {trials['failed']:,} failed" if trials["failed"] else ""
    before = f" ({trials['done_before']:,} done before)" if trials["done_before"] else ""
    shares = sorted(snapshot["shares"].items(), key=lambda item: -item[1])
    named = [f"{part} {100 * share:.0f} %" for part, share in shares if share >= 0.005]
    spent = f"; workers' time: {', '.join(named)}" if named else ""
    return f"students: {trials['done']:,} done{failed} in {duration(seconds)}{before}{spent}"


def best_words(best: Mapping[str, Any] | None, keys: Sequence[str]) -> str:
    """`; best so far 45.3 % (IPC 10, expert epoch 13; mean of 3)`; empty while there is none."""
    if best is None:
        return ""
    named = cell_words(best["cell"], keys)
    where = "; ".join(filter(None, [named, f"mean of {best['trials']}"]))
    return f"; best so far {100 * best['test']:.1f} % ({where})"


def cell_words(cell: Mapping[str, Any], keys: Sequence[str]) -> str:
    """A cell's settings under these keys, as far as they are set: `IPC 10, hard labels`."""
    return ", ".join(_setting(key, cell[key]) for key in keys if cell.get(key) is not None)


def _setting(key: str, value: Any) -> str:
    if key == "labels":
        return f"{value} labels"
    return f"{'IPC' if key == 'ipc' else key.replace('_', ' ')} {value}"
