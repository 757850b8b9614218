"""The loop that keeps worker processes running and busy, in a thread of its own."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from beton_builder.machine import allowed_cores
from engine.errors import RankError
from engine.sweep.executors.driver_thread import DriverThread
from engine.sweep.executors.lookahead import Lookahead
from engine.sweep.executors.recording import Recorder
from engine.sweep.executors.schedule import Schedule
from engine.sweep.executors.silence import Silence, no_progress
from engine.sweep.executors.worker import Runnable, failed_record
from engine.sweep.executors.worker_process import WorkerProcess
from engine.sweep.timing.packing import own_cores

TICK = 0.5  # seconds between looks at the clock
SECONDS_AHEAD = 0.05  # of work that a worker holds beside its trial
LAST_WORDS = 1.0  # seconds that a stopped worker has to end by itself
FAILED_STARTS = 3  # in a row, before workers are no longer replaced
FRUITLESS_DEATHS = 3  # times (retries + 1), in a row and without a record between, end the run


class Driver(DriverThread):
    """Keeps workers running and busy until the schedule is over or `stop` is called."""

    def __init__(
        self,
        trials: Mapping[str, Runnable],
        make_runner: bytes,
        schedule: Schedule,
        recorder: Recorder,
        workers: int,
        threads: int,
        start_timeout: float,
        stall_timeout: float | None,
        devices: Sequence[int | str],
    ) -> None:
        super().__init__()
        self._trials, self._make_runner = trials, make_runner
        self._schedule, self._recorder = schedule, recorder
        self._threads, self._devices = threads, devices
        self._start_timeout, self._stall_timeout = start_timeout, stall_timeout
        self._silence = Silence(2 * TICK)
        self._lookahead = Lookahead(schedule, SECONDS_AHEAD)
        self._cores = own_cores(workers, threads, allowed_cores())
        self._workers: dict[int, WorkerProcess] = {}
        self._by_slot: list[WorkerProcess | None] = [None] * workers
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._names = 0
        self._failed_starts = 0
        self._start_error: BaseException | None = None
        self._deaths_in_a_row = 0
        self._next_tick = 0.0

    def stop(self) -> None:
        """End soon: drop the current trials; called by another thread."""
        super().stop()
        with contextlib.suppress(OSError):
            self._wake.send(b"x")

    def drive(self) -> None:
        """Until every trial has ended, or `stop` is called."""
        self._selector.register(self._woken, selectors.EVENT_READ)
        while not self._schedule.is_over and not self.stopping:
            self._recorder.settle()
            self._start_workers()
            self._tick()
            wait = max(self._next_tick - time.monotonic(), 0)
            for key, mask in self._selector.select(wait):
                if isinstance(key.fileobj, WorkerProcess):
                    self._serve(key.fileobj, mask)

    def end(self) -> None:
        """Stop all workers; what they had sent before is still recorded."""
        try:
            self._end_workers()
        finally:
            self._selector.close()
            self._wake.close()
            self._woken.close()

    def _start_workers(self) -> None:
        counts = self._schedule.counts
        wanted = min(len(self._by_slot), counts.waiting + counts.running)
        for slot, present in enumerate(self._by_slot):
            if present or len(self._workers) >= wanted or self._failed_starts >= FAILED_STARTS:
                continue
            self._names += 1
            worker = WorkerProcess(
                self._names,
                slot,
                self._make_runner,
                threads=self._threads,
                cores=self._cores[slot],
                device=self._devices[slot % len(self._devices)] if self._devices else None,
            )
            self._silence.heard(worker.name)
            self._by_slot[slot] = self._workers[worker.name] = worker
            self._watch(worker)
            self._recorder.tell("worker_started", worker=slot, pid=worker.pid)
        if not self._workers:
            raise self._start_error or RankError("no worker started")

    def _watch(self, worker: WorkerProcess) -> None:
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.has_unsent else 0)
        known = self._selector.get_map().get(worker)
        if known is None:
            self._selector.register(worker, mask)
        elif known.events != mask:
            self._selector.modify(worker, mask)

    def _serve(self, worker: WorkerProcess, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            worker.flush()
        if mask & selectors.EVENT_READ:
            for message in worker.receive():
                self._silence.heard(worker.name)
                self._take(worker, *message)
        if worker.ended:
            self._bury(worker, worker.death())
        else:
            self._hand_out(worker)
            self._watch(worker)

    def _take(self, worker: WorkerProcess, kind: str, *content: Any) -> None:
        if kind == "ready":
            worker.ready, worker.since = True, time.monotonic()
            self._failed_starts, self._start_error = 0, None
            self._recorder.tell("worker_ready", worker=worker.slot)
        elif kind == "progress":
            seen, total = content
            self._recorder.tell("trial_progress", worker=worker.slot, seen=seen, total=total)
        elif kind == "record":
            self._record(worker, *content)
        elif kind == "broken":
            error, trace = content
            self._start_error = error or RankError(
                f"a worker can't be prepared; expected a runner, found:\n{trace}"
            )

    def _record(self, worker: WorkerProcess, trial_id: str, record: str) -> None:
        job = self._schedule.finished(worker.name)
        assert job.id == trial_id
        now = time.monotonic()
        self._lookahead.finished(job.work, now - worker.since)
        worker.since = now
        self._deaths_in_a_row = 0
        self._recorder.hand_in(worker.slot, self._trials[job.id], job, json.loads(record))
        if not self.stopping:
            self._begin(worker)

    def _begin(self, worker: WorkerProcess) -> None:
        queue = self._schedule.queue_of(worker.name)
        if queue:
            self._recorder.begin(worker.slot, self._trials[queue[0].id], queue[0])

    def _hand_out(self, worker: WorkerProcess) -> None:
        """Fill a ready worker's queue: one trial, and short ones so that it needn't wait for us."""
        if not worker.ready or self.stopping:
            return
        held = self._schedule.queue_of(worker.name)
        ahead = self._lookahead.trials_ahead(held, len(self._by_slot))
        if len(held) > ahead // 2:
            return
        trials: list[Runnable] = []
        while len(held) + len(trials) <= ahead:
            job = self._schedule.next_for(worker.name)
            if job is None:
                break
            trials.append(self._trials[job.id])
        if not trials:
            return
        if not held:
            worker.since = time.monotonic()
            self._silence.heard(worker.name)
            self._begin(worker)
        worker.send(trials)

    def _bury(self, worker: WorkerProcess, reason: str) -> None:
        """Account for a worker that is gone, and give its trials to others."""
        self._selector.unregister(worker)
        worker.close()
        self._silence.forget(worker.name)
        del self._workers[worker.name]
        self._by_slot[worker.slot] = None
        self._recorder.outcome.workers_lost += 1
        self._recorder.tell("worker_died", worker=worker.slot, pid=worker.pid, reason=reason)
        if not worker.ready:
            self._failed_starts += 1
            self._start_error = self._start_error or RankError(
                f"workers die before their first trial: {reason}\nWhat was finished is kept."
            )
            return
        self._deaths_in_a_row += 1
        given_up = self._schedule.lost(worker.name, reason)
        if given_up is not None:
            attempts = self._schedule.retries + 1
            error = f"lost {attempts} workers:\n{self._schedule.given_up[given_up.id]}"
            trial = self._trials[given_up.id]
            self._recorder.hand_in(None, trial, given_up, failed_record(trial, error))
        if self._deaths_in_a_row > FRUITLESS_DEATHS * (self._schedule.retries + 1):
            raise RankError(
                f"{self._deaths_in_a_row} workers died in a row and none finished a trial; the "
                f"last: {reason}\nWhat was finished is kept; fewer workers need less memory."
            )
        for other in list(self._workers.values()):
            self._hand_out(other)
            self._watch(other)

    def _tick(self) -> None:
        now = time.monotonic()
        if now < self._next_tick:
            return
        self._next_tick = now + TICK
        self._silence.pass_time(now)
        self._recorder.tick()
        for worker in list(self._workers.values()):
            overdue = self._overdue(worker)
            if overdue is not None:
                worker.say_where()
                worker.kill()
                self._bury(worker, worker.death(overdue))
            elif not worker.is_alive():
                self._serve(worker, selectors.EVENT_READ)
                if worker.name in self._workers and not worker.ended:
                    self._bury(worker, worker.death())

    def _overdue(self, worker: WorkerProcess) -> str | None:
        """Why a worker can't be waited for any longer; None while it can."""
        silent = self._silence.of(worker.name)
        if not worker.ready:
            late = silent > self._start_timeout
            return f"was killed: not ready after {self._start_timeout:g} s" if late else None
        held = self._schedule.queue_of(worker.name)
        if held and self._stall_timeout and silent > self._stall_timeout:
            return no_progress(self._stall_timeout, held[0].id)
        return None

    def _end_workers(self) -> None:
        self.stopping = True
        workers = list(self._workers.values())
        for worker in workers:
            worker.terminate()
        deadline = time.monotonic() + LAST_WORDS
        for worker in workers:
            if not worker.wait(deadline - time.monotonic()):
                worker.kill()
                worker.wait(LAST_WORDS)
        for worker in workers:
            for kind, *content in worker.receive():
                if kind == "record":
                    self._record(worker, *content)
            worker.close()
            self._recorder.tell("worker_ended", worker=worker.slot, pid=worker.pid)
        self._recorder.settle(wait=True)
