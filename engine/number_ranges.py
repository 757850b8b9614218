"""Whole numbers as a person types them: `13`, `4-10`, `0-40:4`; for command lines and for plans."""

from __future__ import annotations

import re

MOST_NUMBERS = 100_000

_RANGE = re.compile(
    r"\s*(?P<first>[0-9]{1,18})"
    r"(\s*-\s*(?P<last>[0-9]{1,18})(\s*:\s*(?P<step>[0-9]{1,18}))?)?\s*"
)


def parse_range(text: str) -> range | None:
    """The numbers that a text means, both ends included, or None where it means none.

    Raises:
        ValueError: the range runs backwards, never moves or has more than ``MOST_NUMBERS``.
    """
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    first = int(match["first"])
    last, step = int(match["last"] or first), int(match["step"] or 1)
    if last < first:
        raise ValueError(f"the range {text.strip()!r} runs backwards; write {last}-{first}")
    if step < 1:
        raise ValueError(f"the range {text.strip()!r} never moves; write a step of at least 1")
    if (last - first) // step >= MOST_NUMBERS:
        raise ValueError(f"{text.strip()!r} means more than {MOST_NUMBERS:,} numbers")
    return range(first, last + 1, step)
