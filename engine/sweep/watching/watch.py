"""Follows a running sweep: what the live view and SWEEP/status.json show.

In: the executor's events (`engine.sweep.executors.recording`), in order. `sweep_started` may also
say how many of the plan's trials were `already_done`, and in which `cell_keys` all of its cells
differ; without these, 0 and the cells seen so far count. Out: a snapshot, a plain dict.

| Key | Content |
|---|---|
| `state` | running, finished or stopped; `sweep_status` adds `died` |
| `driver` | pid, host, and what tells the process from a later one with the same pid |
| `started`, `updated` | seconds since 1970 |
| `trials` | of this run: total, done, failed, waiting, running; finished earlier: done_before |
| `workers` | of each: worker, pid, state, since; id, cell, seen, total, images_per_second |
| `best` | the cell with the highest mean test accuracy of this run: cell, test, trials |
| `cell_keys` | in which the sweep's cells differ, as far as is known: worth naming of a cell |
| `images_per_second` | of all workers together, in estimated work, compiling included |
| `eta_seconds` | null while there is nothing to judge by |
| `seconds`, `shares` | of workers' time by part: setup, compile, steps, evaluation, other |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.records import canonical_json
from engine.sweep.watching.process_identity import identify_process


@dataclass
class _Place:
    """A worker's place: who is there, at what, since when."""

    pid: int | None = None
    state: str = "starting"
    since: float = 0.0
    trial: Mapping[str, Any] | None = None
    seen: int = 0
    total: int = 0
    told: float = 0.0

    @property
    def share_done(self) -> float:
        return self.seen / self.total if self.total else 0.0

    @property
    def work_done(self) -> float:
        return self.share_done * self.trial["work"] if self.trial else 0.0

    def describe(self, number: int) -> dict[str, Any]:
        trial = self.trial or {}
        spent = self.told - self.since
        return {
            "worker": number,
            "pid": self.pid,
            "state": self.state,
            "since": self.since,
            "id": trial.get("id"),
            "cell": trial.get("cell"),
            "seen": self.seen,
            "total": self.total,
            "images_per_second": self.seen / spent if self.seen and spent > 0 else None,
        }


@dataclass
class _Cell:
    cell: Mapping[str, Any]
    total: float = 0.0
    trials: int = 0

    @property
    def mean(self) -> float:
        return self.total / self.trials


class _Differences:
    """The keys in which cells differ, in the order in which cells have them.

    What a cell leaves open is no difference: hard labels have no expert, and ``labels`` says so.
    """

    def __init__(self) -> None:
        self._first: dict[str, Any] = {}
        self._differing: set[str] = set()

    def announce(self, keys: Iterable[str]) -> None:
        """These differ, whatever was seen."""
        self._differing.update(keys)

    def note(self, cell: Mapping[str, Any]) -> None:
        """Take a cell into account."""
        for key, value in cell.items():
            if value is not None and self._first.setdefault(key, value) != value:
                self._differing.add(key)

    @property
    def keys(self) -> list[str]:
        return [key for key in self._first if key in self._differing]


def keys_that_differ(cells: Iterable[Mapping[str, Any]]) -> list[str]:
    """The keys in which the cells of trials differ: what is worth naming of one of them."""
    differences = _Differences()
    for cell in cells:
        differences.note(cell)
    return differences.keys


