"""A sweep's events as JSON lines, for whoever follows: ``tail -f FILE | jq .event``.

In: the executor's events (`engine.sweep.executors.recording`). Out: one line each, written whole,
at once. A log is a courtesy and never stops a sweep: once a line can't be written (a full disk, a
reader that is gone), the log says so on stderr and writes no more. A reader that merely pauses
holds the sweep up, as with any pipe; a file does not.

A file is appended to, so that a resumed sweep goes on in the same log: every run begins with
``sweep_started``. Half a line, left by a kill or a full disk, is removed.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from engine.errors import UsageError

STDOUT = "-"
BEGINNING = b'{"event": '
"""Of every line."""

BLOCK = 1 << 16  # bytes to look through at once for the last newline


class EventLog:
    """An event listener; a context manager that closes the file.

    Args:
        path: file to append to, made where it is missing; ``-`` is stdout.

    Raises:
        UsageError: the file can't be opened, or holds something else than events.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = "stdout" if str(path) == STDOUT else str(path)
        self._lock = threading.Lock()
        self._file: int | None = _stdout() if str(path) == STDOUT else _open(Path(path))

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Write an event as one line; called by any thread."""
        line = json.dumps(_jsonable({"event": None, **event}), default=str).encode() + b"\n"
        with self._lock:
            if self._file is None:
                return
            try:
                _write_whole(self._file, line)
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        """Write no more; may be called again."""
        with self._lock:
            if self._file is not None:
                with contextlib.suppress(OSError):  # a network file system may fail here
                    os.close(self._file)
            self._file = None

    def _give_up(self, error: OSError) -> None:
        assert self._file is not None
        with contextlib.suppress(OSError):
            _remove_half_a_line(self._file)
        with contextlib.suppress(OSError):
            os.close(self._file)
        self._file = None
        with contextlib.suppress(OSError, ValueError):
            print(
                f"events can no longer be written to {self.path} ({error.strerror}); "
                "the sweep goes on without them",
                file=sys.stderr,
                flush=True,
            )


def _stdout() -> int:
    try:
        sys.stdout.flush()
        return os.dup(sys.stdout.fileno())
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError("stdout is closed or is no file here; write events to a file") from error


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UsageError(f"events can't be written to {path}: {error.strerror}") from error
    try:
        if stat.S_ISREG(os.fstat(file).st_mode):
            _check_is_ours(file, path)
            _remove_half_a_line(file)
    except BaseException:
        os.close(file)
        raise
    return file


def _check_is_ours(file: int, path: Path) -> None:
    found = os.pread(file, len(BEGINNING), 0)
    if not BEGINNING.startswith(found):
        raise UsageError(
            f"{path} exists and holds no events (a line begins with {BEGINNING.decode()}…); "
            "choose another file"
        )


def _remove_half_a_line(file: int) -> None:
    """Cut a regular file after its last whole line."""
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        return
    end = status.st_size
    while end > 0:
        start = max(0, end - BLOCK)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < status.st_size:
        os.ftruncate(file, end)


def _write_whole(file: int, line: bytes) -> None:
    while line:
        line = line[os.write(file, line) :]


def _jsonable(value: Any) -> Any:
    """The value with null for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in value]
    return value
