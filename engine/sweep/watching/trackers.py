"""Experiment trackers that follow a sweep, through Accelerate: TensorBoard, W&B, MLflow and others.

In: names that Accelerate knows, or trackers of one's own (subclasses of its ``GeneralTracker``),
and the executor's events (`engine.sweep.executors.recording`). Out: one entry a finished trial,
whose step is the number of trials finished so far.

| Field | Content |
|---|---|
| `trial/test` | accuracy after the last epoch, 0 to 1 |
| `trial/images_per_second`, `seconds/PART` | speed, and where the trial's time went |
| `trial/id`, `cell/AXIS` | which trial, and its place in the grid |
| `sweep/done`, `sweep/failed`, `sweep/left`, `sweep/workers_lost` | counts of this run |

Text goes only to trackers that take it. Each tracker has a thread of its own, in which all of it is
called (MLflow's runs belong to a thread): trials never wait for a network. One that raises is told
no more, which stderr says once; the sweep goes on. Accelerate is imported when a tracker is made,
and its tracker classes are used without an ``Accelerator``, which would let one of them stop the
others.
"""

from __future__ import annotations

import contextlib
import difflib
import queue
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from engine.analysis.trials import flatten
from engine.errors import UsageError

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

FOLDER = "trackers"
PATIENCE = 60.0  # seconds that a tracker may take for one entry while the sweep's end waits for it
PATIENCE_WHEN_STOPPED = 5.0

NUMBERS_ONLY = frozenset({"aim", "clearml", "mlflow", "swanlab"})
"""Trackers of Accelerate that warn of every text they are given, or are made for numbers alone."""

PACKAGES = {"aim": "'aim<4'"}
"""What to install for a tracker, where it isn't called like it."""

Fields = dict[str, Any]


