"""Small JSON files that say what is complete: written whole, checked when read.

Every record and manifest of an expert run and of a sweep goes through here. A record carries a
checksum over its own canonical JSON, so a flipped byte is found when it is read; it is written
beside its place, synced and renamed, so no reader sees half of one.

A writer holds a lock on the partial file it writes, which a kill releases: that tells what a killed
writer left from what another one is writing at this moment.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.errors import ArtefactError, DamageError, UsageError

CHECKSUM = "checksum"
LOCK = ".lock"
PARTIAL = ".partial"


def canonical_json(value: object) -> bytes:
    """The one spelling of a JSON value that hashes are taken of: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def content_id(value: object) -> str:
    """16 hex digits that identify a JSON value by its content."""
    return hashlib.sha256(canonical_json(value)).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that it is either absent, as it was before, or whole and on disk.

    Raises:
        ArtefactError: the disk is full or the folder can't be written; nothing is left behind.
    """
    made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    partial: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = _begin_partial(path)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            partial.chmod(0o644)
            partial.replace(path)  # while it is still locked
        sync_folder(path.parent)
    except OSError as error:
        if partial is not None:
            partial.unlink(missing_ok=True)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise _cannot_write(path, error) from error
    except BaseException:
        if partial is not None:
            partial.unlink(missing_ok=True)
        raise


def _begin_partial(path: Path) -> tuple[int, Path]:
    """A new, locked file beside `path`: its descriptor and its place."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PARTIAL, dir=path.parent)
        with contextlib.suppress(OSError):  # a file system without locks: as good as it can be
            fcntl.flock(handle, fcntl.LOCK_SH)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # removed by another writer before it was locked


def _cannot_write(path: Path, error: OSError) -> ArtefactError:
    return ArtefactError(
        f"{path} can't be written: {error.strerror}. What was finished before is kept; "
        "make room (or choose another folder) and run the same command again."
    )


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_unclaimed(folder: Path) -> bool:
    """Whether nothing lies there but what a writer that was killed at once may have left."""
    return not folder.exists() or (
        folder.is_dir() and all(f.name == LOCK or f.match(f".*{PARTIAL}") for f in folder.iterdir())
    )


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold an artefact's folder for writing; makes the folder, and removes it if it stays empty.

    On a file system without locks nothing keeps a second writer away.

    Raises:
        UsageError: another process holds it.
        ArtefactError: the folder can't be made.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a")
    except OSError as error:
        raise _cannot_write(folder, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another process is writing {folder}; wait for it") from error
        except OSError:
            pass  # a file system without locks: the command works, unguarded
        remove_partials(folder)
        try:
            yield
        finally:
            if made and [f.name for f in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()
                folder.rmdir()


def remove_partials(folder: Path) -> None:
    """Delete what a killed writer of this folder left; only the folder's one writer may call it.

    Left alone: folders inside with a lock of their own, whose writers do the same there, and files
    that somebody is writing.
    """
    for inner, folders, names in os.walk(folder):
        if LOCK in names and Path(inner) != folder:
            folders.clear()
            continue
        for name in names:
            if name.startswith(".") and name.endswith(PARTIAL):
                _remove_abandoned(Path(inner) / name)


def _remove_abandoned(partial: Path) -> None:
    # Open for writing too: without, NFS has no exclusive lock to give.
    with contextlib.suppress(OSError), partial.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        partial.unlink()


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON record with a checksum of itself, atomically and durably."""
    body = {key: value for key, value in content.items() if key != CHECKSUM}
    body[CHECKSUM] = hashlib.sha256(canonical_json(body)).hexdigest()
    write_bytes(path, json.dumps(body, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n")


def read_record(path: Path) -> dict[str, Any]:
    """Read a record written by :func:`write_record`.

    Raises:
        ArtefactError: there is no such file.
        DamageError: it is no JSON object, or its checksum does not match its content.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtefactError(f"{path} can't be read: {error.strerror}") from error
    try:
        record = json.loads(data)
        checksum = record.pop(CHECKSUM)
        whole = hashlib.sha256(canonical_json(record)).hexdigest() == checksum
        # The layout is ours too: a flipped blank or newline is damage like any other.
        rewritten = json.dumps(record | {CHECKSUM: checksum}, indent=1, sort_keys=True).encode()
        whole = whole and rewritten + b"\n" == data
    except (ValueError, AttributeError, KeyError, TypeError):
        whole = False
    if not whole:
        raise DamageError(
            f"{path} is damaged: its content does not match its checksum. "
            "Make it anew with the command that wrote it (`train-expert --force` for an expert run)"
        )
    return record
