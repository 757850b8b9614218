"""Where an artefact goes: what may lie there already, and how a finished folder takes its place.

Commands ask before they change anything at ``--out``: only nothing, or an artefact of the kind that
they make, may lie there, and ``--force`` does not change that. Artefacts that grow are written in
their folder; exports and reports are written beside it and replace it as a whole, unless somebody
put files of their own in it.
"""

from __future__ import annotations

import contextlib
import json
import operator
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from engine.errors import ArtefactError, DamageError, UsageError
from engine.records import CHECKSUM, file_sha256, is_unclaimed, read_record, sync_folder

KINDS = {
    "dataset": "a dataset",
    "distilled": "a distilled set",
    "evaluation": "an evaluation",
    "expert-run": "an expert run",
    "label-store": "a label store",
    "learned-labels": "learned labels",
    "report": "a report",
    "sweep": "a sweep",
}
"""Kinds of artefacts, by the name in their identity: what a sentence calls them."""
IDENTITIES = ("manifest.json", "sweep.json", "evaluation.json", "zarr.json")
NAMED_FILES = 3
_LISTED = re.compile(rb'"([^"\\]+)": "[0-9a-f]{64}"')
"""A file with its checksum, as the manifest of an artefact that is replaced lists it."""
_OF_DESKTOPS = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""What file managers leave in a folder that was looked at."""


def check_destination(
    out: Path,
    kind: str,
    *,
    records: str | None = None,
    derived: bool = False,
    replaced: bool = False,
) -> None:
    """Refuse a place where anything but an artefact of a kind lies, however damaged or unfinished.

    Args:
        out: where an artefact shall be written; nothing is touched.
        kind: of ``KINDS``.
        records: glob of further records of such an artefact. Where its identity is too damaged to
            say its kind, a whole one of them does.
        derived: the identity can be made anew from those records, so it may be missing, too.
        replaced: what lies there will go as a whole, so not even a lock may lie in an empty folder.

    Raises:
        UsageError: says what lies there.
    """
    if is_unclaimed(out) and not (replaced and out.is_dir() and any(out.iterdir())):
        return
    said = kind_of(out)
    if said is None and records and (_is_damaged(out) or (derived and not _has_identity(out))):
        said = kind if _has_whole(out, records) else None
    if said != kind:
        raise foreign_folder(out, KINDS[kind])


def check_replaceable(out: Path) -> None:
    """Refuse to replace an artefact as a whole that has files in it which it does not list.

    A manifest that is damaged in one place lists all of its files still.

    Raises:
        UsageError: names them.
    """
    if kind_of(out) is not None and (others := _unlisted(out)):
        raise UsageError(
            f"expected nothing but its own files in {out}, which is replaced as a whole, found "
            f"other files ({_in_short(others)}); move them away, or choose another --out"
        )


def _unlisted(folder: Path) -> list[str]:
    """Files of a folder that its manifest does not list."""
    manifest = folder / "manifest.json"
    files = (each for each in folder.rglob("*") if each.is_symlink() or not each.is_dir())
    found = {each.relative_to(folder).as_posix() for each in files if each.name not in _OF_DESKTOPS}
    try:
        listed = set(read_record(manifest)["files"])
    except DamageError:
        listed = _listed(manifest.read_bytes(), folder, sorted(found))
    return sorted(found - listed - {manifest.name})


def _listed(damaged: bytes, folder: Path, names: Iterable[str]) -> set[str]:
    """Files that a damaged manifest has a line for, each of its lines for one.

    First come files as they are now, on a line of which at most one byte changed, then those that
    are named in what is left: damage could put the name of somebody's own file in place of ours.
    """
    listed = set()
    for name in names:
        if (folder / name).is_file():
            line = os.fsencode(f'"{name}": "{file_sha256(folder / name)}"')
            if (start := _almost_at(line, damaged)) is not None:
                listed.add(name)
                damaged = damaged[:start] + damaged[start + len(line) :]
    return listed | {os.fsdecode(name) for name in _LISTED.findall(damaged)}


def _almost_at(line: bytes, text: bytes) -> int | None:
    """Where a line is in a text with at most one byte changed, and so with one of its halves."""
    middle = len(line) // 2
    starts = [found.start() for found in re.finditer(re.escape(line[:middle]), text)]
    starts += [found.start() - middle for found in re.finditer(re.escape(line[middle:]), text)]
    for start in starts:
        there = text[max(start, 0) :][: len(line)]
        if sum(map(operator.ne, there, line)) <= 1:
            return start
    return None


def foreign_folder(out: Path, expected: str) -> UsageError:
    """The refusal to write something that is ``expected`` where something else lies."""
    return UsageError(
        f"expected {expected} or an empty place at {out}, found {_what_lies_at(out)}; choose "
        "another --out"
    )


def kind_of(folder: Path) -> str | None:
    """The kind that a folder says it is of, a key of ``KINDS``; None where it says none of them."""
    return next((kind for kind in kinds_said(folder) if kind in KINDS), None)


def kinds_said(folder: Path) -> list[str]:
    """What each identity there says that the folder is, of ``KINDS`` or not."""
    found = []
    for name in IDENTITIES:
        with contextlib.suppress(OSError):
            found.append(_said_kind((folder / name).read_bytes()))
    return [kind for kind in found if kind is not None]


def _said_kind(identity: bytes) -> str | None:
    try:
        content = json.loads(identity)
        kind = content.get("attributes", content).get("kind")  # a Zarr group says it there
    except (ValueError, AttributeError, RecursionError):
        # Damaged, but perhaps elsewhere: one blank before its name, as records are written.
        found = re.search(rb'^ "kind": "([a-z-]+)"', identity, re.MULTILINE)
        kind = found and found[1].decode()
    return kind if isinstance(kind, str) else None


def _has_identity(folder: Path) -> bool:
    return any((folder / name).exists() for name in IDENTITIES)


def _is_damaged(folder: Path) -> bool:
    """Whether an identity there may have been one of ours: not the whole JSON of somebody else."""
    for name in IDENTITIES:
        try:
            content = json.loads((folder / name).read_bytes())
        except OSError:
            continue
        except (ValueError, RecursionError):
            return True
        if isinstance(content, dict) and CHECKSUM in content:
            return True
    return False


def _has_whole(folder: Path, records: str) -> bool:
    for file in folder.glob(records):
        with contextlib.suppress(ArtefactError):
            read_record(file)
            return True
    return False


def _what_lies_at(out: Path) -> str:
    if not out.is_dir():
        return "a file"
    kind = kind_of(out)
    if kind is not None:
        return KINDS[kind]
    return f"other files ({_in_short(sorted(each.name for each in out.iterdir()))})"


def _in_short(names: Sequence[str]) -> str:
    more = len(names) - NAMED_FILES
    return ", ".join([*names[:NAMED_FILES], *([f"{more} more"] if more > 0 else [])])


@contextlib.contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A new folder beside `out` that takes its place as a whole when the block ends well.

    A reader sees the old folder, none for the moment between two renames, or the new one; never
    half of one. Whatever a killed writer left beside it is removed first, and an old folder that it
    had moved away is put back.

    Raises:
        ArtefactError: the disk is full or read-only; the old folder is as it was.
    """
    out = out.resolve()  # what a link leads to, so that the link stays one
    writing = out.with_name(f".{out.name}.writing-{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(out)
        writing.mkdir()
        yield writing
        _swap(writing, out)
    except OSError as error:
        raise ArtefactError(
            f"{out} can't be written: {error.strerror or error}. What lay there is kept; make room "
            "(or choose another --out) and run the same command again"
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


def _clear_leftovers(out: Path) -> None:
    """Of writers that were killed; another one that still runs keeps its folder."""
    for left in list(out.parent.iterdir()):
        name, _, owner = left.name.rpartition("-")
        ours = name in (f".{out.name}.writing", f".{out.name}.replaced") and owner.isdigit()
        if not ours or (_is_running(int(owner)) and int(owner) != os.getpid()):
            continue
        if name.endswith(".replaced") and not out.exists():
            left.rename(out)  # killed between the two renames: the old one is still whole
        else:
            shutil.rmtree(left, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
