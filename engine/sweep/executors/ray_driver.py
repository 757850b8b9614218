"""The loop that keeps an actor in every slot of a Ray cluster, and each of them busy.

It runs in a thread of its own: Ray drops what a signal's handler raises while the main thread is in
one of its calls, and SIGTERM would be lost.
"""

from __future__ import annotations

import json
import os
import pickle
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from engine.errors import RankError, UsageError
from engine.sweep.executors.driver_thread import DriverThread
from engine.sweep.executors.lookahead import Lookahead
from engine.sweep.executors.ray_actor import Actor, News
from engine.sweep.executors.ray_connection import head_answers
from engine.sweep.executors.ray_fleet import Fleet
from engine.sweep.executors.recording import Event, Outcome, Recorder
from engine.sweep.executors.schedule import Job, Schedule
from engine.sweep.executors.silence import Silence, no_progress
from engine.sweep.executors.worker import Runnable, Runner, failed_record

TICK = 0.5  # seconds between looks at the clock
LOOK_FOR_NODES = 2.0  # seconds between two looks at what the cluster has
HEAD_AWAITED = 20.0  # seconds without an answer of the head before the run ends
NODES_AWAITED = 120.0  # seconds without any node before the run ends
SECONDS_AHEAD = 0.2  # of work that an actor holds beside its trial
FRUITLESS_DEATHS = 3  # times (retries + 1), and one a slot, without a record between, end the run


