"""How the trials of a sweep are run: by which executor, by how many workers, on which devices."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from beton_builder.machine import usable_cores
from engine.errors import UsageError
from engine.sweep.executors.local import run_local
from engine.sweep.executors.ray_cluster import run_on_ray
from engine.sweep.executors.recording import Event, Outcome
from engine.sweep.ledger import Ledger
from engine.sweep.planning.trial import Trial
from engine.sweep.timing.packing import Packing
from engine.training.progress import Progress

if TYPE_CHECKING:
    from engine.sweep.executors.trial_runner import RunnerFactory

EXECUTORS = ("local", "ray")
AUTO = "auto"
STALL_TIMEOUT = 1800.0
"""Seconds: a first step may compile for minutes in silence."""

WORTH_MEASURING = 5e14
"""Operations of a sweep, about 20 minutes of two cores, from which on packings are compared."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where trials run. Arguments are those of `engine.sweep_students`.

    Raises:
        UsageError: one that is unknown, or that another makes meaningless.
    """

    executor: str = "local"
    workers: int | str = AUTO
    workers_per_device: int | None = None
    threads: int | None = None
    retries: int = 2
    stall_timeout: float | None = STALL_TIMEOUT
    ray_address: str | None = None
    gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise UsageError(f"executor {self.executor!r}: expected {' or '.join(EXECUTORS)}")
        if self.workers != AUTO and (not isinstance(self.workers, int) or self.workers < 1):
            raise UsageError(f"workers {self.workers!r}: expected {AUTO} or a number from 1 on")
        if self.workers != AUTO and self.workers_per_device is not None:
            raise UsageError("expected workers, or workers per device; found both")
        on_ray = self.executor == "ray"
        if on_ray and (self.workers != AUTO or self.workers_per_device is not None):
            raise UsageError(
                "on Ray there is a worker wherever the cluster has room for one: leave --workers "
                "and --workers-per-device out; --threads and --gpus-per-worker say how large one is"
            )
        if not on_ray and (self.ray_address is not None or self.gpus_per_worker):
            raise UsageError(
                "--ray-address and --gpus-per-worker are for workers on Ray, and the executor is "
                f"{self.executor}: add --executor ray, or leave them out"
            )

    @property
    def is_free(self) -> bool:
        """Whether both workers and threads are left to what is fastest."""
        return self.workers == AUTO and self.workers_per_device is None and self.threads is None

    def fixed_workers(self, num_trials: int) -> int:
        """Workers that need no measurement: those asked for, 1 a GPU, or by the threads of each."""
        if isinstance(self.workers, int):
            return self.workers
        gpus = len(visible_gpus())
        if self.threads and not (gpus or self.workers_per_device or self.executor == "ray"):
            return max(1, min(usable_cores() // self.threads, num_trials))
        return (self.workers_per_device or 1) * max(gpus, 1)

    def packed(
        self,
        trials: Sequence[Trial],
        *,
        precision: str,
        remembered: Mapping[str, Any] | None,
        progress: Progress,
    ) -> tuple[Execution, Packing | None]:
        """With workers and threads settled, and what was measured for it, if anything was.

        On Ray the cluster settles both, trial by trial.

        Args:
            trials: those to run.
            precision: that they train in.
            remembered: the packing that the sweep began in; it is kept.
        """
        if not trials or self.executor == "ray":
            return self, None
        if not self.is_free:
            workers = self.fixed_workers(len(trials))
            return replace(self, workers=workers, workers_per_device=None), None
        worth_it = remembered or visible_gpus() or operations_of(trials) > WORTH_MEASURING
        if not worth_it:
            return replace(self, workers=1), None
        from engine.sweep.timing.measured_packing import measured_packing

        packing = measured_packing(
            trials, precision=precision, remembered=remembered, progress=progress
        )
        return replace(self, workers=packing.workers, threads=packing.threads), packing

    def run(
        self,
        trials: Sequence[Trial],
        make_runner: RunnerFactory,
        ledger: Ledger,
        on_event: Callable[[Event], None],
    ) -> Outcome:
        """Run every trial once and write its record. Raises as `run_local` and `run_on_ray` do."""
        if not trials:
            return Outcome()
        if self.executor == "ray":
            return run_on_ray(
                trials,
                make_runner,
                ledger.write,
                address=self.ray_address,
                threads=self.threads or 1,
                gpus=self.gpus_per_worker,
                retries=self.retries,
                stall_timeout=self.stall_timeout,
                on_event=on_event,
            )
        workers = self.fixed_workers(len(trials))
        return run_local(
            trials,
            make_runner,
            ledger.write,
            workers=workers,
            threads=self.threads,
            devices=visible_gpus() if workers > 1 else None,
            retries=self.retries,
            stall_timeout=self.stall_timeout,
            on_event=on_event,
        )


def unfinished(trials: Sequence[Trial], ledger: Ledger) -> list[Trial]:
    """Those of some trials that a ledger doesn't have yet, or has as failed."""
    return [trial for trial in trials if not ledger.is_done(trial.id)]


def operations_of(trials: Sequence[Trial]) -> float:
    """About how many floating-point operations the training of some trials takes."""
    from engine.sweep.timing.step_kinds import flops_per_image, network_of

    networks = set(map(network_of, trials))
    per_image = {network: flops_per_image(network).training for network in networks}
    return sum(trial.work * per_image[network_of(trial)] for trial in trials)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; none on a CPU."""
    import torch

    if not torch.cuda.is_available():
        return []
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    named = [name for name in named if name]
    count = torch.cuda.device_count()
    return named[:count] if named else [str(number) for number in range(count)]
