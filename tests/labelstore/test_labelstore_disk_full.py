"""A full disk ends in a message that names the path and the bytes, and in a store that resumes."""

from __future__ import annotations

import errno
import os
import subprocess

import labelstore_cases as cases
import pytest

import labelstore


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "labels.zarr"
    cases.filled(path)
    return cases.bytes_of(path)


def fail_at_call(monkeypatch, name: str, number: int):
    """Makes the `number`-th call of `os.name` run out of space."""
    call, counted = getattr(os, name), iter(range(1, 1_000_000))

    def full(*arguments):
        if next(counted) == number:
            raise OSError(errno.ENOSPC, "No space left on device")
        return call(*arguments)

    monkeypatch.setattr(os, name, full)


@pytest.mark.parametrize(
    ("call", "number"),
    [(call, n) for call in ("pwrite", "posix_fallocate", "fsync") for n in (1, 2, 5, 9, 14, 20, 27)]
    + [("mkdir", n) for n in (1, 3, 6, 8)],
)
def test_a_full_disk_at_any_step_names_the_path_and_resumes(
    whole, tmp_path, monkeypatch, call, number
):
    with monkeypatch.context() as patch:
        fail_at_call(patch, call, number)
        with pytest.raises(labelstore.StoreFull, match=r"no space for .* it resumes") as full:
            cases.filled(tmp_path / "labels.zarr")
    assert str(tmp_path) in str(full.value)
    cases.filled(tmp_path / "labels.zarr")
    assert cases.bytes_of(tmp_path / "labels.zarr") == whole


def test_short_writes_are_continued(whole, tmp_path, monkeypatch):
    pwrite = os.pwrite
    monkeypatch.setattr(
        os, "pwrite", lambda fd, data, at: pwrite(fd, data[: 1 + len(data) // 2], at)
    )
    cases.filled(tmp_path / "labels.zarr")
    assert cases.bytes_of(tmp_path / "labels.zarr") == whole


def test_space_is_reserved_for_all_epochs_of_a_chunk_or_given_back(tmp_path, monkeypatch):
    view = cases.new_view(tmp_path / "labels.zarr")
    with monkeypatch.context() as patch:
        fail_at_call(patch, "posix_fallocate", 8)  # in the third of three epochs
        with pytest.raises(labelstore.StoreFull) as full:
            cases.fill(view)
    one_chunk = cases.CHUNK_ROWS * (cases.NUM_CLASSES * 2 + 4 + 4)
    assert f"no space for {one_chunk:,} bytes" in str(full.value)
    assert not [each for each in cases.bytes_of(tmp_path) if each.endswith(".partial")]


def test_a_file_system_that_cannot_reserve_space_is_written_all_the_same(
    whole, tmp_path, monkeypatch
):
    def unsupported(*_arguments):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    cases.filled(tmp_path / "labels.zarr")
    assert cases.bytes_of(tmp_path / "labels.zarr") == whole


@pytest.mark.long
def test_a_small_file_system_fills_up_and_the_dump_resumes_when_there_is_room(whole, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root; the disk is filled by patches above")
    try:
        with pytest.raises(labelstore.StoreFull, match="no space for"):
            cases.filled(disk / "labels.zarr")
        problems = labelstore.verify_store(disk / "labels.zarr")["problems"]
        assert all("are not complete" in each for each in problems)
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        cases.filled(disk / "labels.zarr")
        assert cases.bytes_of(disk / "labels.zarr") == whole
    finally:
        subprocess.run(["umount", str(disk)], check=True)
