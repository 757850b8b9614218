"""What a running sweep is doing, for another terminal.

In: the executor's events (`engine.sweep.executors.recording`). Out: SWEEP/status.json with the
latest snapshot (`engine.sweep.watching.watch`), at most twice a second. The file is a courtesy:
never synced, no part of the truth, and a disk that is full leaves it stale.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.destination import KINDS, kind_of
from engine.errors import ArtefactError
from engine.sweep.watching.process_identity import identify_process, is_same_process
from engine.sweep.watching.watch import Watch

__all__ = ["StatusFile", "Watch", "identify_process", "is_same_process", "sweep_status"]

FILE = "status.json"
WRITE_EVERY = 0.5  # seconds


class StatusFile:
    """An event listener that keeps SWEEP/status.json up to date; ``watch`` is what it knows."""

    def __init__(self, sweep: str | Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = Path(sweep) / FILE
        self.watch = Watch()
        self._clock = clock
        self._next = 0.0

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take an event into account and write, unless it was written just now."""
        self.watch(event)
        if self._clock() >= self._next or event["event"] in ("sweep_finished", "sweep_stopped"):
            self._next = self._clock() + WRITE_EVERY
            self._write()

    def _write(self) -> None:
        partial = self.path.with_name(f".{FILE}.{os.getpid()}.partial")
        with contextlib.suppress(OSError):
            partial.write_text(json.dumps(self.watch.snapshot(), indent=1) + "\n")
            partial.replace(self.path)


def sweep_status(path: str | Path) -> dict[str, Any]:
    """The last status of a sweep, and whether its driver still lives.

    Returns the snapshot with ``alive`` added: None where the driver is on another host. A driver
    that is gone without a word has the state ``died``.

    Raises:
        ArtefactError: no sweep lies there, or one without a status.
    """
    _check_sweep(Path(path))
    try:
        status = json.loads((Path(path) / FILE).read_text())
        alive = is_same_process(status["driver"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ArtefactError(
            f"{path} has no readable {FILE}, which a running sweep writes; "
            f"`engine info {path}` counts what has finished"
        ) from error
    if status["state"] == "running" and alive is False:
        status["state"] = "died"
    return {**status, "path": str(path), "alive": alive and status["state"] == "running"}


def _check_sweep(path: Path) -> None:
    """A sweep is told by its head; before that is written, by what a driver says of itself."""
    kind = kind_of(path)
    if kind == "sweep" or (kind is None and (path / FILE).is_file()):
        return
    if not path.exists():
        found = "nothing; `engine status` takes the folder that `sweep-students --out` made"
    elif kind is None:
        found = "no artefact of ours; `engine status` takes the folder of a sweep"
    else:
        found = f"{KINDS[kind]}; `engine info {path}` says what it holds"
    raise ArtefactError(f"expected a sweep at {path}, found {found}")
