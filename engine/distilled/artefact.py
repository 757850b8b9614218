"""A distilled set that was exported: its folder, its manifest, and whether every byte is whole.

    OUT/data/train-…     images and labels, in parquet, tar or npz
    OUT/README.md        the card: how it was made, and how to load it
    OUT/manifest.json    identity and the SHA-256 of every other file

The folder is written beside its place and renamed into it, so there is a whole one or none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.destination import kind_of
from engine.errors import ArtefactError, DamageError
from engine.records import file_sha256, read_record

MANIFEST = "manifest.json"
CARD = "README.md"
KIND = "distilled"
ANEW = "export it anew: the same `engine export` command with --force"


def is_export(path: Path) -> bool:
    """Whether a folder says that it is a distilled set of ours, damaged or not."""
    return kind_of(path) == KIND


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
