"""The output folder during a build: locked, staged, published in one go, or left as it was.

Everything is written into `OUT/.building/`, fsynced, then renamed into OUT, the manifest last. A
failure removes what this build made, folders included. A kill leaves `.building`, which no reader
looks at and the next build removes. Replacing a dataset keeps the old one whole until its
successor is complete on the disk.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from beton_builder.errors import BetonError, DatasetExists, NoSpace, OutputUnusable
from beton_builder.manifest import FILE_NAME, STAGING
from beton_builder.whitening import FILE_NAME as WHITENING_FILE

BETON_FILES = (".beton", ".samples.parquet")  # of each split
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def check_place(out: Path, source_folder: Path | None) -> None:
    """Refuse an output inside the source, around it, below a file, or among foreign files."""
    place = out.resolve()
    if source_folder is not None:
        source = source_folder.resolve()
        if place == source or source in place.parents or place in source.parents:
            raise OutputUnusable(
                f"output {out} and source {source_folder} must lie apart, not inside each other"
            )
    for folder in (place, *place.parents):
        if folder.exists():
            if not folder.is_dir():
                raise OutputUnusable(f"output {out} cannot be made: {folder} is a file")
            break
    if place.is_dir() and not (place / FILE_NAME).exists():
        refuse_foreign_files(out)


_DATA_FILES = {f"{split}{end}" for split in ("train", "test") for end in BETON_FILES} | {
    WHITENING_FILE
}


def refuse_foreign_files(out: Path) -> None:
    """Refuse to write among files that no build of a dataset has made."""
    ours = {STAGING, FILE_NAME, *_DATA_FILES}
    foreign = sorted(path.name for path in out.iterdir() if path.name not in ours)
    if foreign:
        raise OutputUnusable(
            f"output {out} is neither empty nor a dataset (it holds {foreign[0]}); choose another "
            "folder"
        )


def fsync_folder(folder: Path) -> None:
    """Make renames within a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Staging:
    """Context of one build into `out`; `folder` is where to write, `publish()` the end of it.

    Leaving the context without `publish()` undoes everything. OSErrors inside become OutputUnusable
    or NoSpace. Raises DatasetExists when another build is running in the same folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out / STAGING
        self._made: list[Path] = []
        self._lock: int | None = None

    def __enter__(self) -> "Staging":
        try:
            self._make_out()
            self._lock = os.open(self.out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._take_lock()
            if self.folder.exists():
                shutil.rmtree(self.folder)
                if not any(self.out.iterdir()):
                    self._made.append(self.out)  # by a build that was killed
            self.folder.mkdir()
        except OSError as error:
            self._undo()
            raise_for_disk(error, self.out)
        except BetonError:
            self._release()
            raise
        return self

    def _make_out(self) -> None:
        missing = []
        place = self.out
        while not place.exists():
            missing.append(place)
            place = place.parent
        for folder in reversed(missing):
            folder.mkdir()
            self._made.append(folder)

    def _take_lock(self) -> None:
        assert self._lock is not None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatasetExists(
                f"another build is writing to {self.out}; wait for it, or choose another folder"
            ) from None
        except OSError:
            pass  # a network file system without locks: the build works, unguarded

    def publish(self, files: Iterable[str], manifest: bytes) -> None:
        """Rename the staged files into the output folder, then the manifest."""
        names = list(files)
        staged = self.folder / FILE_NAME
        with staged.open("wb") as file:
            file.write(manifest)
            file.flush()
            os.fsync(file.fileno())
        (self.out / FILE_NAME).unlink(missing_ok=True)  # from here on the folder is unfinished
        fsync_folder(self.out)
        for name in _DATA_FILES.difference(names):
            (self.out / name).unlink(missing_ok=True)
        for name in names:
            (self.folder / name).replace(self.out / name)
        fsync_folder(self.out)
        staged.replace(self.out / FILE_NAME)
        self.folder.rmdir()
        fsync_folder(self.out)
        for folder in self._made:
            fsync_folder(folder.parent)
        self._made.clear()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._undo()
        if isinstance(error, OSError):
            raise_for_disk(error, self.out)

    def _undo(self) -> None:
        if self._lock is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._release()
        for folder in reversed(self._made):
            try:
                folder.rmdir()
            except OSError:
                break

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def raise_for_disk(error: OSError, out: Path) -> NoReturn:
    """Turn an OSError of writing below `out` into NoSpace or OutputUnusable."""
    if error.errno in _DISK_FULL:
        raise NoSpace(
            f"no space left on the disk of {out} ({error.strerror}); nothing was kept. Free some "
            "space, or choose another --out"
        ) from error
    raise OutputUnusable(f"cannot write to {out}: {error.strerror or error}") from error
