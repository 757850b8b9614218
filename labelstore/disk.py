"""Writes that survive a crash, and a full disk that says so.

In: paths and bytes. Out: files that are either absent or whole. A document is written to
`NAME.tmp`, fsynced, renamed, and its folder fsynced (0.33 ms a document, measured on a virtual
SSD). The temporary name is fixed, so that a killed process leaves nothing that its successor does
not replace; two processes must therefore not write one document at once, which the locks of
`labelstore` see to.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .errors import StoreFull

_FULL = (errno.ENOSPC, errno.EDQUOT)

_SYNC_FILE_RANGE_WRITE = 2
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)  # Linux only
if _sync_file_range is not None:
    _sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


@contextlib.contextmanager
def naming_full_disk(path: Path, needed: int) -> Iterator[None]:
    """Turns "no space left" into StoreFull, which names `path` and the `needed` bytes."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StoreFull(
            f"{path}: no space for {needed:,} bytes ({_free_bytes(path):,} free, "
            f"{error.strerror}); make room, then run the same command again: it resumes"
        ) from error


def _free_bytes(path: Path) -> int:
    for folder in path.parents:
        if folder.is_dir():
            return shutil.disk_usage(folder).free
    return 0


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with naming_full_disk(folder, 4096):
            os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    """Makes the content of `path` durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        with naming_full_disk(path, path.stat().st_size):
            os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """Creates `folder` and its missing parents, durably."""
    missing = [folder, *folder.parents]
    missing = [each for each in missing if not each.is_dir()]
    for each in reversed(missing):
        with naming_full_disk(each, 4096):
            each.mkdir(exist_ok=True)
        sync_folder(each.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Writes `data` to `path` so that a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with naming_full_disk(path, len(data)):
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                write_at(fd, data, 0)
                os.fsync(fd)
            finally:
                os.close(fd)
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_at(fd: int, data: bytes | memoryview, offset: int) -> None:
    """`os.pwrite` of all of `data`, however many calls that takes."""
    view = memoryview(data).cast("B")
    while len(view):
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def start_writing_back(fd: int, offset: int, size: int) -> None:
    """Lets the disk begin with bytes just written, so that a later fsync has less to wait for.

    A hint: it makes nothing durable, and where the system has no such call nothing happens.
    """
    if _sync_file_range is not None:
        _sync_file_range(fd, offset, size, _SYNC_FILE_RANGE_WRITE)


def preallocate(path: Path, size: int, *, needed: int) -> None:
    """Creates `path` with `size` bytes of reserved space; StoreFull leaves no file behind.

    needed: bytes that the caller is about to reserve altogether, for the message.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        with naming_full_disk(path, needed):
            try:
                os.posix_fallocate(fd, 0, size)
            except OSError as error:
                # Some file systems cannot reserve; the rows are then found missing when written.
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV):
                    raise
                os.ftruncate(fd, size)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def try_lock(path: Path) -> int | None:
    """An open, locked descriptor of the file `path`, or None while another process holds it.

    The lock goes with the process, however it ends. A file that its last holder unlinked between
    our opening and locking it is not the one others see: then it is opened again.
    """
    return _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for the lock on `path` and holds it inside the block (held for milliseconds only)."""
    fd = _lock(path, fcntl.LOCK_EX)
    assert fd is not None
    try:
        yield
    finally:
        os.close(fd)


def _lock(path: Path, how: int) -> int | None:
    while True:
        make_folder(path.parent)
        try:
            with naming_full_disk(path, 4096):
                fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            continue  # the last holder removed the folder meanwhile
        try:
            fcntl.flock(fd, how)
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
