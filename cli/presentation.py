"""A result of a public function → what is printed: one JSON document, or calm, aligned text.

The results are plain dicts. As text: tables first (any list of dicts), then the other values,
one per line and aligned, then problems, then the message, so that the last line is the one to read.
"""

import io
import json
import math
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from cli.progress import duration

if TYPE_CHECKING:
    from rich.console import Console

MOST_LISTED = 12  # numbers or names on one line
MOST_IN_A_CELL = 4  # entries of a group in a table
MOST_PROBLEMS = 20  # lines; --json has them all
UNBOUNDED_WIDTH = 10_000  # what isn't shown on a terminal is never wrapped


def as_json(result: Mapping[str, Any]) -> str:
    """One JSON document and a newline; not-a-number and infinities, which JSON lacks, are null."""
    return json.dumps(_plain(result), indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | str | None):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, Sequence | set | frozenset):
        return [_plain(item) for item in value]
    raise TypeError(f"a result holds a {type(value).__name__}, which has no place in JSON")


def as_text(result: Mapping[str, Any], *, dry_run: bool = False) -> str:
    """The result for a person; a plan (`dry_run`) says in its first line that it is one."""
    rest = dict(_plain(result))
    message, problems, ok = (
        rest.pop("message", None),
        rest.pop("problems", []),
        rest.pop("ok", None),
    )
    rest.pop("dry_run", None)
    tables = {key: value for key, value in rest.items() if _is_table(value)}
    fields = {key: value for key, value in rest.items() if key not in tables}

    console = _console()
    if dry_run:
        console.print("Plan; nothing was done.", highlight=False)
    for key, rows in tables.items():
        if key != "table":
            console.print(f"{_label(key)}:", highlight=False, markup=False)
        left_out = _too_large_for_a_cell(rows)
        console.print(_table(rows, left_out))
        if left_out:
            names = ", ".join(_label(column) for column in left_out)
            console.print(f"(--json also has: {names})", highlight=False, soft_wrap=True)
    for line in _field_lines(fields):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for line in _problem_lines(problems, ok):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if message:
        console.print(str(message), highlight=False, markup=False, soft_wrap=True)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def _console() -> "Console":
    from rich.console import Console

    terminal = sys.stdout is not None and sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else UNBOUNDED_WIDTH
    return Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=width,
        no_color=True if os.environ.get("NO_COLOR") else None,
    )


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _too_large_for_a_cell(rows: list[dict[str, Any]]) -> list[str]:
    """Columns whose values are long or nested groups, such as one number for each epoch."""

    def is_large(value: Any) -> bool:
        if not isinstance(value, Mapping):
            return False
        return len(value) > MOST_IN_A_CELL or any(isinstance(v, Mapping) for v in value.values())

    columns = dict.fromkeys(key for row in rows for key in row)
    return [column for column in columns if any(is_large(row.get(column)) for row in rows)]


def _table(rows: list[dict[str, Any]], left_out: Sequence[str] = ()) -> Any:
    from rich.table import Table
    from rich.text import Text

    named = dict.fromkeys(key for row in rows for key in row)
    columns = [column for column in named if column not in left_out]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        numeric = all(isinstance(row.get(column), int | float | None) for row in rows)
        table.add_column(Text(_label(column)), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(Text(_words(column, row.get(column))) for column in columns))
    return table


def _field_lines(fields: Mapping[str, Any], indent: str = "", unit: str = "") -> Iterator[str]:
    """Aligned lines, groups below them; `unit` is what a group's name says of all its values."""
    flat = {key: value for key, value in fields.items() if not isinstance(value, Mapping)}
    width = max((len(_label(key)) for key in flat), default=0)
    for key, value in flat.items():
        yield f"{indent}{_label(key):<{width}}  {_words(f'{key}_{unit}', value)}"
    for key, value in fields.items():
        if isinstance(value, Mapping):
            yield f"{indent}{_label(key)}:"
            yield from _field_lines(value, indent + "  ", unit=key)


def _problem_lines(problems: Any, ok: bool | None) -> Iterator[str]:
    listed = problems if isinstance(problems, list) else [problems]
    for problem in listed[:MOST_PROBLEMS]:
        yield f"- {problem}"
    if len(listed) > MOST_PROBLEMS:
        yield f"… and {len(listed) - MOST_PROBLEMS:,} more; --json lists them all."
    if ok is True:
        yield "No damage found."
    elif ok is False:
        yield f"Damage found: {len(listed):,} problem{'' if len(listed) == 1 else 's'}."


def _label(key: str) -> str:
    return key.replace("_", " ")


def _words(key: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    measure = key.rstrip("_").rpartition("_")[2]
    if isinstance(value, int | float) and measure == "seconds":
        return duration(value)
    if isinstance(value, int) and measure == "bytes":
        return _size(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        words = [_words("", item) for item in value[:MOST_LISTED]]
        more = f", … ({len(value):,} in all)" if len(value) > MOST_LISTED else ""
        return ", ".join(words) + more if words else "none"
    if isinstance(value, dict):
        return ", ".join(f"{_label(name)} {_words(name, item)}" for name, item in value.items())
    return str(value)


def _size(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{count:,} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
