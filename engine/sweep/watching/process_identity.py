"""Whether a process seen earlier still runs, and is no later one with the same pid (Linux)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def identify_process(pid: int) -> dict[str, Any]:
    """A process of this host, told apart from any later one with its pid."""
    return {"pid": pid, "host": socket.gethostname(), "boot": _boot(), "start": _start(pid)}


def is_same_process(known: Mapping[str, Any]) -> bool | None:
    """Whether the process that `identify_process` saw still runs; None on another host."""
    if known["host"] != socket.gethostname():
        return None
    if known["start"] is not None:
        return known["boot"] == _boot() and known["start"] == _start(known["pid"])
    try:
        os.kill(known["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _boot() -> str | None:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None


def _start(pid: int) -> int | None:
    """When a process began, in the kernel's ticks since boot; None if there is none (or zombie)."""
    with contextlib.suppress(OSError):
        # The name in parentheses may hold blanks and parentheses itself.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state == "Z" else int(fields[18])
    return None
