"""How the kernels are compiled: on first use, kept on disk, one thread, without the GIL."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from numba import njit
from numba.extending import intrinsic

compiled = njit(cache=True, nogil=True, error_model="numpy")
inlined = njit(nogil=True, error_model="numpy", forceinline=True)
operation: Any = intrinsic  # not as numba types it: calls take other arguments than definitions


def forget_stale_code(folder: Path) -> None:
    """Removes the index of compiled code in `folder` where any source there is newer.

    numba itself notices changes of a function's own file only, not of what is inlined into it.
    """
    newest = max(source.stat().st_mtime_ns for source in folder.glob("*.py"))
    for index in (folder / "__pycache__").glob("*.nbi"):
        with contextlib.suppress(OSError):
            if index.stat().st_mtime_ns < newest:
                index.unlink()
