"""Tables as CSV, Markdown and LaTeX text, and as the rows of a console table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from engine.report.entries import Table
from engine.report.tables import Row


def to_csv(rows: Sequence[Row]) -> str:
    """Rows as CSV: a column per key in order of appearance, None as an empty field."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if value is None else value for key, value in row.items()})
    return out.getvalue()


def to_markdown(tables: Sequence[tuple[str, Table]]) -> str:
    """(heading, table) pairs as Markdown; best numbers are bold."""
    parts = []
    for heading, table in tables:
        body = [[_bold(e.text, e.style) for e in row] for row in table.rows]
        lines = [
            _line([escaped(name) for name in column_names(table)]),
            _line([":--" if words else "--:" for words in table.word_columns]),
            *(_line(row) for row in body),
        ]
        legend = [escaped(text) for text in table.legend]
        parts.append("\n".join([f"## {escaped(heading)}", "", *lines, "", *_spaced(legend)]))
    return "\n".join(parts)


def to_latex(tables: Sequence[tuple[str, Table]]) -> str:
    """(heading, table) pairs as plain `tabular` environments that need no package."""
    parts = []
    for heading, table in tables:
        columns = "".join("l" if words else "r" for words in table.word_columns)
        lines = [f"% {' '.join(heading.split())}", f"\\begin{{tabular}}{{{columns}}}", r"\hline"]
        if table.groups:
            spans = [f"\\multicolumn{{{n}}}{{l}}{{{_latex(name)}}}" for name, n in table.groups]
            lines.append(_latex_line(spans))
        lines += [_latex_line([_latex(name) for name in table.columns]), r"\hline"]
        for row in table.rows:
            texts = [(_latex(entry.text), "best" in entry.style.split()) for entry in row]
            lines.append(_latex_line([f"\\textbf{{{t}}}" if b and t else t for t, b in texts]))
        lines += [r"\hline", r"\end{tabular}", *(f"% {text}" for text in table.legend), ""]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def to_console(tables: Sequence[tuple[dict[str, str], Table]]) -> list[dict[str, str]]:
    """(settings, table) pairs as one list of rows: column → text, settings first."""
    return [
        {**axes, **dict(zip(column_names(table), (entry.text for entry in row), strict=True))}
        for axes, table in tables
        for row in table.rows
    ]


def column_names(table: Table) -> list[str]:
    """One heading per column, with its group's where there is one: "final epoch: soft"."""
    names, at = [], 0
    for group, width in table.groups or (("", len(table.columns)),):
        for column in table.columns[at : at + width]:
            names.append(f"{group[0].lower()}{group[1:]}: {column}" if group else column)
        at += width
    return names


def _line(fields: Sequence[str]) -> str:
    return f"| {' | '.join(fields)} |"


def _bold(text: str, style: str) -> str:
    return f"**{escaped(text)}**" if "best" in style.split() and text else escaped(text)


def escaped(text: str) -> str:
    """Markdown that shows `text` itself: no markup, no HTML, one line."""
    for sign in "\\`*_[]|":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").split())


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "†": r"$\dagger$",
    "→": r"$\to$",
    "‖": r"$\Vert$",
    "²": "$^2$",
    "“": "``",
    "”": "''",
    "’": "'",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "\u00a0": "~",
}
"""Signs that LaTeX reads as something else, or that need a package to be set as they are."""


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))


def _latex_line(fields: Sequence[str]) -> str:
    return " & ".join(fields) + r" \\"


def _spaced(lines: Sequence[str]) -> list[str]:
    return [part for line in lines for part in (line, "")]
