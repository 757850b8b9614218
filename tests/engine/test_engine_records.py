"""Records: whole or absent, and every flipped byte is found."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ArtefactError, DamageError
from engine.records import content_id, read_record, write_record

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
