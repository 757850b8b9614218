"""How a long piece of work says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


def no_progress(_stage: str, _done: int, _total: int) -> None:
    """The progress of a caller who does not want to know."""
