"""A report's files put in place at once, and checked afterwards.

The files are written to a folder beside the destination and synced, the manifest last; then the
folder takes the destination's place by renaming. A reader sees the old report, none for the moment
between two renames, or the new one; never half of one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from engine.errors import ArtefactError, DamageError, UsageError
from engine.records import file_sha256, read_record, sync_folder, write_bytes, write_record

MANIFEST = "manifest.json"


def check_destination(out: Path) -> None:
    """Raise UsageError if `out` holds something that a report must not replace.

    A folder is taken for an earlier report if its manifest says so, damaged or not.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(
            f"expected a folder or nothing at {out}, found a file or a link\nchoose another --out"
        )
    if not out.is_dir() or not any(out.iterdir()):
        return
    try:
        is_report = b'"kind": "report"' in (out / MANIFEST).read_bytes()
    except OSError:
        is_report = False
    if not is_report:
        raise UsageError(
            f"expected an earlier report or an empty place at {out}, found other files, which a "
            "report would replace\nchoose another --out"
        )


def publish(files: Mapping[str, bytes], manifest: Mapping[str, Any], out: Path) -> None:
    """Write `files` (relative path → content) and the manifest, then swap them in at `out`.

    The manifest gains the SHA-256 of every file, and a checksum of itself.

    Raises:
        UsageError: something else lies at `out`.
        ArtefactError: the disk is full or read-only; nothing is left behind.
    """
    check_destination(out)
    writing = out.with_name(f".{out.name}.writing-{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(out)
        for name, content in files.items():
            write_bytes(writing / name, content)
        hashes = {name: sha256(files[name]).hexdigest() for name in sorted(files)}
        write_record(writing / MANIFEST, {**manifest, "files": hashes})
        _swap(writing, out)
    except OSError as error:
        raise ArtefactError(
            f"the report can't be put at {out}: {error.strerror}; nothing was left behind\n"
            "make room or choose another --out, and run the same command again"
        ) from error
    finally:
        shutil.rmtree(writing, ignore_errors=True)


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
    if manifest.get("kind") != "report":
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


def _swap(new: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.replaced-{os.getpid()}")
    had_one = out.exists()
    if had_one:
        out.rename(old)
    try:
        new.rename(out)
    except OSError:
        if had_one:
            old.rename(out)
        raise
    sync_folder(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _clear_leftovers(out: Path) -> None:
    """Remove what a killed writer left; another writer that still runs keeps its folder."""
    for left in list(out.parent.iterdir()):
        name, _, owner = left.name.rpartition("-")
        if name not in (f".{out.name}.writing", f".{out.name}.replaced") or not owner.isdigit():
            continue
        if _is_running(int(owner)) and int(owner) != os.getpid():
            continue
        if name.endswith(".replaced") and not out.exists():
            # Killed between the two renames: the old report is still whole.
            left.rename(out)
        else:
            shutil.rmtree(left)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
