"""A report's files put in place at once, and checked afterwards.

The files are written to a folder beside the destination and synced, the manifest last; then the
folder takes the destination's place.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from engine import destination
from engine.errors import ArtefactError, DamageError
from engine.records import file_sha256, read_record, write_bytes, write_record

KIND = "report"
MANIFEST = "manifest.json"


def check_destination(out: Path) -> None:
    """Raise UsageError if `out` holds anything but a report, or a report with other files in it."""
    destination.check_destination(out, KIND, replaced=True)
    destination.check_replaceable(out)


def publish(files: Mapping[str, bytes], manifest: Mapping[str, Any], out: Path) -> None:
    """Write `files` (relative path → content) and the manifest, then swap them in at `out`.

    The manifest gains the SHA-256 of every file, and a checksum of itself.

    Raises:
        UsageError: something else lies at `out`, or in the report there.
        ArtefactError: the disk is full or read-only; nothing is left behind.
    """
    check_destination(out)
    with destination.replacing(out) as folder:
        for name, content in files.items():
            write_bytes(folder / name, content)
        hashes = {name: sha256(files[name]).hexdigest() for name in sorted(files)}
        write_record(folder / MANIFEST, {**manifest, "files": hashes})


def report_info(path: str | Path) -> dict[str, Any]:
    """The manifest of a report, without its checksum.

    Raises:
        ArtefactError: no report lies there.
        DamageError: the manifest's content does not match its checksum.
    """
    file = Path(path) / MANIFEST
    if not file.is_file():
        raise ArtefactError(
            f"expected a report (a folder with {MANIFEST}), found none at {path}\n"
            f"write one: engine report SWEEP --out {path}"
        )
    manifest = read_record(file)
    if manifest.get("kind") != KIND:
        raise ArtefactError(f"expected a report at {path}, found kind {manifest.get('kind')!r}")
    return manifest


def verify_report(path: str | Path) -> dict[str, Any]:
    """Compare every file of a report with its checksum.

    Returns {"ok": bool, "checked": files, "problems": [str]}; a damaged manifest is a problem too.

    Raises:
        ArtefactError: no report lies there.
    """
    folder = Path(path)
    try:
        files = report_info(folder)["files"]
    except DamageError as error:
        return {"ok": False, "checked": 1, "problems": [str(error)]}
    problems = []
    for name, checksum in files.items():
        file = folder / name
        if not file.is_file():
            problems.append(f"{file} is missing; write the report again")
        elif file_sha256(file) != checksum:
            problems.append(f"{file} is damaged (its checksum differs); write the report again")
    return {"ok": not problems, "checked": len(files) + 1, "problems": problems}