class RayDriver(DriverThread):
    """Starts actors where there is room and feeds them until the schedule is over."""

    def __init__(
        self,
        ray: Any,
        trials: Sequence[Runnable],
        make_runner: Callable[[], Runner],
        ledger_write: Callable[[dict[str, Any]], None],
        on_event: Callable[[Event], None] | None,
        *,
        threads: int,
        gpus: float,
        retries: int,
        start_timeout: float,
        stall_timeout: float | None,
    ) -> None:
        super().__init__()
        self._ray = ray
        self._threads, self._gpus = threads, gpus
        self._start_timeout, self._stall_timeout = start_timeout, stall_timeout
        self._trials = {trial.id: trial for trial in trials}
        jobs = [Job(trial.id, trial.shape, trial.work) for trial in trials]
        self._schedule = Schedule(jobs, retries)
        self._lookahead = Lookahead(self._schedule, SECONDS_AHEAD)
        self._recorder = Recorder(self._schedule, ledger_write, on_event)
        self._silence = Silence(4 * TICK)
        self._fleet = Fleet(ray, pickle.dumps(make_runner), threads=threads, gpus=gpus)
        self._last_loss = ""
        self._deaths_in_a_row = self._most_slots = 0
        self._ticked = self._looked = self._had_actors = 0.0
        self._had_head = time.monotonic()
        self._announced = self._headless = False

    @property
    def outcome(self) -> Outcome:
        """What the run has done."""
        return self._recorder.outcome

    def drive(self) -> None:
        """Until every trial has ended, or `stop` is called."""
        slots = sum(self._fleet.count_slots().values())
        self._schedule.expect(slots)
        self._announced = True
        self._recorder.tell(
            "sweep_started",
            pid=os.getpid(),
            trials=len(self._trials),
            work=self._schedule.counts.work_total,
            workers=slots,
            threads=self._threads,
        )
        if not slots:
            raise UsageError(
                f"the Ray cluster has no node with {self._threads} CPUs and {self._gpus:g} GPUs "
                "for an actor; start nodes with `ray start --address=HOST:6379`, or ask for "
                "smaller actors"
            )
        while not self._schedule.is_over and not self.stopping:
            self._recorder.settle()
            self._tick()
            self._take_answers()

    def end(self) -> None:
        """End all actors, whatever they are at; what they had answered is still recorded."""
        self.stopping = True
        how = "stopped"
        try:
            for actor in self._fleet.actors:
                if actor.ready:
                    self._take_records(actor)
                if not self._headless:
                    self._fleet.end(actor)
                self._recorder.tell("worker_ended", worker=actor.number, pid=actor.pid)
            self._recorder.settle(wait=True)
            how = "finished" if self._schedule.is_over and self.error is None else how
        finally:
            self._recorder.close()
            if self._announced:
                self._recorder.tell(f"sweep_{how}")

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._ticked < TICK:
            return
        self._ticked = now
        self._recorder.tick()
        self._silence.pass_time(now)
        for actor, news in self._fleet.hear_news(now):
            self._note(actor, news)
        for actor in list(self._fleet.actors):
            overdue = self._overdue(actor)
            if overdue is not None:
                where = self._fleet.where(actor)
                self._fleet.end_hanging(actor)
                self._lose(actor, f"{self._words(actor)} {overdue}; it was at:\n{where}")
        if now - self._looked >= LOOK_FOR_NODES:
            self._looked = now
            if self._has_head(now):
                self._use_new_slots(now)

    def _has_head(self, now: float) -> bool:
        """Whether the cluster's head answers; trials go on for a while without it."""
        if head_answers(self._ray):
            self._had_head = now
        elif now - self._had_head > HEAD_AWAITED:
            self._headless = True
            raise RankError(
                f"the head of the Ray cluster has not answered for {HEAD_AWAITED:g} s. What was "
                "finished is kept: start the cluster, then give the same command again"
            )
        return self._had_head == now

    def _note(self, actor: Actor, news: News) -> None:
        """An actor has answered how far it is."""
        actor.process = news.process
        if news.reports == actor.reports:
            return
        actor.reports = news.reports
        self._silence.heard(actor)
        if actor.calls and actor.calls[0][1].id == news.trial_id and news.total:
            self._recorder.tell(
                "trial_progress", worker=actor.number, seen=news.seen, total=news.total
            )

    def _overdue(self, actor: Actor) -> str | None:
        """Why an actor can't be waited for any longer; None while it can."""
        silent = self._silence.of(actor)
        if not actor.ready:
            late = silent > self._start_timeout
            return f"was killed: not ready after {self._start_timeout:g} s" if late else None
        if actor.calls and self._stall_timeout and silent > self._stall_timeout:
            return no_progress(self._stall_timeout, actor.calls[0][1].id)
        return None

    def _use_new_slots(self, now: float) -> None:
        """Start an actor in every slot of the cluster that has none, while there are trials."""
        slots = self._fleet.count_slots()
        self._most_slots = max(self._most_slots, sum(slots.values()))
        free = self._fleet.free_slots(slots)
        counts = self._schedule.counts
        for node in free[: max(counts.waiting + counts.running - len(self._fleet.actors), 0)]:
            actor = self._fleet.start(node)
            where = {"node": node, "host": self._fleet.host_of(actor)}
            self._recorder.tell("worker_started", worker=actor.number, pid=None, **where)
        if self._fleet.actors:
            self._had_actors = now
        elif any(slots.values()):
            raise RankError(f"actors end while they start, the last one with: {self._last_loss}")
        elif now - self._had_actors > NODES_AWAITED:
            raise RankError(
                f"every node of the Ray cluster has left, and none joined for {NODES_AWAITED:g} s. "
                "What was finished is kept: start nodes, then give the same command again"
            )

    def _hand_out(self, actor: Actor) -> None:
        """Fill an actor's queue: one trial, and short ones so that it needn't wait for us."""
        if not actor.ready or self.stopping:
            return
        held = self._schedule.queue_of(actor)
        ahead = self._lookahead.trials_ahead(held, len(self._fleet.actors))
        if len(held) > ahead // 2:
            return
        while len(actor.calls) <= ahead:
            job = self._schedule.next_for(actor)
            if job is None:
                break
            actor.run(self._trials[job.id], job)
        if actor.calls and not held:
            self._begin(actor)

    def _begin(self, actor: Actor) -> None:
        """An actor is at the first of its trials now."""
        actor.since = time.monotonic()
        self._silence.heard(actor)
        job = actor.calls[0][1]
        self._recorder.begin(actor.number, self._trials[job.id], job)

    def _take_answers(self) -> None:
        """Wait for the next answer, at most until the next tick, and take what has come."""
        waiting = {
            (actor.calls[0][0] if actor.ready else actor.started): actor
            for actor in self._fleet.actors
            if actor.calls or not actor.ready
        }
        if not waiting:
            time.sleep(TICK / 10)
            return
        self._ray.wait(list(waiting), num_returns=1, timeout=TICK)
        for answer in self._fleet.answered(list(waiting)):
            actor = waiting[answer]
            death = self._take_records(actor) if actor.ready else self._take_start(actor)
            if death is not None:
                self._lose(actor, death)
            else:
                self._hand_out(actor)

    def _take_start(self, actor: Actor) -> str | None:
        """It has made its runner; or how it died of that."""
        try:
            actor.process = self._ray.get(actor.started)
        except self._ray.exceptions.RayTaskError:
            return f"{self._words(actor)} can't be prepared:\n{traceback.format_exc()}"
        except self._ray.exceptions.RayError as error:
            return f"{self._words(actor)} died: {error}"
        actor.ready, self._fleet.failed_starts[actor.node] = True, 0
        self._recorder.tell("worker_ready", worker=actor.number, pid=actor.pid)
        return None

    def _take_records(self, actor: Actor) -> str | None:
        """Record what an actor has sent, in order; returns how it died behind that, if it did."""
        answered = set(self._fleet.answered([call for call, _ in actor.calls]))
        work, death = 0.0, None
        while actor.calls and actor.calls[0][0] in answered:
            call, job = actor.calls[0]
            try:
                record = json.loads(self._ray.get(call))
            except self._ray.exceptions.RayTaskError:
                record = failed_record(self._trials[job.id], traceback.format_exc())
            except self._ray.exceptions.RayError as error:
                death = f"{self._words(actor)} died: {error}"
                break
            actor.calls.popleft()
            assert self._schedule.finished(actor).id == job.id
            self._recorder.hand_in(actor.number, self._trials[job.id], job, record)
            work += job.work
        if work:
            self._deaths_in_a_row = 0
            self._lookahead.finished(work, time.monotonic() - actor.since)
            if actor.calls and death is None:
                self._begin(actor)
        return death

    def _lose(self, actor: Actor, reason: str) -> None:
        """An actor is gone: its trials go elsewhere, the one it was at is charged with it."""
        self._fleet.actors.remove(actor)
        self._fleet.end(actor)  # it may be out of reach only, and must not go on
        self._silence.forget(actor)
        self._last_loss = reason
        self._looked = 0.0  # its slot may be free again, on this node or another
        self._recorder.outcome.workers_lost += 1
        self._recorder.tell("worker_died", worker=actor.number, pid=actor.pid, reason=reason)
        if not actor.ready:
            self._fleet.failed_starts[actor.node] += 1
            return
        given_up = self._schedule.lost(actor, reason)
        if given_up is not None:
            trial = self._trials[given_up.id]
            losses = self._schedule.given_up[given_up.id]
            error = f"lost {self._schedule.retries + 1} workers:\n{losses}"
            self._recorder.hand_in(None, trial, given_up, failed_record(trial, error))
        self._deaths_in_a_row += 1
        most = FRUITLESS_DEATHS * (self._schedule.retries + 1) + self._most_slots
        if self._deaths_in_a_row > most:
            raise RankError(
                f"{self._deaths_in_a_row} workers died in a row and none finished a trial; the "
                f"last: {reason}\nWhat was finished is kept; fewer workers need less memory."
            )
        for other in self._fleet.actors:
            self._hand_out(other)

    def _words(self, actor: Actor) -> str:
        return f"worker {actor.number} (pid {actor.pid} on {self._fleet.host_of(actor)})"
