"""The commands that look: at an artefact (`verify`, `info`), at the machine (`doctor`, `bench`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import failures
from cli.artefacts import recognise
from cli.errors import UnknownArtefactError, UnknownSuiteError
from cli.options import Debug, DryRun, Json
from cli.presentation import as_json, as_text
from cli.progress import Progress
from cli.running import carry_out, stdout_reserved, write_stdout

Artefact = Annotated[
    Path,
    typer.Argument(
        metavar="PATH", help="Folder of a dataset, expert run, label store, sweep or report."
    ),
]


def verify(
    *,
    path: Artefact,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DATA", help="Dataset of a label store, to compute labels again."
        ),
    ] = None,
    expert: Annotated[
        Path | None, typer.Option("--expert", metavar="RUN", help="The run that made the labels.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Check every stored byte of an artefact.

    With --data and --expert, labels of random samples are also computed again from images and
    checkpoints, of the epochs that are complete. Exit code 1 if there is damage.
    """
    if (data is None) != (expert is None):
        raise typer.BadParameter(
            "to compute labels again, give both --data and --expert.", param_hint="--data"
        )

    def work(progress: Progress) -> Mapping[str, Any]:
        kind = recognise(path)
        answer = {"path": str(path), "kind": kind.title, **kind.verify(path, progress)}
        if data is None or expert is None:
            return answer
        if kind.name != "label-store":
            raise UnknownArtefactError(
                f"{path} is a {kind.title}; --data and --expert are for a label store."
            )
        if answer["damaged"]:
            why = "damaged bytes are the labels of nothing: mend the store first"
            return answer | {"recomputed": 0, "not_recomputed": why}
        import engine

        again = engine.check_labels(path, data, expert, progress=progress)
        return answer | again | _both(answer, again)

    carry_out(work, json=json, debug=debug)


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict of two checks; where the second had nothing to look at, it says so."""
    verdict = {
        "ok": one["ok"] and other["ok"],
        "problems": [*one["problems"], *other["problems"]],
    }
    return verdict if other["recomputed"] else verdict | {"not_recomputed": "no epoch is complete"}


def info(
    *,
    path: Artefact,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw a label store, as .png or .svg."),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what an artefact is and what it holds."""

    def work(progress: Progress) -> Mapping[str, Any]:
        kind = recognise(path)
        answer = {"path": str(path), "kind": kind.title, **kind.describe(path)}
        if plot is None:
            return answer
        if kind.name != "label-store":
            raise UnknownArtefactError(f"{path} is a {kind.title}; --plot is for a label store.")
        import engine

        return answer | engine.plot_labels(path, plot)

    carry_out(work, json=json, debug=debug)


def doctor(
    *,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DATA", help="Look at this dataset, too.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", metavar="STORE", help="Look at this label store, too: is it of DATA?"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder for results; by default the working folder."
        ),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what works on this machine, and what to type next.

    For when something is slow or fails, and to paste into a report of it. Exit code 2 if the main
    path can't be walked here, 0 with warnings.
    """
    import engine

    # Not `carry_out`, which knows 0 and 1: what this command finds may end it with 2. Errors, which
    # are not findings, are reported by `cli.main`, as those of any command are.
    with stdout_reserved(), Progress() as progress:
        answer = engine.check_environment(data=data, labels=labels, out=out, progress=progress)
    write_stdout(as_json(answer) if json else as_text(_diagnosis(answer)))
    raise typer.Exit(failures.EXIT_REFUSED if answer["problems"] else failures.EXIT_DONE)


def _diagnosis(answer: Mapping[str, Any]) -> dict[str, Any]:
    """For a person: the table of what was found, then what to type, one command a line."""
    rows = [row | {"check": row["check"].replace("_", " ")} for row in answer["checks"]]
    to_type: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["next"]:
            to_type.setdefault((row["status"], row["next"]), []).append(row["check"])
    versions = ", ".join(f"{name} {found or 'none'}" for name, found in answer["versions"].items())
    return {
        "table": [{key: row[key] for key in ("check", "status", "found")} for row in rows],
        "versions": versions,
        "date": answer["date"],
        "seconds": answer["seconds"],
        "problems": [
            f"{status}, {', '.join(checks)}: {command}"
            for (status, command), checks in to_type.items()
        ],
        "message": answer["message"],
    }


def bench(
    *,
    suite: Annotated[
        str | None,
        typer.Argument(metavar="[SUITE]", help="Suite to run; without it, their names are shown."),
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
