"""Completion records: checksums that join, listings that are quick, bytes that are sealed."""

from __future__ import annotations

import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import labelstore
from labelstore.layout import epochs_text
from labelstore.records import (
    Record,
    join_crc32,
    read_record,
    recorded_chunks,
    recorded_epochs,
    write_record,
)

RECORD = Record(
    view_id="v",
    epoch=13,
    chunk=4,
    rows=(65_536, 81_920),
    checkpoint_id="c",
    files={"logits": (100, 0xDEADBEEF), "entropy": (4, 0)},
)


@given(first=st.binary(max_size=300), second=st.binary(max_size=300))
def test_a_joined_crc32_is_that_of_the_joined_bytes(first, second):
    joined = join_crc32(zlib.crc32(first), zlib.crc32(second), len(second))
    assert joined == zlib.crc32(first + second)


def test_a_record_reads_as_it_was_written(tmp_path):
    write_record(tmp_path, RECORD)
    assert read_record(tmp_path / ".complete/0013/00004.json") == RECORD
    assert recorded_chunks(tmp_path, 13) == {4}
    assert recorded_epochs(tmp_path) == (13,)
    assert recorded_chunks(tmp_path, 12) == frozenset()


def test_only_whole_records_are_listed(tmp_path):
    write_record(tmp_path, RECORD)
    (tmp_path / ".complete/0013/00005.json.tmp").touch()
    (tmp_path / ".complete/0013/x.json").touch()
    assert recorded_chunks(tmp_path, 13) == {4}


@pytest.mark.parametrize("change", [(b"13", b"14"), (b"\n}", b" }"), (b": ", b":")])
def test_a_changed_record_is_refused(tmp_path, change):
    write_record(tmp_path, RECORD)
    path = tmp_path / ".complete/0013/00004.json"
    path.write_bytes(path.read_bytes().replace(*change))
    with pytest.raises(labelstore.DamagedStore):
        read_record(path)


def test_the_records_of_60_epochs_of_imagenet_are_listed_in_a_moment(tmp_path):
    for epoch in range(60):
        folder = tmp_path / ".complete" / f"{epoch:04d}"
        folder.mkdir(parents=True)
        for chunk in range(79):
            (folder / f"{chunk:05d}.json").touch()
    started = time.perf_counter()
    listed = sum(len(recorded_chunks(tmp_path, epoch)) for epoch in recorded_epochs(tmp_path))
    assert listed == 60 * 79
    assert time.perf_counter() - started < 0.5  # 4 ms on an idle machine


def test_epochs_are_shown_as_runs():
    assert epochs_text([]) == "none"
    assert epochs_text([4, 0, 1, 2, 9, 9]) == "0-2,4,9"
