"""A finished folder takes its place as a whole: killed at any moment, on a full disk, by a link."""

from __future__ import annotations

import errno
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.destination import replacing
from engine.errors import ArtefactError
from engine.records import write_bytes
from engine.report.publish import publish


def write_files(content: str, out: Path) -> None:
    """What an export does: files in a new folder, swapped in."""
    with replacing(out) as folder:
        for name in ("a", "deep/b", "manifest.json"):
            write_bytes(folder / name, content.encode())


def write_report(content: str, out: Path) -> None:
    """What a report does."""
    publish({"a": content.encode(), "deep/b": content.encode()}, {"kind": "report"}, out)


WRITERS = {"export": write_files, "report": write_report}


def killed_at(step: int, write: Callable[[str, Path], None], content: str, out: Path) -> bool:
    """Run a writer in a process that is killed at a system call of its files; False at the end."""
    child = os.fork()
    if child == 0:
        left = step

        def dying(call: Callable) -> Callable:
            def counted(*arguments: object, **options: object) -> object:
                nonlocal left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return call(*arguments, **options)

            return counted

        try:
            for name in ("open", "mkdir", "fsync", "rename", "replace", "rmdir", "unlink"):
                setattr(os, name, dying(getattr(os, name)))
            write(content, out)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status != 0


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("before", [None, "old"])
def test_killed_at_any_moment_the_old_folder_or_the_new_is_whole(
    tmp_path: Path, writer: str, before: str | None
) -> None:
    """Under its own name, or under one from which the next writer puts it back."""
    write = WRITERS[writer]
    wholes = {}
    for content in ("old", "new"):
        write(content, tmp_path / content)
        wholes[content] = content_of(tmp_path / content)
    step, seen = 0, set()
    while True:
        here = tmp_path / f"{step}"
        out = here / "out"
        here.mkdir()
        if before:
            write(before, out)
        killed = killed_at(step, write, "new", out)
        step += 1
        if not killed:
            break
        found = content_of(out) if out.exists() else None
        seen.add(next((name for name in wholes if wholes[name] == found), "none"))
        if found is None and before:
            (away,) = here.glob(".out.replaced-*")
            assert content_of(away) == wholes["old"]
        assert found is None or found in wholes.values()
        with pytest.raises(ZeroDivisionError), replacing(out):  # clears up, then fails
            raise ZeroDivisionError
        if before:
            assert content_of(out) in wholes.values()
        write("new", out)
        assert content_of(out) == wholes["new"]
        assert [each.name for each in here.iterdir()] == ["out"]
    assert content_of(out) == wholes["new"]
    assert seen == ({"old", "none", "new"} if before else {"none", "new"})
    assert step > 20


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        each.relative_to(folder).as_posix(): each.read_bytes()
        for each in folder.rglob("*")
        if each.is_file()
    }


def test_a_writer_that_still_runs_keeps_its_folder(tmp_path: Path) -> None:
    running = tmp_path / f".out.writing-{os.getppid()}"
    dead = tmp_path / f".out.writing-{2**22 + 1}"  # above the kernel's largest process id
    running.mkdir()
    dead.mkdir()
    write_files("new", tmp_path / "out")
    assert running.is_dir()
    assert not dead.exists()


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files("old", tmp_path / "out")

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(ArtefactError, match=r"No space left.*another --out"):
        write_files("new", tmp_path / "out")
    monkeypatch.undo()
    assert set(content_of(tmp_path / "out").values()) == {b"old"}
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_link_stays_one_and_leads_to_the_new_folder(tmp_path: Path) -> None:
    write_files("old", tmp_path / "disk" / "out")
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "out")
    write_files("new", tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert set(content_of(tmp_path / "disk" / "out").values()) == {b"new"}
    assert [each.name for each in (tmp_path / "disk").iterdir()] == ["out"]
