"""A worker of a sweep on Ray: an actor that runs trials one after the other, and tells how far.

Two of its methods never wait for each other, because each has a thread of its own (Ray's
concurrency groups): trials, and news of the one that is running. An unanswered question for news
therefore delays nobody.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import traceback
from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.errors import RankError
from engine.sweep.executors.schedule import Job
from engine.sweep.executors.worker import THREAD_VARIABLES, Runnable, Runner, as_json, attempt
from engine.sweep.watching.process_identity import identify_process, is_same_process

TRIALS, NEWS = "trials", "news"


class News(NamedTuple):
    """What an actor answers at any time: its process, and the trial that it is at.

    ``reports`` grows with everything that happens, so two equal numbers mean silence.
    """

    process: dict[str, Any]
    reports: int
    trial_id: str | None
    seen: int
    total: int


class RunnerActor:
    """One slot's process."""

    def __init__(self, threads: int) -> None:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))  # before torch is loaded
        self._process = identify_process(os.getpid())
        self._runner: Runner | None = None
        self._at: tuple[str | None, int, int] = (None, 0, 0)
        self._reports = 0
        self._thread = 0

    def start(self, make_runner: bytes, path: list[str]) -> dict[str, Any]:
        """Make the runner, here and not before, so that a failure has a message.

        ``path``: where the driver finds modules, for those that aren't installed.
        """
        self._thread = threading.get_ident()
        sys.path += [entry for entry in path if entry not in sys.path]
        self._runner = pickle.loads(make_runner)()
        return self._process

    def run(self, trial: Runnable) -> str:
        """Run a trial; returns its record as JSON."""
        assert self._runner is not None
        self._report(trial.id, 0, 0)
        try:
            record = attempt(
                self._runner, trial, lambda seen, total: self._report(trial.id, seen, total)
            )
        except RankError:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)  # or Ray would go on with this process
        self._report(None, 0, 0)
        return as_json(trial, record)

    def news(self) -> News:
        """How far it is."""
        trial_id, seen, total = self._at
        return News(self._process, self._reports, trial_id, seen, total)

    def where(self) -> str:
        """Where in the code the trial is."""
        frame = sys._current_frames().get(self._thread)
        return "".join(traceback.format_stack(frame)) if frame else ""

    def _report(self, trial_id: str | None, seen: int, total: int) -> None:
        self._at = trial_id, seen, total
        self._reports += 1


def kill_process(process: dict[str, Any]) -> None:
    """A task for the node of an actor that doesn't answer; spares a later process of that pid."""
    if is_same_process(process):
        os.kill(process["pid"], signal.SIGKILL)


@dataclass(eq=False)
class Actor:
    """The driver's end of an actor: its calls that have no answer yet, first in, first out.

    ``number`` is its place among the workers, ``since`` when it began what it is at, ``process``
    what its first news say.
    """

    number: int
    node: str
    handle: Any
    calls: deque[tuple[Any, Job]] = field(default_factory=deque)
    ready: bool = False
    since: float = 0.0
    process: dict[str, Any] | None = None
    reports: int = -1
    asked: Any = None
    ask_at: float = 0.0

    def __post_init__(self) -> None:
        self._run = self.handle.run.options(concurrency_group=TRIALS)
        self._news = self.handle.news.options(concurrency_group=NEWS)
        self._where = self.handle.where.options(concurrency_group=NEWS)
        self.started: Any = None

    def start(self, make_runner: Any) -> None:
        """Have it make its runner; ``started`` is the answer."""
        start = self.handle.start.options(concurrency_group=TRIALS)
        path = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100 ("" is here)
        self.started = start.remote(make_runner, path)

    def run(self, trial: Runnable, job: Job) -> None:
        """Give it a trial behind those that it has."""
        self.calls.append((self._run.remote(trial), job))

    def ask(self) -> None:
        """Ask for news; ``asked`` is the answer."""
        self.asked = self._news.remote()

    def where(self) -> Any:
        """The answer to where its trial is."""
        return self._where.remote()

    @property
    def pid(self) -> int | None:
        """Of its process on its node, once known."""
        return self.process["pid"] if self.process else None
