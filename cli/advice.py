"""The command that advises: which expert epoch and learning rate, and what fits a budget."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import Data, Debug, Json, Settings, parse_settings
from cli.progress import Progress
from cli.running import carry_out


def recommend(
    *,
    data: Data,
    ipc: Annotated[int, typer.Option("--ipc", min=1, metavar="N", help="Images per class.")],
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="TIME",
            help="Time for it, such as 2h, 90m or 1h30m; the pace is measured to say what fits.",
        ),
    ] = None,
    sweeps: Annotated[
        list[Path] | None,
        typer.Option(
            "--sweep",
            metavar="SWEEP",
            help="A sweep of this dataset to go by; repeatable. Without it, published numbers.",
        ),
    ] = None,
    students: Annotated[
        int, typer.Option("--students", min=1, metavar="N", help="Fewest students to plan for.")
    ] = 3,
    settings: Settings = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say which expert epoch and learning rate suit an IPC.

    By the scaling law fitted to finished sweeps, with intervals, and what it rests on.
    """
    overrides = parse_settings(settings)

    def work(progress: Progress) -> Mapping[str, Any]:
        import engine

        answer = engine.recommend(
            data=data,
            ipc=ipc,
            budget=budget,
            sweeps=tuple(sweeps or ()),
            students=students,
            overrides=overrides,
            progress=progress,
        )
        return answer if json else _for_a_person(answer)

    carry_out(work, json=json, debug=debug)


def _for_a_person(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Sentences at the end, each on its line; the commands are part of the message already."""
    shown = {key: value for key, value in answer.items() if key not in ("notes", "commands")}
    notes = [f"Note: {note}" for note in answer["notes"]]
    return shown | {"message": "\n".join([answer["message"], *notes])}
