"""Records: whole or absent, every flipped byte found, and nobody else's unfinished file removed."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.errors import ArtefactError, DamageError, UsageError
from engine.records import (
    content_id,
    read_record,
    remove_partials,
    sole_writer,
    write_record,
)

CONTENT = {"kind": "trial", "numbers": [1, 2.5, None], "text": "ü\n", "nested": {"b": 1, "a": 2}}


def test_a_record_reads_back_as_written(tmp_path: Path) -> None:
    write_record(tmp_path / "deep" / "r.json", CONTENT)
    assert read_record(tmp_path / "deep" / "r.json") == CONTENT
    assert [f.name for f in (tmp_path / "deep").iterdir()] == ["r.json"]


@given(st.data())
def test_every_flipped_bit_is_found(tmp_path_factory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("record") / "r.json"
    write_record(path, CONTENT)
    whole = bytearray(path.read_bytes())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(whole))
    with pytest.raises(DamageError, match="checksum"):
        read_record(path)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there_and_nothing_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    old = tmp_path / "old.json"
    write_record(old, {"a": 1})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
    for path in (old, tmp_path / "new" / "deep" / "r.json"):
        with pytest.raises(ArtefactError, match=r"No space left.*make room"):
            write_record(path, {"a": 2})
    monkeypatch.undo()
    assert read_record(old) == {"a": 1}
    assert [f.name for f in tmp_path.iterdir()] == ["old.json"]


def test_ids_do_not_depend_on_the_order_of_keys() -> None:
    assert content_id({"a": 1, "b": 2}) == content_id({"b": 2, "a": 1}) != content_id({"a": 1})


WRITER = """
import os, sys, time
from pathlib import Path
import engine.records as records

def slowly(handle):
    print(os.getpid(), flush=True)
    time.sleep(600)

records.os.fsync = slowly
records.write_bytes(Path(sys.argv[1]), b"half of it")
"""


@contextlib.contextmanager
def half_written(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is writing a file, until it is killed with -9 when the block ends."""
    checkout = str(Path(engine.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": checkout},
    )
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def partials(folder: Path) -> list[str]:
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob(".*.partial"))


def test_what_another_process_is_writing_is_left_alone_and_goes_once_it_was_killed(
    tmp_path: Path,
) -> None:
    with half_written(tmp_path / "answers.csv"):
        (there,) = partials(tmp_path)
        for _ in range(2):
            with sole_writer(tmp_path):
                assert partials(tmp_path) == [there]
    assert partials(tmp_path) == [there]
    with sole_writer(tmp_path):
        assert not partials(tmp_path)
    assert not (tmp_path / "answers.csv").exists()


def test_only_the_writer_of_a_folder_clears_what_was_left_in_it(tmp_path: Path) -> None:
    """A run inside a reproduction's folder has a lock of its own, held or not."""
    run = tmp_path / "my-run"
    for folder in (tmp_path, tmp_path / "learned", run, run / "checkpoints"):
        folder.mkdir(exist_ok=True)
        (folder / ".epoch.json.x1.partial").write_text("{")
    (run / ".lock").touch()
    with sole_writer(tmp_path):
        assert {name.partition("/")[0] for name in partials(tmp_path)} == {"my-run"}
        assert len(partials(run)) == 2
    with sole_writer(run):
        assert not partials(tmp_path)


def test_a_writer_whose_partial_file_is_swept_away_at_once_begins_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removed between its making and its lock, which no caller may see."""
    made = []

    def swept(*arguments: Any, **options: Any) -> tuple[int, str]:
        handle, name = mkstemp(*arguments, **options)
        made.append(name)
        if len(made) < 3:
            remove_partials(tmp_path)
        return handle, name

    mkstemp = tempfile.mkstemp
    monkeypatch.setattr(tempfile, "mkstemp", swept)
    write_record(tmp_path / "r.json", CONTENT)
    assert len(made) == 3
    assert read_record(tmp_path / "r.json") == CONTENT
    assert [each.name for each in tmp_path.iterdir()] == ["r.json"]


def test_a_sweeper_beside_many_writers_loses_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        writing = [
            pool.submit(write_record, tmp_path / f"{number}.json", {"number": number})
            for number in range(200)
        ]
        while not all(each.done() for each in writing):
            remove_partials(tmp_path)
    for number, each in enumerate(writing):
        each.result()
        assert read_record(tmp_path / f"{number}.json") == {"number": number}
    assert not partials(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(_file: object, _how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("engine.records.fcntl.flock", refuse)
    with sole_writer(tmp_path):
        write_record(tmp_path / "record.json", {"a": 1})
    assert read_record(tmp_path / "record.json") == {"a": 1}


def test_a_lock_that_another_process_holds_is_waited_for(tmp_path: Path) -> None:
    refused = pytest.raises(UsageError, match="another process is writing")
    with sole_writer(tmp_path), refused, sole_writer(tmp_path):
        pass
