"""The commands of sweeps: run one, watch it, and question its results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import (
    Config,
    Data,
    Debug,
    DryRun,
    Json,
    Settings,
    one_of,
    parse_number,
    parse_optional_numbers,
    parse_settings,
)
from cli.progress import Progress
from cli.running import carry_out

EXECUTORS = ("local", "ray")

Sweep = Annotated[Path, typer.Argument(metavar="SWEEP", help="Folder of the sweep.")]


def sweep_students(
    *,
    data: Data,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="STORE",
            help="Label store; needed unless all labels are hard (--set labels=[hard]), or in a "
            "dry run.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="SWEEP", help="Folder of the sweep.")],
    config: Config = None,
    ipc: Annotated[
        str | None, typer.Option("--ipc", metavar="LIST", help="Images per class, such as 1,10.")
    ] = None,
    expert_epochs: Annotated[
        str | None,
        typer.Option(
            "--expert-epochs",
            metavar="LIST",
            help="Whose labels: 5,13 or 1-9 or 0-40:4, all, best, best-on-test.",
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="LIST", help="Seeds, such as 0,1,2.")
    ] = None,
    executor: Annotated[
        str, typer.Option("--executor", help="Where trials run: local or ray.")
    ] = "local",
    workers: Annotated[
        str,
        typer.Option("--workers", metavar="N|auto", help="Processes that train at once."),
    ] = "auto",
    workers_per_device: Annotated[
        int | None,
        typer.Option("--workers-per-device", min=1, metavar="N", help="Workers for each GPU."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            metavar="N",
            help="Threads of each worker; by default an equal share.",
        ),
    ] = None,
    retries: Annotated[
        int,
        typer.Option(
            "--retries",
            min=0,
            metavar="N",
            help="How often a trial whose worker died is tried again.",
        ),
    ] = 2,
    stall_timeout: Annotated[
        float,
        typer.Option(
            "--stall-timeout",
            min=0,
            metavar="SECONDS",
            help="Give a worker up after so long without progress; 0: never.",
        ),
    ] = 1800.0,
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address", metavar="ADDRESS", help="Address of a Ray cluster, such as auto."
        ),
    ] = None,
    gpus_per_worker: Annotated[
        float,
        typer.Option(
            "--gpus-per-worker", min=0, help="GPUs of a Ray worker; with 0.25, four share one."
        ),
    ] = 0.0,
    halving: Annotated[
        bool,
        typer.Option(
            "--halving",
            help="First choose learning rates and expert epochs by short students, on validation.",
        ),
    ] = False,
    trackers: Annotated[
        list[str] | None,
        typer.Option(
            "--tracker", metavar="NAME", help="Log to a tracker, such as tensorboard; repeatable."
        ),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(
            "--events", metavar="FILE", help="File to append what happens to, as JSON lines."
        ),
    ] = None,
    settings: Settings = None,
    dry_run: DryRun = False,
    estimate: Annotated[
        bool,
        typer.Option("--estimate/--no-estimate", help="In a dry run, measure how long it takes."),
    ] = True,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train students over a grid of settings.

    The grid is images per class × expert epochs × seeds, with soft and with hard labels.
    """
    one_of(executor, EXECUTORS, "--executor")
    if events == Path("-"):
        raise typer.BadParameter(
            "stdout is for the result; name a file, or /dev/stderr", param_hint="--events"
        )
    num_workers = "auto" if workers == "auto" else parse_number(workers, "--workers", minimum=1)
    ipc_list = parse_optional_numbers(ipc, "--ipc", minimum=1)
    seed_list = parse_optional_numbers(seeds, "--seeds")
    overrides = parse_settings(settings)

    def work(progress: Progress) -> Mapping[str, Any]:
        import engine
        from cli.live import SweepView

        def stages(stage: str, done: int, total: int) -> None:
            if stage != "train students":  # which the view shows
                progress(stage, done, total)

        def watch(event: Mapping[str, Any]) -> None:
            if event["event"] == "sweep_started":
                progress.close_display()
            view(event)

        with SweepView() as view:
            return engine.sweep_students(
                data=data,
                labels=labels,
                out=out,
                config=config,
                ipc=ipc_list,
                expert_epochs=expert_epochs,
                seeds=seed_list,
                executor=executor,
                workers=num_workers,
                workers_per_device=workers_per_device,
                threads=threads,
                retries=retries,
                stall_timeout=stall_timeout,
                ray_address=ray_address,
                gpus_per_worker=gpus_per_worker,
                halving=halving,
                trackers=trackers or (),
                events=events,
                overrides=overrides,
                dry_run=dry_run,
                estimate=estimate,
                progress=stages,
                on_event=watch,
            )

    carry_out(work, json=json, debug=debug, dry_run=dry_run)


def status(
    *,
    sweep: Sweep,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say how far a running sweep is, from any terminal."""

    def work(progress: Progress) -> Mapping[str, Any]:
        import engine

        return engine.sweep_status(path=sweep)

    carry_out(work, json=json, debug=debug)


def results(
    *,
    sweep: Sweep,
    sql: Annotated[
        str | None,
        typer.Option(
            "--sql",
            metavar="QUERY",
            help="A question to the table trials, one row each, such as "
            "'select ipc, avg(final_test) from trials group by all'. "
            "'describe trials' lists its columns.",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="CONDITION", help="Which trials, such as 'ipc = 10'."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write the answer, or else every trial, as .csv, .parquet or .json.",
        ),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Ask a sweep's results a question, in SQL; export them.

    Without a question: the mean of every cell, and the failed trials.
    """

    def work(progress: Progress) -> Mapping[str, Any]:
        import engine

        return engine.query_results(sweep=sweep, sql=sql, where=where, out=out)

    carry_out(work, json=json, debug=debug)


def why(
    *,
    sweep: Annotated[
        Path, typer.Argument(metavar="SWEEP", help="Folder of the sweep, or the trial's file.")
    ],
    trial: Annotated[
        str | None,
        typer.Argument(metavar="[TRIAL]", help="Id of the trial, or enough of its beginning."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DATA", help="Dataset, if it is not where the sweep read it."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="STORE", help="Label store that the command is to name."),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what decided a trial's result, and what runs it again.

    Everything that the result rests on, and the command that trains the same student.
    """

    def work(progress: Progress) -> Mapping[str, Any]:
        import engine

        return engine.explain_trial(sweep=sweep, trial=trial, data=data, labels=labels)

    carry_out(work, json=json, debug=debug)


def diff(
    *,
    trials: Annotated[
        list[str],
        typer.Argument(metavar="[SWEEP] A B", help="Two trials of a sweep, or the files of two."),
    ],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say in what two trials differ, settings and results."""
    if len(trials) not in (2, 3):
        raise typer.BadParameter(
            f"expected SWEEP A B, or the files of two trials; found {len(trials)} arguments."
        )
    *sweep, a, b = trials

    def work(progress: Progress) -> Mapping[str, Any]:
        import engine

        return engine.diff_trials(sweep=Path(sweep[0]) if sweep else None, a=a, b=b)

    carry_out(work, json=json, debug=debug)
