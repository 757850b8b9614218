"""The commands that look: at an artefact (`verify`, `info`), at this machine's speed (`bench`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.artefacts import recognise
from cli.errors import UnknownSuiteError
from cli.options import Debug, DryRun, Json
from cli.progress import Progress
from cli.running import carry_out

Artefact = Annotated[
    Path,
    typer.Argument(
        metavar="PATH", help="Folder of a dataset, expert run, label store, sweep or report."
    ),
]


def verify(*, path: Artefact, json: Json = False, debug: Debug = False) -> None:
    """Check every stored byte of an artefact.

    Exit code 1 if there is damage.
    """

    def work(progress: Progress) -> Mapping[str, Any]:
        kind = recognise(path)
        return {"path": str(path), "kind": kind.title, **kind.verify(path, progress)}

    carry_out(work, json=json, debug=debug)


def info(*, path: Artefact, json: Json = False, debug: Debug = False) -> None:
    """Say what an artefact is and what it holds."""

    def work(progress: Progress) -> Mapping[str, Any]:
        kind = recognise(path)
        return {"path": str(path), "kind": kind.title, **kind.describe(path)}

    carry_out(work, json=json, debug=debug)


def bench(
    *,
    suite: Annotated[
        str | None, typer.Argument(metavar="[SUITE]", help="Which suite; without it, their names.")
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure this machine's speed.

    Each figure stands beside a peer's, or beside a limit of the machine itself.
    """

    def work(progress: Progress) -> Mapping[str, Any]:
        import benchmarks

        known = list(benchmarks.SUITES)
        if suite is None:
            return {"suites": known, "message": "Type engine bench SUITE to run one."}
        if suite not in known:
            raise UnknownSuiteError(f"there is no suite {suite!r}; known: {', '.join(known)}.")
        if dry_run:
            return {"suite": suite}
        return benchmarks.run_suite(suite, progress=progress)

    carry_out(work, json=json, debug=debug, dry_run=dry_run)
