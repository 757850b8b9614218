"""Completion records: which chunks of which epochs are whole, and the checksums of their files.

One sealed JSON file per (epoch, chunk), in one folder per epoch, written after the data are fsynced
and renamed. That a record exists is what makes rows visible to readers, so a reader lists a
folder per epoch (0.05 ms for 79 names) and opens no record at all; only `verify` and the writer
read them. 300 epochs × 79 chunks: opening 1.2 ms, the first listing of all epochs 55 ms.

Checksums of data are CRC-32 (zlib): it finds *every* error burst of up to 32 bits, hence every
flipped byte, with certainty and not with high probability; it runs at 4 GiB/s where blake2b runs at
0.9; it is in the standard library; and the checksum of a file follows from those of its blocks, so
that nothing written has to be read back (`join_crc32`).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .disk import make_folder, write_whole
from .errors import DamagedStore
from .layout import FORMAT, RECORDS, record_path
from .sealed import canonical, parse, seal, unseal

RECORD_KIND = "label-chunk"
_CRC32_POLYNOMIAL = 0xEDB88320


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of a whole chunk: `files` maps array name to (bytes, CRC-32)."""

    view_id: str
    epoch: int
    chunk: int
    rows: tuple[int, int]
    checkpoint_id: str
    files: Mapping[str, tuple[int, int]]

    def to_bytes(self) -> bytes:
        fields: dict[str, Any] = {
            "kind": RECORD_KIND,
            "format": FORMAT,
            "view_id": self.view_id,
            "epoch": self.epoch,
            "chunk": self.chunk,
            "rows": list(self.rows),
            "checkpoint_id": self.checkpoint_id,
            "files": {
                name: {"bytes": size, "crc32": f"{crc:08x}"}
                for name, (size, crc) in self.files.items()
            },
        }
        return canonical(seal(fields))


def write_record(logits_folder: Path, record: Record) -> None:
    path = record_path(logits_folder, record.epoch, record.chunk)
    make_folder(path.parent)
    write_whole(path, record.to_bytes())


def read_record(path: Path) -> Record:
    """The record in `path`; DamagedStore unless every byte is as it was written."""
    data = path.read_bytes()
    fields = unseal(parse(data, path), path)
    try:
        record = Record(
            view_id=fields["view_id"],
            epoch=fields["epoch"],
            chunk=fields["chunk"],
            rows=(fields["rows"][0], fields["rows"][1]),
            checkpoint_id=fields["checkpoint_id"],
            files={
                name: (entry["bytes"], int(entry["crc32"], 16))
                for name, entry in fields["files"].items()
            },
        )
    except (KeyError, IndexError, TypeError, ValueError):
        raise DamagedStore(f"{path}: not a completion record of format {FORMAT}") from None
    if record.to_bytes() != data:
        raise DamagedStore(f"{path}: its bytes are not those that were written")
    return record


def recorded_chunks(logits_folder: Path, epoch: int) -> frozenset[int]:
    """Chunks of `epoch` that have a record."""
    folder = record_path(logits_folder, epoch, 0).parent
    try:
        names = os.listdir(folder)  # noqa: PTH208 - the hot path of opening: names only, no Path each
    except FileNotFoundError:
        return frozenset()
    return frozenset(int(name[:-5]) for name in names if _is_number(name, ".json"))


def recorded_epochs(logits_folder: Path) -> tuple[int, ...]:
    """Epochs that have a folder of records, whole or not, ascending."""
    folder = logits_folder / RECORDS
    if not folder.is_dir():
        return ()
    return tuple(sorted(int(each.name) for each in folder.iterdir() if _is_number(each.name)))


def _is_number(name: str, suffix: str = "") -> bool:
    stem = name.removesuffix(suffix)
    return name.endswith(suffix) and stem.isascii() and stem.isdigit()


def join_crc32(first: int, second: int, second_bytes: int) -> int:
    """CRC-32 of two byte strings laid end to end, from their CRCs and the length of the second.

    Appending n zero bytes to a string multiplies its CRC, as a polynomial over GF(2), by
    x^(8n) modulo the CRC's polynomial (the method of zlib's `crc32_combine`); what the second
    string adds is its own CRC.
    """
    return _multiply(_power_of_x(8 * second_bytes), first) ^ second


@functools.lru_cache(maxsize=64)
def _power_of_x(exponent: int) -> int:
    power, square = 1 << 31, 1 << 30  # x^0 and x^1: the highest bit is the lowest power
    while exponent:
        if exponent & 1:
            power = _multiply(power, square)
        square = _multiply(square, square)
        exponent >>= 1
    return power


def _multiply(a: int, b: int) -> int:
    product = 0
    for place in range(31, -1, -1):
        if a >> place & 1:
            product ^= b
        b = b >> 1 ^ _CRC32_POLYNOMIAL if b & 1 else b >> 1
    return product
