"""A distilled set that was exported: its folder, its manifest, and whether every byte is whole.

    OUT/data/train-…     images and labels, in parquet, tar or npz
    OUT/README.md        the card: how it was made, and how to load it
    OUT/manifest.json    identity and the SHA-256 of every other file

The folder is written beside its place and renamed into it, so there is a whole one or none.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.errors import ArtefactError, DamageError, UsageError
from engine.records import file_sha256, read_record, sync_folder

MANIFEST = "manifest.json"
CARD = "README.md"
KIND = "distilled"
ANEW = "export it anew: the same `engine export` command with --force"


def is_export(path: Path) -> bool:
    """Whether a folder says that it is a distilled set of ours, damaged or not."""
    try:
        return f'"kind": "{KIND}"'.encode() in (path / MANIFEST).read_bytes()
    except OSError:
        return False


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest of an export.

    Raises:
        ArtefactError: there is none.
        DamageError: its content does not match its checksum.
    """
    file = Path(path) / MANIFEST
    if not file.is_file():
        raise ArtefactError(
            f"expected a distilled set (a folder with {MANIFEST}), found none at {path}\n"
            f"write one: engine export --data DATA --labels STORE --ipc N --expert-epoch K "
            f"--out {path}"
        )
    manifest = read_record(file)
    if manifest.get("kind") != KIND:
        raise ArtefactError(
            f"expected a distilled set at {path}, found kind {manifest.get('kind')!r}"
        )
    return manifest


def distilled_info(path: str | Path) -> dict[str, Any]:
    """What an exported set is and how it was made. Raises as :func:`read_manifest`."""
    manifest = read_manifest(path)
    sizes = [(Path(path) / name).stat().st_size for name in _present(Path(path), manifest)]
    return {"path": str(path), **manifest, "files": sorted(manifest["files"]), "bytes": sum(sizes)}


def verify_distilled(path: str | Path, *, progress: Any = None) -> dict[str, Any]:
    """Compare every file of an export with its checksum.

    Returns ``{"ok", "checked", "problems"}``; a damaged manifest is a problem too.

    Raises:
        ArtefactError: no export lies there.
    """
    folder = Path(path)
    answer = {"kind": KIND, "path": str(path)}
    try:
        files = read_manifest(folder)["files"]
    except DamageError as error:
        return answer | {"ok": False, "checked": 1, "problems": [f"{error}; {ANEW}"]}
    problems = []
    for number, (name, checksum) in enumerate(files.items()):
        problem = _damage(folder / name, checksum)
        problems += [problem] if problem else []
        if progress:
            progress("verify", number + 1, len(files))
    return answer | {"ok": not problems, "checked": len(files) + 1, "problems": problems}


def require_whole(path: Path) -> dict[str, Any]:
    """The manifest of an export of which every byte is as it was written; raises DamageError."""
    manifest = read_manifest(path)
    for name, checksum in manifest["files"].items():
        problem = _damage(path / name, checksum)
        if problem:
            raise DamageError(problem)
    return manifest


def _damage(file: Path, checksum: str) -> str | None:
    if not file.is_file():
        return f"{file} is missing; {ANEW}"
    if file_sha256(file) != checksum:
        return f"{file} is damaged (its checksum differs); {ANEW}"
    return None


def _present(folder: Path, manifest: dict[str, Any]) -> list[str]:
    return [name for name in manifest["files"] if (folder / name).is_file()]


def check_destination(out: Path) -> None:
    """Raise UsageError if `out` holds something that an export must not replace."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(
            f"expected a folder or nothing at {out}, found a file or a link; choose another --out"
        )
    if out.is_dir() and any(out.iterdir()) and not is_export(out):
        raise UsageError(
            f"{out} exists and is no distilled set, and an export would replace what is in it; "
            "choose another --out"
        )


@contextlib.contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A new folder beside `out` that takes its place when the block ends well.

    Whatever a killed export left beside it is removed first. An OSError becomes ArtefactError.
    """
    writing = out.with_name(f".{out.name}.writing-{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(out)
        writing.mkdir()
        yield writing
        _swap(writing, out)
    except OSError as error:
        raise ArtefactError(
            f"{out} can't be written: {error.strerror or error}; nothing was left behind. Make "
            "room (or choose another --out) and run the same command again"
        ) from error
    finally:
        shutil.rmtree(writing, ignore_errors=True)


def _swap(new: Path, out: Path) -> None:
    for folder in (new, *(each for each in new.rglob("*") if each.is_dir())):
        sync_folder(folder)
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


def _remove_leftovers(out: Path) -> None:
    """Of exports that were killed; another one that still runs keeps its folder."""
    for left in list(out.parent.iterdir()):
        name, _, owner = left.name.rpartition("-")
        ours = name in (f".{out.name}.writing", f".{out.name}.replaced") and owner.isdigit()
        if not ours or (_is_running(int(owner)) and int(owner) != os.getpid()):
            continue
        if name.endswith(".replaced") and not out.exists():
            left.rename(out)  # killed between the two renames: the old one is still whole
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