class TrackerListener:
    """An event listener and a context manager: trackers start when it is entered.

    Args:
        trackers: names (``tensorboard``, …; ``all`` are those installed) or trackers.
        sweep: folder of the sweep: its name is the project's, and trackers that keep files keep
            them in its ``trackers/``.
        config: settings of the run to store with it; nested keys are joined by dots.
        finished_before: trials that the sweep had finished earlier; steps count on from there.

    Raises:
        UsageError: a tracker is unknown or not installed; on entering, that one can't start.
    """

    def __init__(
        self,
        trackers: Sequence[str | GeneralTracker],
        sweep: str | Path,
        config: Mapping[str, Any] | None = None,
        *,
        finished_before: int = 0,
        patience: float = PATIENCE,
    ) -> None:
        self._sweep = Path(sweep)
        self._config = flatten(config or {})
        self._patience = patience
        self._chosen = _choose(trackers)
        self._feeds: list[_Feed] = []
        self._step = finished_before
        self._counts = {"done": 0, "failed": 0, "left": 0, "workers_lost": 0}

    def __enter__(self) -> TrackerListener:
        try:
            for chosen in self._chosen:
                self._feeds.append(_Feed(chosen, self._sweep, self._config))
            for feed in self._feeds:
                feed.wait_until_started()
        except BaseException:
            self.close(PATIENCE_WHEN_STOPPED)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(self._patience if kind is None else PATIENCE_WHEN_STOPPED)

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take an event into account; called by any one thread at a time, and never waits."""
        kind = event["event"]
        if kind == "sweep_started":
            self._counts["left"] = event["trials"]
        elif kind == "worker_died":
            self._counts["workers_lost"] += 1
        elif kind == "trial_finished":
            self._step += 1
            self._counts["done" if event["status"] == "done" else "failed"] += 1
            self._counts["left"] -= 1
            counts = {f"sweep/{name}": count for name, count in self._counts.items()}
            for feed in self._feeds:
                feed.log(trial_fields(event) | counts, self._step)

    def close(self, patience: float = PATIENCE) -> None:
        """End the trackers; waits for what they were told, ``patience`` seconds an entry."""
        for feed in self._feeds:
            feed.finish()
        for feed in self._feeds:
            feed.wait_until_finished(patience)
        self._feeds = []


def trial_fields(event: Mapping[str, Any]) -> Fields:
    """What a tracker is told of a ``trial_finished`` event: numbers and text, and no nulls."""
    fields = {
        "trial/test": event["test"],
        "trial/images_per_second": event["rate"],
        "trial/id": event["id"],
        **{f"seconds/{part}": spent for part, spent in (event["seconds"] or {}).items()},
        **{f"cell/{axis}": value for axis, value in flatten(event["cell"]).items()},
    }
    return {name: value for name, value in fields.items() if value is not None}


class _Feed:
    """One tracker and the thread in which everything of it is called."""

    def __init__(self, chosen: str | GeneralTracker, sweep: Path, config: Fields) -> None:
        self.name = chosen if isinstance(chosen, str) else str(chosen.name)
        self._chosen, self._sweep, self._config = chosen, sweep, config
        self._entries: queue.SimpleQueue[tuple[Fields, int] | None] = queue.SimpleQueue()
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._taken = 0
        # A tracker that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"tracker-{self.name}", daemon=True)
        self._thread.start()

    def log(self, fields: Fields, step: int) -> None:
        if self._error is None:
            self._entries.put((fields, step))

    def finish(self) -> None:
        self._entries.put(None)

    def wait_until_started(self) -> None:
        self._started.wait()
        if self._error is not None:
            raise UsageError(
                f"the tracker {self.name} can't start ({_in_short(self._error)}); "
                "set it up as its documentation says, or leave it out"
            ) from self._error

    def wait_until_finished(self, patience: float) -> None:
        taken = -1
        while self._thread.is_alive() and taken != self._taken:
            taken = self._taken
            self._thread.join(patience)
        if self._thread.is_alive():
            _warn(f"the tracker {self.name} did not end within {patience:g} s and is left behind")

    def _run(self) -> None:
        try:
            tracker = self._start()
        except BaseException as error:
            self._error = error
            return
        finally:
            self._started.set()
        try:
            while (entry := self._entries.get()) is not None:
                fields, step = entry
                tracker.log(_numbers(fields) if self.name in NUMBERS_ONLY else fields, step)
                self._taken += 1
            tracker.finish()
        except BaseException as error:
            self._error = error
            _warn(
                f"the tracker {self.name} is told no more ({_in_short(error)}); the sweep goes on"
            )

    def _start(self) -> GeneralTracker:
        from accelerate import PartialState

        PartialState()  # Accelerate's loggers and trackers refuse to work before it
        tracker = _make(self._chosen, self._sweep)
        tracker.start()
        tracker.store_init_configuration(
            {name: value for name, value in self._config.items() if value is not None}
        )
        return tracker


def _choose(trackers: Sequence[str | GeneralTracker]) -> list[str | GeneralTracker]:
    """Trackers and names of trackers that are here, each once."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    from accelerate.utils import LoggerType

    installed = [str(each) for each in get_available_trackers()]
    of_accelerate = {str(each) for each in LoggerType} - {"all"}
    usable = sorted({*installed, *(set(LOGGER_TYPE_TO_CLASS) - of_accelerate)})
    here = f"ready here: {', '.join(usable) or 'none'}"
    chosen: dict[Any, None] = {}
    for tracker in trackers:
        if not isinstance(tracker, str):
            chosen[tracker] = None
        elif tracker == "all":
            if not usable:
                raise UsageError("no tracker is installed: `pip install tensorboard`, for example")
            chosen |= dict.fromkeys(usable)
        elif tracker in usable:
            chosen[tracker] = None
        elif tracker in of_accelerate:
            package = PACKAGES.get(tracker, tracker)
            raise UsageError(
                f"the tracker {tracker} is not installed: `pip install {package}` ({here})"
            )
        else:
            known = sorted(of_accelerate | set(LOGGER_TYPE_TO_CLASS) | {"all"})
            near = difflib.get_close_matches(tracker, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected {', '.join(known)}"
            raise UsageError(f"unknown tracker {tracker!r}; {hint} ({here})")
    return list(chosen)


def _make(chosen: str | GeneralTracker, sweep: Path) -> GeneralTracker:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    if not isinstance(chosen, str):
        return chosen
    kind = LOGGER_TYPE_TO_CLASS[chosen]
    project = sweep.absolute().name
    if not kind.requires_logging_directory:
        return kind(project)
    folder = sweep / FOLDER / chosen
    folder.mkdir(parents=True, exist_ok=True)
    return kind(project, str(folder))


def _numbers(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if not isinstance(value, str)}


def _in_short(error: BaseException) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def _warn(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)
