"""Run trials on workers of this machine: long-lived processes, or this process when one is enough.

    trials → Schedule → worker processes → records → ledger (written by the driver, durably)

The driver is the sweep's one writer: workers hold nothing that a kill could tear, a trial is
finished exactly when its file is on disk, and a lost worker's trial can't have been recorded. Its
loop runs in a thread of its own, because Ctrl-C and SIGTERM raise in the main thread wherever it
is: a record that has arrived is written whatever happens to the main thread, which only waits.

Measured on 2 cores, 10,000 trials that do nothing on two workers: 1.0 to 1.1 ms a trial from the
call to the last durable file, when one durable file after the other took 1.2 ms a file; had the
workers written them, 1.4 to 1.5 ms.

What happens is told as events (`engine.sweep.executors.recording`), plain dicts.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from beton_builder.machine import usable_cores
from engine.sweep.executors.driver import TICK, Driver
from engine.sweep.executors.recording import Event, Outcome, Recorder
from engine.sweep.executors.schedule import Job, Schedule
from engine.sweep.executors.worker import Runnable, Runner, attempt

MakeRunner = Callable[[], Runner]


def run_local(
    trials: Sequence[Runnable],
    make_runner: MakeRunner,
    ledger_write: Callable[[dict[str, Any]], None],
    *,
    workers: int = 1,
    threads: int | None = None,
    retries: int = 2,
    on_event: Callable[[Event], None] | None = None,
    start_timeout: float = 600.0,
    stall_timeout: float | None = 1800.0,
    devices: Sequence[int | str] | None = None,
) -> Outcome:
    """Run every trial once and write its record; failed ones are recorded and the rest goes on.

    Args:
        trials: picklable; with ids of their own.
        make_runner: called once in every worker; picklable unless it is called in this process.
        ledger_write: makes a record durable; called by several threads at once.
        workers: processes. One worker without ``threads`` and ``devices`` is this process itself,
            which nobody watches: a trial that hangs there hangs the run.
        threads: of each worker; without it, an equal share of the cores.
        retries: how many more workers may die of a trial before it is recorded as failed.
        on_event: told what happens, from the thread that runs the trials or the driver.
        start_timeout: seconds a worker has from its start until its runner is made.
        stall_timeout: seconds without progress or a record after which a worker is killed and its
            trial tried again; a first step may compile for minutes in silence. None or 0: never.
        devices: the GPUs, as CUDA_VISIBLE_DEVICES names them; the worker in slot i sees the one at
            i % len(devices) alone, by that variable. Without them: what this process sees.

    Raises:
        RankError: no worker starts, or they die without finishing anything.
        Exception: what ``make_runner`` raises on purpose (an error with an exit code), and what
            ``ledger_write`` raises of a disk.
        KeyboardInterrupt, Terminated: as they reach the main thread. The current trials are
            dropped; every record that arrived has been written.
    """
    jobs = [Job(trial.id, trial.shape, trial.work) for trial in trials]
    schedule = Schedule(jobs, retries, workers=workers)
    recorder = Recorder(schedule, ledger_write, on_event)
    by_id = {trial.id: trial for trial in trials}
    here = workers == 1 and threads is None and not devices
    threads = threads or max(1, usable_cores() // workers)
    recorder.tell(
        "sweep_started",
        pid=os.getpid(),
        trials=len(trials),
        work=schedule.counts.work_total,
        workers=workers,
        threads=threads,
    )
    how = "stopped"
    try:
        if here:
            _run_here(by_id, make_runner, schedule, recorder)
        elif trials:
            Driver(
                by_id,
                pickle.dumps(make_runner),
                schedule,
                recorder,
                workers=workers,
                threads=threads,
                start_timeout=start_timeout,
                stall_timeout=stall_timeout,
                devices=devices or (),
            ).see_through()
        how = "finished"
    finally:
        recorder.close()
        recorder.tell(f"sweep_{how}")
    return recorder.outcome


def _run_here(
    trials: Mapping[str, Runnable], make_runner: MakeRunner, schedule: Schedule, recorder: Recorder
) -> None:
    if not trials:
        return
    recorder.tell("worker_started", worker=0, pid=os.getpid())
    runner = make_runner()
    recorder.tell("worker_ready", worker=0)
    told = [0.0]

    def progress(seen: int, total: int) -> None:
        if time.monotonic() - told[0] > TICK:
            told[0] = time.monotonic()
            recorder.tell("trial_progress", worker=0, seen=seen, total=total)
            recorder.tick()

    while (job := schedule.next_for(0)) is not None:
        trial = trials[job.id]
        recorder.begin(0, trial, job)
        recorder.hand_in(0, trial, job, attempt(runner, trial, progress))
        schedule.finished(0)
        recorder.settle()
    recorder.settle(wait=True)
