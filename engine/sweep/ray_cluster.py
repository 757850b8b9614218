"""Run trials on a Ray cluster: one long-lived actor per slot, each running many trials.

    trials → Schedule → actors on all nodes → records → ledger (written by the driver, durably)

Ray starts processes and notices when they die; which trial goes where is decided by our own
`Schedule`, and what has ended is known from the ledger's files alone, so losing the head node or
the driver loses no finished trial. Nodes may join (actors are started on them) and leave (their
trials run again elsewhere).

The dataset and the label store must lie under the same paths on every node (a shared folder, or
copies): actors open them by path.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.errors import RankError, UsageError
from engine.sweep.recording import Event, Outcome, Recorder
from engine.sweep.schedule import Job, Schedule
from engine.sweep.worker import Runnable, Runner, attempt, failed_record

IN_HAND = 3  # trials an actor holds, so that it never waits for the driver
LOOK_FOR_NODES = 2.0  # seconds between two looks at what the cluster has
TICK = 0.5  # seconds
FAILED_STARTS = 3


def run_on_ray(
    trials: Sequence[Runnable],
    make_runner: Callable[[], Runner],
    ledger_write: Callable[[dict[str, Any]], None],
    *,
    address: str | None = None,
    threads: int = 1,
    gpus: float = 0.0,
    retries: int = 2,
    on_event: Callable[[Event], None] | None = None,
) -> Outcome:
    """Run every trial once on the actors of a Ray cluster and write its record.

    Args:
        trials: picklable; with ids of their own.
        make_runner: called once in every actor; picklable.
        ledger_write: makes a record durable; called in this process, by several threads at once.
        address: of the cluster, such as ``auto`` or ``ray://HOST:10001``; None starts a local one.
        threads: CPUs of an actor. gpus: GPUs of an actor, a fraction to share one.
        retries: how many more actors may die of a trial before it is recorded as failed.
        on_event: told what happens, see `engine.sweep.recording`.

    Raises:
        UsageError: Ray is not installed, or the cluster has no slot of that size.
        RankError: actors fail while they start, on every node.
    """
    if not trials:
        return Outcome()
    ray = _import_ray()
    started_here = not ray.is_initialized()
    if started_here:
        on_sigterm = signal.getsignal(signal.SIGTERM)
        ray.init(address=address, log_to_driver=False, logging_level="warning")
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray puts its own in our place
    schedule = Schedule([Job(each.id, each.shape, each.work) for each in trials], retries)
    recorder = Recorder(schedule, ledger_write, on_event)
    driver = _Driver(ray, trials, make_runner, schedule, recorder, threads, gpus)
    how = "stopped"
    try:
        driver.run()
        how = "finished"
    finally:
        driver.end_actors()
        recorder.close()
        recorder.tell(f"sweep_{how}")
        if started_here:
            ray.shutdown()
    return recorder.outcome


def _import_ray() -> Any:
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise UsageError(
            "--executor ray needs Ray, which is not installed: pip install 'softlabel-engine[ray]'"
        ) from None
    return ray


@dataclass(eq=False)
class _Actor:
    """An actor and the calls that it has not answered yet, first in, first out."""

    number: int
    handle: Any
    node: str
    started: Any
    ready: bool = False
    calls: deque[tuple[Any, Job]] = field(default_factory=deque)


class _Driver:
    def __init__(
        self,
        ray: Any,
        trials: Sequence[Runnable],
        make_runner: Callable[[], Runner],
        schedule: Schedule,
        recorder: Recorder,
        threads: int,
        gpus: float,
    ) -> None:
        self.ray = ray
        self.trials = {trial.id: trial for trial in trials}
        self.schedule, self.recorder = schedule, recorder
        self.threads, self.gpus = threads, gpus
        self.actor_class = ray.remote(num_cpus=threads, num_gpus=gpus)(_RunnerActor)
        self.make_runner = ray.put(make_runner)
        self.actors: list[_Actor] = []
        self.num_started = 0
        self.failed_starts: Counter[str] = Counter()
        self.last_loss: object = None
        self.looked = self.ticked = 0.0

    def run(self) -> None:
        """Until every trial has a durable record."""
        self.recorder.tell(
            "sweep_started",
            pid=os.getpid(),
            trials=len(self.trials),
            work=self.schedule.counts.work_total,
            workers=sum(map(self._slots_of, self.ray.nodes())),
            threads=self.threads,
        )
        while not self.schedule.is_over:
            self._use_new_slots()
            self._hand_out()
            self._take_answers()
            self.recorder.settle()
            if time.monotonic() - self.ticked > TICK:
                self.ticked = time.monotonic()
                self.recorder.tick()
        self.recorder.settle(wait=True)

    def end_actors(self) -> None:
        """Ends them all, whatever they are at."""
        for actor in self.actors:
            self.ray.kill(actor.handle)
            self.recorder.tell("worker_ended", worker=actor.number)

    def _use_new_slots(self) -> None:
        """Starts an actor in every slot of the cluster that has none.

        Each is bound to its node: Ray would else put new actors on a node that is dead, but not
        yet known to be.
        """
        if self.actors and time.monotonic() - self.looked < LOOK_FOR_NODES:
            return
        self.looked = time.monotonic()
        slots = {node["NodeID"]: self._slots_of(node) for node in self.ray.nodes()}
        if not any(slots.values()) and not self.actors:
            raise UsageError(
                f"the Ray cluster has no node with {self.threads} CPUs and {self.gpus:g} GPUs free "
                "for an actor; start nodes with `ray start`, or ask for smaller actors"
            )
        there = Counter(actor.node for actor in self.actors)
        empty = [node for node, number in slots.items() for _ in range(number - there[node])]
        for node in empty[: len(self.trials) - len(self.actors)]:
            if self.failed_starts[node] < FAILED_STARTS:
                self._start(node)
        if not self.actors:
            raise RankError(f"actors end while they start, the last one with: {self.last_loss}")

    def _start(self, node: str) -> None:
        pinned = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            node_id=node, soft=False
        )
        handle = self.actor_class.options(scheduling_strategy=pinned).remote(self.make_runner)
        self.actors.append(_Actor(self.num_started, handle, node, handle.start.remote()))
        self.recorder.tell("worker_started", worker=self.num_started, pid=None, node=node)
        self.num_started += 1

    def _slots_of(self, node: Mapping[str, Any]) -> int:
        if not node["Alive"]:
            return 0
        resources = node["Resources"]
        slots = resources.get("CPU", 0) // self.threads
        return int(min(slots, resources.get("GPU", 0) // self.gpus) if self.gpus else slots)

    def _hand_out(self) -> None:
        for actor in self.actors:
            while actor.ready and len(actor.calls) < IN_HAND:
                job = self.schedule.next_for(actor)
                if job is None:
                    break
                trial = self.trials[job.id]
                actor.calls.append((actor.handle.run.remote(trial), job))
                if len(actor.calls) == 1:
                    self.recorder.begin(actor.number, trial, job)

    def _take_answers(self) -> None:
        """Waits for the next answer, at most until the next tick, and takes what has come."""
        waiting = {
            (actor.calls[0][0] if actor.ready else actor.started): actor
            for actor in self.actors
            if actor.calls or not actor.ready
        }
        if not waiting:
            time.sleep(0.05)
            return
        first, _ = self.ray.wait(list(waiting), num_returns=1, timeout=TICK)
        others, _ = self.ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
        for answer in {*first, *others}:
            self._take(waiting[answer], answer)

    def _take(self, actor: _Actor, answer: Any) -> None:
        """An actor has started, has run a trial, or is lost."""
        try:
            record = self.ray.get(answer)
        except self.ray.exceptions.RayActorError as error:
            self._lose(actor, error)
            return
        except self.ray.exceptions.RayTaskError:
            if not actor.ready:
                self._lose(actor, traceback.format_exc())
                return
            job = actor.calls[0][1]
            record = failed_record(self.trials[job.id], traceback.format_exc())
        if not actor.ready:
            actor.ready, self.failed_starts[actor.node] = True, 0
            self.recorder.tell("worker_ready", worker=actor.number)
            return
        _, job = actor.calls.popleft()
        self.recorder.hand_in(actor.number, self.trials[job.id], job, record)
        self.schedule.finished(actor)
        if actor.calls:
            following = actor.calls[0][1]
            self.recorder.begin(actor.number, self.trials[following.id], following)

    def _lose(self, actor: _Actor, reason: object) -> None:
        """An actor is gone: its trials go elsewhere, the one it was at is charged with it."""
        self.actors.remove(actor)
        self.ray.kill(actor.handle)  # it may be out of reach only, and must not go on
        self.last_loss = reason
        self.looked = 0.0  # its slot may be free again, on this node or another
        self.recorder.outcome.workers_lost += 1
        self.recorder.tell("worker_died", worker=actor.number, pid=None, reason=str(reason))
        if not actor.ready:
            self.failed_starts[actor.node] += 1
            return
        given_up = self.schedule.lost(actor, str(reason))
        if given_up is not None:
            trial = self.trials[given_up.id]
            why = self.schedule.given_up[given_up.id]
            self.recorder.hand_in(None, trial, given_up, failed_record(trial, why))


class _RunnerActor:
    """One slot's process. Its runner is made by `start`, so that a failure there has a message."""

    def __init__(self, make_runner: Callable[[], Runner]) -> None:
        self._make_runner = make_runner

    def start(self) -> None:
        self._runner = self._make_runner()

    def run(self, trial: Runnable) -> dict[str, Any]:
        return attempt(self._runner, trial, lambda seen, total: None)
