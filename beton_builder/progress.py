"""How long work reports itself: progress(stage, done, total), in items."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]


def report(progress: Progress | None, stage: str, done: int, total: int) -> None:
    """Call `progress` if there is one."""
    if progress is not None:
        progress(stage, done, total)