@dataclass
class Watch:
    """Follows the events of one run; `snapshot` says where it is."""

    state: str = "starting"
    started: float = 0.0
    now: float = 0.0
    driver: dict[str, Any] = field(default_factory=dict)
    trials: int = 0
    done_before: int = 0
    done: int = 0
    failed: int = 0
    workers_lost: int = 0
    work_total: float = 0.0
    work_settled: float = 0.0
    work_done: float = 0.0
    work_unsettled: dict[str, float] = field(default_factory=dict)
    """Of trials that ended and whose records are not durable yet, by id."""
    first_ready: float | None = None
    busy_seconds: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    places: dict[int, _Place] = field(default_factory=dict)
    cells: dict[bytes, _Cell] = field(default_factory=dict)
    differences: _Differences = field(default_factory=_Differences)

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take one event into account."""
        self.now = event["time"]
        kind = event["event"]
        if kind.startswith("sweep_"):
            self._sweep(kind, event)
        elif kind.startswith("worker_"):
            self._worker(kind, event)
        elif kind == "trial_finished":
            self._finished(event)
        elif kind.startswith("trial_"):
            self._trial(kind, event)

    def _sweep(self, kind: str, event: Mapping[str, Any]) -> None:
        if kind == "sweep_started":
            self.state, self.started = "running", event["time"]
            self.driver = identify_process(event["pid"])
            self.trials, self.work_total = event["trials"], event["work"]
            self.done_before = event.get("already_done", 0)
            self.differences.announce(event.get("cell_keys", ()))
        else:
            self.state = kind.removeprefix("sweep_")
            self.places.clear()

    def _worker(self, kind: str, event: Mapping[str, Any]) -> None:
        place = self.places.setdefault(event["worker"], _Place())
        if place.trial is not None:
            self.busy_seconds += event["time"] - place.since
        place.state = {"worker_started": "starting", "worker_ready": "idle"}.get(kind, "ended")
        place.pid = event.get("pid", place.pid)
        place.since, place.trial, place.seen, place.total = event["time"], None, 0, 0
        if kind == "worker_ready" and self.first_ready is None:
            self.first_ready = event["time"]
        self.workers_lost += kind == "worker_died"

    def _trial(self, kind: str, event: Mapping[str, Any]) -> None:
        place = self.places.setdefault(event["worker"], _Place())
        place.told = event["time"]
        if kind == "trial_progress":
            place.seen, place.total = event["seen"], event["total"]
            return
        if place.trial is not None:  # it went on before its last record was durable
            self.busy_seconds += event["time"] - place.since
            if place.trial["id"] != event["id"]:
                self.work_unsettled[place.trial["id"]] = place.trial["work"]
        place.state, place.since, place.trial = "running", event["time"], event
        self.differences.note(event["cell"])
        place.seen = place.total = 0

    def _finished(self, event: Mapping[str, Any]) -> None:
        self.work_settled += event["work"]
        self.work_unsettled.pop(event["id"], None)
        self.differences.note(event["cell"])
        place = self.places.get(event["worker"])
        if place is not None and place.trial is not None and place.trial["id"] == event["id"]:
            self.busy_seconds += event["time"] - place.since
            place.state, place.since, place.trial = "idle", event["time"], None
            place.seen = place.total = 0
        if event["status"] != "done":
            self.failed += 1
            return
        self.done += 1
        self.work_done += event["work"]
        for part, spent in event["seconds"].items():
            self.seconds[part] = self.seconds.get(part, 0.0) + spent
        if event["test"] is not None:
            cell = self.cells.setdefault(canonical_json(event["cell"]), _Cell(event["cell"]))
            cell.total, cell.trials = cell.total + event["test"], cell.trials + 1

    def rate(self) -> float | None:
        """Images of work per second since the first worker was ready; None before any were done."""
        done = self.work_done + self._under_way
        elapsed = self.now - self.first_ready if self.first_ready is not None else 0.0
        return done / elapsed if done > 0 and elapsed > 0 else None

    def eta(self) -> float | None:
        """Seconds left at the rate so far, and never less than a running trial still needs."""
        rate = self.rate()
        if rate is None:
            return None
        running = [place for place in self.places.values() if place.trial is not None]
        left = [p.trial["work"] - p.work_done for p in running if p.trial is not None]
        alone = max(left, default=0.0) * len(self.places)
        return max(self.work_total - self.work_settled - self._under_way, alone) / rate

    @property
    def _under_way(self) -> float:
        """Work of running trials, and of those whose records are awaited."""
        running = sum(place.work_done for place in self.places.values())
        return running + sum(self.work_unsettled.values())

    def shares(self) -> dict[str, float]:
        """Of the time workers spent on trials: each part's share, and what no part names."""
        named = sum(self.seconds.values())
        spent = max(self.busy_seconds, named)
        if spent <= 0:
            return {}
        parts = {part: seconds / spent for part, seconds in self.seconds.items()}
        return parts | {"other": (spent - named) / spent}

    def snapshot(self) -> dict[str, Any]:
        """All of it, as the module's table says; JSON-ready."""
        running = sum(place.trial is not None for place in self.places.values())
        best = max(self.cells.values(), key=lambda cell: cell.mean, default=None)
        return {
            "kind": "sweep-status",
            "state": self.state,
            "driver": self.driver,
            "started": self.started,
            "updated": self.now,
            "trials": {
                "done_before": self.done_before,
                "total": self.trials,
                "done": self.done,
                "failed": self.failed,
                "running": running,
                "waiting": max(self.trials - self.done - self.failed - running, 0),
            },
            "workers": [self.places[number].describe(number) for number in sorted(self.places)],
            "workers_lost": self.workers_lost,
            "best": best and {"cell": best.cell, "test": best.mean, "trials": best.trials},
            "cell_keys": self.differences.keys,
            "images_per_second": self.rate(),
            "eta_seconds": self.eta(),
            "seconds": self.seconds,
            "shares": self.shares(),
        }
