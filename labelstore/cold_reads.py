"""Random rows of a mapped file that is not in memory: ask the disk for all of them at once.

Touching rows one after the other waits for the disk once a row, and reads far more than the rows
(the kernel reads ahead around every fault). `madvise(MADV_WILLNEED)` on each row's own pages queues
them all first. Whether rows are in memory is asked of a few of them (`mincore`), so that a warm
read pays next to nothing; where many rows are wanted the kernel's own reading ahead is as good.
"""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST_ROWS = 1_000
_GLANCE = 2  # rows; where all of them are in memory nothing more is asked
_SAMPLED = 16
_MOSTLY = 0.75
_DENSE = 0.1  # of all rows: from here on the disk is read from end to end anyway

_Answer = ctypes.c_ubyte * 1
_libc: Any = ctypes.CDLL(None, use_errno=True)
_CAN_ASK = all(hasattr(_libc, name) for name in ("mincore", "madvise"))
if _CAN_ASK:
    _libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, _Answer]
    _libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def ask_for_cold_rows(source: NDArray[Any], places: NDArray[np.int64], num_rows: int) -> bool:
    """Has the rows at `places` (k,) of a mapped array read from the disk, if most are not there.

    num_rows: how many rows the files hold, to judge how dense `places` are. Returns whether the
    disk was asked; the rows may still be on their way.
    """
    if not _CAN_ASK or not FEWEST_ROWS <= len(places) < _DENSE * num_rows:
        return False
    begin, row_bytes = source.__array_interface__["data"][0], source.strides[0]

    def share_in_memory(count: int) -> float:
        rows = places[:: len(places) // count][:count].tolist()
        return sum(_is_in_memory(begin + row * row_bytes) for row in rows) / count

    if share_in_memory(_GLANCE) == 1 or share_in_memory(_SAMPLED) >= _MOSTLY:
        return False
    first = begin + np.sort(places) * row_bytes
    pages = first & -mmap.PAGESIZE
    sizes = first + row_bytes - pages
    for page, size in zip(pages.tolist(), sizes.tolist(), strict=True):
        _libc.madvise(page, size, mmap.MADV_WILLNEED)
    return True


def _is_in_memory(address: int) -> bool:
    found = _Answer()
    page = address & -mmap.PAGESIZE
    return _libc.mincore(page, 1, found) != 0 or bool(found[0] & 1)
