"""Completion records: checksums that join, listings that are quick, bytes that are sealed."""

from __future__ import annotations

import time
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import labelstore
from labelstore.checksum import join_crc32
from labelstore.layout import epochs_text
from labelstore.records import (
    CodecError,
    Record,
    read_record,
    recorded_chunks,
    recorded_epochs,
    write_record,
)

RECORD = Record(
    folder_id="v",
    epoch=13,
    chunk=4,
    rows=(65_536, 81_920),
    checkpoint_id="c",
    files={"logits": (100, 0xDEADBEEF), "entropy": (4, 0)},
    error=CodecError(max_abs=0.25, kl_sum=12_345, kl_worst=1e-7, against="float32"),
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


@given(kl=st.lists(st.floats(0, 1e7), min_size=1, max_size=60), cut=st.integers(0, 60))
def test_errors_add_up_the_same_however_rows_are_divided(kl, cut):
    kl = np.array(kl)
    max_abs = np.sqrt(kl).astype(np.float32)
    parts = [
        CodecError.of_rows(max_abs[part], kl[part], "float32")
        for part in (slice(0, cut), slice(cut, None))
        if len(kl[part])
    ]
    whole = CodecError.of_rows(max_abs, kl, "float32")
    assert CodecError.joined(parts) == whole
    assert whole.summary(len(kl))["kl_worst"] == kl.max()
    if kl.max() < 1e6:
        expected = pytest.approx(kl.mean(), rel=1e-6, abs=1e-11)
        assert whole.summary(len(kl))["kl_mean"] == expected
