"""The `reproduce` command: every experiment of both papers on a dataset."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import Data, Debug, DryRun, Json, parse_number
from cli.progress import Progress
from cli.running import carry_out


def reproduce(
    *,
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for everything that it makes.")
    ],
    scale: Annotated[
        str,
        typer.Option("--scale", metavar="NAME", help="smoke, cpu or full, or a YAML file."),
    ] = "cpu",
    workers: Annotated[
        str, typer.Option("--workers", metavar="N", help="Processes that train students, or auto.")
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            metavar="N",
            help="Threads of each worker; by default an equal share.",
        ),
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Run every experiment of both papers, with verdicts.

    smoke: minutes, shows that the path works. cpu: hours on two cores. full: the papers' lengths.
    """
    count = "auto" if workers == "auto" else parse_number(workers, "--workers", minimum=1)

    def work(progress: Progress) -> Mapping[str, Any]:
        import engine

        return engine.reproduce(
            data=data,
            out=out,
            scale=scale,
            workers=count,
            threads=threads,
            dry_run=dry_run,
            progress=progress,
        )

    carry_out(work, json=json, debug=debug, dry_run=dry_run)
