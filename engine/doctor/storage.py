"""The folders that are written to: permission, space, and whether what was written stays."""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from engine.doctor.finding import Asked, Finding, brief, gigabytes, ok, problem, warning
from engine.errors import EngineError
from engine.training.compiler import compile_cache, nearest_folder

FULL = 50 * 10**6
FEW_INODES = 1000
SLOW_RECORD = 0.05
"""Seconds for one durable record; a virtual SSD took 0.3 to 8 ms, idle and busy."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a folder is for: ``roomy`` bytes, what to type where it can't serve, and if it must."""

    roomy: int
    elsewhere: str
    must_serve: bool

    def fails(self, found: str) -> Finding:
        return problem(found, self.elsewhere) if self.must_serve else warning(found, self.elsewhere)


def check_out_folder(asked: Asked) -> Finding:
    """Where artefacts will be: ``out`` if it was given, else the working folder.

    Only the former has to serve: from any other working folder, --out names a better place.
    """
    folder = (asked.out or Path.cwd()).absolute()
    use = Use(
        roomy=2 * 10**9,
        elsewhere="engine … --out FOLDER  # elsewhere",
        must_serve=asked.out is not None,
    )
    if folder.exists() and not folder.is_dir():
        return use.fails(f"{folder} is no folder")
    space = judge_space(folder, use)
    if space.status != "ok":
        return space
    try:
        seconds = seconds_a_record(nearest_folder(folder))
    except (EngineError, OSError) as error:
        return use.fails(f"{folder}: {brief(error)}")
    found = f"{space.found}; a record is durable after {1000 * seconds:.1f} ms"
    if seconds > SLOW_RECORD:
        return warning(f"{found}: slow", "engine … --out FOLDER  # on a local disk")
    return ok(found)


def check_temporary_folder(_: Asked) -> Finding:
    """Where compilers and plans put what they need for a moment."""
    use = Use(roomy=10**9, elsewhere="export TMPDIR=FOLDER", must_serve=True)
    folder, wanted = Path(tempfile.gettempdir()), os.environ.get("TMPDIR")
    if wanted and Path(wanted).absolute() != folder.absolute():
        return warning(f"TMPDIR names {wanted}, which can't be used; {folder} is", use.elsewhere)
    return judge_space(folder, use)


def check_compile_cache(_: Asked) -> Finding:
    """Where torch.compile keeps its code; without it every process compiles anew, or not at all."""
    from engine.training.precision import can_compile

    use = Use(
        roomy=10**9,
        elsewhere="export TORCHINDUCTOR_CACHE_DIR=FOLDER",
        must_serve=can_compile(),
    )
    return judge_space(compile_cache(), use)


def check_download_cache(_: Asked) -> Finding:
    """Where datasets that are known by name are unpacked."""
    from beton_builder.sources.known_names import cache_folder

    use = Use(roomy=10**9, elsewhere="export ENGINE_CACHE=FOLDER", must_serve=False)
    return judge_space(cache_folder(), use)


def judge_space(folder: Path, use: Use) -> Finding:
    """Write into the folder, or into the nearest one above it that exists, and look at its disk."""
    place = nearest_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(4096))
    except OSError as error:
        return use.fails(f"{folder} can't be written: {error.strerror or brief(error)}")
    space = os.statvfs(place)
    free = space.f_bavail * space.f_frsize
    found = f"{folder}: {gigabytes(free)} free"
    if free < FULL:
        return use.fails(f"{found}, the disk is full")
    if space.f_files and space.f_favail < FEW_INODES:  # some file systems count none
        return use.fails(f"{found}, but only {space.f_favail} more files (df -i)")
    if free < use.roomy:
        return warning(f"{found}, {gigabytes(use.roomy)} would be comfortable", use.elsewhere)
    return ok(found)


def seconds_a_record(folder: Path) -> float:
    """Write three records as runs do, behind a lock, read and map them; the shortest time of one.

    Raises:
        EngineError, OSError: locking, syncing, renaming or mapping fails there, or a record does
            not come back as it was written.
    """
    from engine.records import read_record, sole_writer, write_record

    best = float("inf")
    with tempfile.TemporaryDirectory(prefix=".engine-doctor-", dir=folder) as temporary:
        place = Path(temporary) / "artefact"
        with sole_writer(place):
            record = place / "record.json"
            for number in range(3):
                started = time.perf_counter()
                write_record(record, {"number": number})
                best = min(best, time.perf_counter() - started)
                if read_record(record)["number"] != number:
                    raise OSError("an old record came back after a new one was renamed over it")
            with record.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # label stores need locks
    return best
