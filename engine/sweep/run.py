"""Run a sweep: the trials of a plan that the ledger does not have yet, here or on a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import beton_builder
import labelstore
from engine.errors import UsageError
from engine.experiments import parse_label_transform
from engine.records import sole_writer
from engine.sweep.execution import AUTO, STALL_TIMEOUT, Execution, unfinished
from engine.sweep.executors.recording import Event, Outcome
from engine.sweep.halving.plan import plan_halving
from engine.sweep.halving.questions import Halving
from engine.sweep.halving.run import Halved, halving_ledger, run_halving
from engine.sweep.head import sweep_head, where_sources_lie
from engine.sweep.ledger import Ledger
from engine.sweep.planning.asked import asked_cells, differing_keys
from engine.sweep.planning.grid import Grid, load_grids
from engine.sweep.planning.plan import check_trials, list_trials, recorded_plan
from engine.sweep.planning.trial import Trial
from engine.sweep.summary import read_results, summarise
from engine.sweep.timing.packing import recorded_packing
from engine.sweep.watching.event_log import EventLog
from engine.sweep.watching.status import StatusFile
from engine.sweep.watching.trackers import TrackerListener
from engine.sweep.watching.trained_images import TrainedImages
from engine.training.progress import Progress, no_progress

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

Listener = Callable[[Event], None]


def sweep_students(
    data: str | Path,
    labels: str | Path | None,
    out: str | Path,
    *,
    config: str | Path | None = None,
    ipc: Sequence[int] | None = None,
    expert_epochs: Sequence[int | str] | str | None = None,
    seeds: Sequence[int] | None = None,
    executor: str = "local",
    workers: int | str = AUTO,
    workers_per_device: int | None = None,
    threads: int | None = None,
    retries: int = 2,
    stall_timeout: float | None = STALL_TIMEOUT,
    ray_address: str | None = None,
    gpus_per_worker: float = 0.0,
    halving: bool = False,
    trackers: Sequence[str | GeneralTracker] = (),
    events: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    estimate: bool = True,
    progress: Progress | None = None,
    on_event: Listener | None = None,
) -> dict[str, Any]:
    """Train the students of a grid; finished trials are skipped, failed ones run again.

    Args:
        data: the dataset; images and labels are read from it by sample id.
        labels: a label store of that dataset. None is refused where the plan asks for soft labels,
            as it does unless it says otherwise (a dry run takes them for granted).
        out: folder of the sweep, created where it is missing, else extended.
        config: the plan, as a YAML file or a preset's name: a grid, or several under ``grids:``.
        ipc, expert_epochs, seeds: override every grid's.
        executor: ``local``, this machine; ``ray``, the actors of a Ray cluster.
        workers: processes of this machine that train at once; one is this process itself.
            ``auto``: one a GPU; on CPUs what is fastest by measurement, if the sweep is long enough
            to be worth one, and remembered in the sweep.
        workers_per_device: instead of ``workers``, a number for each GPU (without any: in all).
        threads: of each worker; without it, an equal share of the cores. Actors have 1. With it
            and ``auto`` workers, as many of these as there are cores for.
        retries: how many more workers may die of a trial before it is recorded as failed.
        stall_timeout: seconds without progress after which a worker is given up; None: never.
        ray_address: of the cluster; without it, Ray is started on this machine.
        gpus_per_worker: GPUs of a Ray actor, a fraction to share one.
        halving: choose learning rate and expert epoch by successive halving first, on validation
            images (recorded in OUT/halving), and run the full trials of the chosen ones alone.
        trackers: experiment trackers to log to: names that Accelerate knows, or its trackers.
        events: file that gets every event as a line of JSON; ``-`` is stdout, which the command
            keeps for its result.
        overrides: further dotted keys of the grids, such as ``student.epochs``.
        dry_run: return the plan and touch nothing.
        estimate: measure a few steps in a dry run, to say how long the plan will take.
        on_event: told what happens, as dicts (`engine.sweep.executors.recording`).

    Raises:
        ConfigurationError, UsageError, MismatchError; RankError where no worker starts;
        labelstore.LabelStoreError where the store belongs to another dataset.
    """
    execution = Execution(
        executor=executor,
        workers=workers,
        workers_per_device=workers_per_device,
        threads=threads,
        retries=retries,
        stall_timeout=stall_timeout,
        ray_address=ray_address,
        gpus_per_worker=gpus_per_worker,
    )
    if trackers:
        TrackerListener(trackers, out)  # refuses an unknown one while nothing has begun
    dataset = beton_builder.open_dataset(data)
    given = {"ipc": ipc, "expert_epochs": expert_epochs, "seeds": seeds}
    values = {
        key: value if isinstance(value, str) else list(value)
        for key, value in given.items()
        if value is not None
    }
    grids = load_grids(config, {**values, **(overrides or {})})
    if expert_epochs is not None:
        _require_experts(grids)
    store = _open_labels(labels, dataset)
    trials = list_trials(grids, dataset, store, labels_to_come=dry_run)
    search = None
    if halving:
        search = plan_halving(trials, num_validation=len(dataset.validation_indices))
    ledger = Ledger(out)
    head = sweep_head(recorded_plan(grids, trials), grids, dataset, store)
    head |= {"sources": where_sources_lie(data, labels)}
    ledger.check(head["dataset"])
    tell_stage = progress or no_progress
    if dry_run:
        from engine.sweep.dry_run import describe_plan, estimate_trials

        check_trials(trials, dataset)
        precision = _precision(grids, ledger.remembered(), trials)
        measure = partial(estimate_trials, execution, precision=precision, progress=tell_stage)
        return describe_plan(head, ledger, trials, search, measure if estimate else None)
    started = time.perf_counter()
    with sole_writer(ledger.path), ExitStack() as stack:
        results = read_results(ledger, trials)
        left = [t for t in trials if t.id not in results or not results[t.id].done]
        check_trials(left, dataset)  # before anything is written, and only what is left to run
        execution, head = _settle(execution, head, grids, ledger, left, tell_stage)
        ledger.begin({**head, "asked": asked_cells([] if search else trials)})
        listeners: list[Listener] = [on_event] if on_event is not None else []
        if events is not None:
            listeners.append(stack.enter_context(EventLog(events)))
        run = _Runner(execution, head, ledger, listeners, tell_stage)
        halved = None
        if search is not None:
            halved = _search(search, run, halving_ledger(ledger.path), head)
            trials = halved.winners
            left = unfinished(trials, ledger)
            ledger.begin({**head, "asked": asked_cells(trials)})
        if trackers:
            done = len(trials) - len(left)
            tracker = TrackerListener(trackers, out, head["plan"], finished_before=done)
            listeners.append(stack.enter_context(tracker))
        outcome = run(left, ledger, of=trials)
        wanted = {trial.id for trial in trials}
        results = {name: found for name, found in results.items() if name in wanted}
        results |= read_results(ledger, left if search is None else trials)
    result = summarise(ledger.path, results, left, outcome, time.perf_counter() - started)
    packing = recorded_packing(head["packing"])
    return result | {"packing": packing and packing.reason} | _in_short(halved)


def _settle(
    execution: Execution,
    head: dict[str, Any],
    grids: Sequence[Grid],
    ledger: Ledger,
    left: Sequence[Trial],
    progress: Progress,
) -> tuple[Execution, dict[str, Any]]:
    """Choose precision and packing, or keep those in which the sweep began; the head says both."""
    before = ledger.remembered()
    precision = _precision(grids, before, left)
    chosen_once = precision if _asked_precision(grids) == "auto" else _auto_precision(before)
    remembered = before.get("packing")
    execution, packing = execution.packed(
        left, precision=precision, remembered=remembered, progress=progress
    )
    return execution, {
        **head,
        "precision": precision,
        "auto_precision": chosen_once,
        "packing": packing.record() if packing else remembered,
    }


class _Runner:
    """Runs trials into a ledger, and tells every listener."""

    def __init__(
        self,
        execution: Execution,
        head: Mapping[str, Any],
        sweep: Ledger,
        listeners: list[Listener],
        progress: Progress,
    ) -> None:
        self._execution, self._sweep = execution, sweep
        self._listeners, self._progress = listeners, progress
        self._made_of = {**head["sources"], "precision": head["precision"]}

    def __call__(self, left: Sequence[Trial], ledger: Ledger, *, of: Sequence[Trial]) -> Outcome:
        """``left`` to run ``of`` a plan's trials."""
        if not left:
            return Outcome()
        # Imported here: to say that nothing is to do needs no torch, which takes seconds.
        from engine.sweep.executors.trial_runner import RunnerFactory

        of_this_run = StatusFile(self._sweep.path), TrainedImages(left, self._progress)
        listeners: list[Listener] = [*self._listeners, *of_this_run]
        about = {"already_done": len(of) - len(left), "cell_keys": differing_keys(of)}

        def tell(event: Event) -> None:
            if event["event"] == "sweep_started":
                event = {**event, **about}
            for listener in listeners:
                listener(event)

        return self._execution.run(left, RunnerFactory(**self._made_of), ledger, tell)


