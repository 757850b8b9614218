"""Run trials on a Ray cluster: one long-lived actor per slot, each running many trials.

    trials → Schedule → actors on all nodes → records → ledger (written by the driver, durably)

Ray starts processes and notices when they die; which trial goes where is decided by our own
`Schedule`, and what has ended is known from the ledger's files alone, so losing the head node or
the driver loses no finished trial. Nodes may join (actors are started on them) and leave (their
trials run again elsewhere).

Measured on 2 cores that had other work too, 10,000 trials that do nothing on two actors: 1.15 ms a
trial from the joined cluster to the last durable file (0.79 ms on local workers, next to it).

The dataset and the label store must lie under the same paths on every node (a shared folder, or
copies): actors open them by path. docs/cluster.md has the recipes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine.sweep.executors.ray_connection import import_ray, joined
from engine.sweep.executors.ray_driver import RayDriver
from engine.sweep.executors.recording import Event, Outcome
from engine.sweep.executors.worker import Runnable, Runner


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
    start_timeout: float = 600.0,
    stall_timeout: float | None = 1800.0,
) -> Outcome:
    """Run every trial once on the actors of a Ray cluster and write its record.

    Args:
        trials: picklable; with ids of their own.
        make_runner: called once in every actor; picklable.
        ledger_write: makes a record durable; called in this process, by several threads at once.
        address: ``HOST:PORT`` of the cluster's head, or ``auto`` on one of its nodes; without it,
            $RAY_ADDRESS, or else a cluster of this machine alone that ends with the run.
        threads: CPUs of an actor. gpus: GPUs of an actor, a fraction to share one.
        retries: how many more actors may die of a trial before it is recorded as failed.
        on_event: told what happens (`engine.sweep.executors.recording`), by another thread.
        start_timeout: seconds that an actor whose process runs has until its runner is made; one
            that Ray has no room for yet is waited for.
        stall_timeout: seconds without progress or a record after which an actor is killed and its
            trial tried again; a first step may compile for minutes in silence. None or 0: never.

    Raises:
        UsageError: Ray is not installed, no cluster is at the address, or it has no slot of that
            size.
        RankError: actors fail while they start, on every node, or die without finishing anything.
        Exception: what ``ledger_write`` raises of a disk.
        KeyboardInterrupt, Terminated: as they reach the main thread. The current trials are
            dropped, the actors ended; every record that arrived has been written.
    """
    if not trials:
        return Outcome()
    ray = import_ray()
    driver = RayDriver(
        ray,
        trials,
        make_runner,
        ledger_write,
        on_event,
        threads=threads,
        gpus=gpus,
        retries=retries,
        start_timeout=start_timeout,
        stall_timeout=stall_timeout,
    )
    with joined(ray, address):
        driver.see_through()
    return driver.outcome
