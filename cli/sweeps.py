"""The commands that question a sweep: its results, and why a trial's are what they are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import Debug, Json
from cli.progress import Progress
from cli.running import carry_out

Sweep = Annotated[Path, typer.Argument(metavar="SWEEP", help="Folder of the sweep.")]


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
        typer.Option("--data", metavar="DATA", help="The dataset, where the sweep has it not."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="STORE", help="The label store, for the command."),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say everything that decided a trial's result, and the command that runs it again."""

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