def _search(search: Halving, run: _Runner, ledger: Ledger, head: dict[str, Any]) -> Halved:
    """Run the short trials of a halving into a ledger of their own."""
    ledger.begin(head)
    return run_halving(search, run=lambda trials: run(trials, ledger, of=trials), ledger=ledger)


def _in_short(halved: Halved | None) -> dict[str, Any]:
    if halved is None:
        return {}
    return {
        "halving": halved.rows,
        "halving_trials_ran": halved.ran,
        "halving_trials_failed": halved.failed,
        **({"ok": False, "unanswered": halved.unanswered} if halved.unanswered else {}),
    }


def _require_experts(grids: Sequence[Grid]) -> None:
    """Refuse expert epochs for students none of which has an expert's labels."""
    asked = {text: None for grid in grids for text in grid.labels}
    if not any(parse_label_transform(text).needs_expert for text in asked):
        raise UsageError(
            f"expert epochs were given, and no expert gives the labels ({', '.join(asked)}): "
            "leave --expert-epochs out, or add --set labels=[soft,hard]"
        )


def _open_labels(
    labels: str | Path | None, dataset: beton_builder.Dataset
) -> labelstore.LabelStore | None:
    if labels is None:
        return None
    return labelstore.open_store(labels, dataset_id=dataset.id, classes=dataset.classes)


def _precision(grids: Sequence[Grid], before: Mapping[str, Any], left: Sequence[Trial]) -> str:
    """What the trials train in; under ``auto`` what it came to ``before``, never two in a sweep."""
    asked = _asked_precision(grids)
    if asked == "auto":
        asked = _auto_precision(before) or asked
    if not left and asked != "auto":
        return asked
    from engine.training.precision import choose_arithmetic

    return choose_arithmetic(asked).precision


def _asked_precision(grids: Sequence[Grid]) -> str:
    precisions = sorted({grid.student.precision for grid in grids})
    if len(precisions) > 1:
        raise UsageError(
            f"the grids ask for precisions {' and '.join(precisions)}, and a sweep has one: "
            "add --set student.precision=auto"
        )
    return precisions[0]


def _auto_precision(before: Mapping[str, Any]) -> str | None:
    """What ``auto`` came to, by a sweep's head; old heads have the last run's precision alone."""
    found = before.get("auto_precision", before.get("precision"))
    return None if found is None else str(found)
