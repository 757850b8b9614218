"""One check's answer: what was found, whether it will do, and what to type if not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

OK, WARNING, PROBLEM = "ok", "warning", "problem"

LONGEST = 300
"""Characters of somebody else's message; compilers write pages."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """``status``: ok; warning (slower, or a part is missing); problem (the main path fails here).

    ``next``: the command to type, for warnings and problems.
    """

    found: str
    status: str = OK
    next: str = ""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user wants to work with, as far as it was said: any of them may be None."""

    data: Path | None = None
    labels: Path | None = None
    out: Path | None = None


def ok(found: str) -> Finding:
    return Finding(found=found)


def warning(found: str, next: str) -> Finding:
    return Finding(found=found, status=WARNING, next=next)


def problem(found: str, next: str) -> Finding:
    return Finding(found=found, status=PROBLEM, next=next)


def brief(error: BaseException | str) -> str:
    """A message on one line, cut where it gets long."""
    words = " ".join(str(error).split())
    return words if len(words) <= LONGEST else f"{words[:LONGEST]} …"


def gigabytes(count: int) -> str:
    """``63.2 GB``, or MB below one of them."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
