"""The options that commands share, and the parsing of lists, `--set a.b=c` and names.

Parsers take the text as typed and the option's name, and raise `typer.BadParameter` (exit code 2),
which names the option, what was found and what is understood.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from engine.number_ranges import MOST_NUMBERS, parse_range

Json = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON document on stdout.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback when something fails.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace what is there, even if it was made differently.")
]
Data = Annotated[
    Path, typer.Option("--data", metavar="DATA", help="Dataset, as build-beton made it.")
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE|PRESET",
        help="Configuration: a YAML file, or the name of a preset (docs/plans.md lists them).",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="A.B=C",
        help="Set one value of the configuration (keys: docs/plans.md); repeatable.",
    ),
]
Processes = Annotated[
    int, typer.Option("--processes", min=1, metavar="N", help="Processes that share the work.")
]


def parse_numbers(text: str, option: str, *, minimum: int = 0) -> list[int]:
    """`"1,10"` or `"1-5,8"` or `"0-8:4"` → a list of numbers, in the order typed, each once."""
    numbers: dict[int, None] = {}
    for part in text.split(","):
        try:
            found = parse_range(part)
        except ValueError as error:
            raise typer.BadParameter(f"{error}.", param_hint=option) from error
        if found is None:
            raise typer.BadParameter(
                f"{part.strip()!r} is no whole number or range in {text!r}; "
                "write numbers and ranges with commas, such as 1,10 or 1-5,8 or 0-40:4.",
                param_hint=option,
            )
        if found.start < minimum:
            raise typer.BadParameter(
                f"{found.start} is too small; the smallest that makes sense is {minimum}.",
                param_hint=option,
            )
        if len(numbers) + len(found) > MOST_NUMBERS:
            raise typer.BadParameter(
                f"{text!r} means more than {MOST_NUMBERS:,} numbers.", param_hint=option
            )
        numbers.update(dict.fromkeys(found))
    return list(numbers)


def parse_number(text: str, option: str, *, minimum: int = 0) -> int:
    """`"4"` → 4."""
    numbers = parse_numbers(text, option, minimum=minimum)
    if len(numbers) != 1:
        raise typer.BadParameter(f"expected one number, found {text!r}.", param_hint=option)
    return numbers[0]


def parse_optional_numbers(text: str | None, option: str, *, minimum: int = 0) -> list[int] | None:
    """As `parse_numbers`, but None, an option that wasn't given, stays None."""
    return None if text is None else parse_numbers(text, option, minimum=minimum)


def parse_settings(assignments: Sequence[str] | None) -> dict[str, str]:
    """`["a.b=c", "lr=0.1"]` → `{"a.b": "c", "lr": "0.1"}`; a name set twice takes the last value.

    The names are checked by what reads the configuration, which knows them.
    """
    settings: dict[str, str] = {}
    for assignment in assignments or ():
        name, equals, value = assignment.partition("=")
        name = name.strip()
        if not equals or not name or not all(name.split(".")):
            raise typer.BadParameter(
                f"{assignment!r} sets nothing; write NAME=VALUE, such as train.lr=0.01.",
                param_hint="--set",
            )
        settings[name] = value.strip()
    return settings


def one_of(name: str, known: Sequence[str], option: str) -> str:
    """The name itself if it is known; otherwise refused with the known names and the nearest."""
    if name in known:
        return name
    nearest = get_close_matches(name, known, n=1)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    raise typer.BadParameter(
        f"{name!r} isn't known here; known: {', '.join(known)}.{hint}", param_hint=option
    )
