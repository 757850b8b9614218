"""Folders that are full, read-only or forgetful."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine import records
from engine.doctor import storage
from engine.doctor.finding import Asked
from engine.doctor.storage import (
    Use,
    check_compile_cache,
    check_download_cache,
    check_out_folder,
    check_temporary_folder,
    judge_space,
)
from engine.training.compiler import compile_cache, nearest_folder

ANY = Asked()
UNWRITABLE = Path("/proc/nowhere")
MUST, MAY = (Use(roomy=10**9, elsewhere="elsewhere", must_serve=must) for must in (True, False))


@pytest.fixture
def disk(monkeypatch):
    """`disk(free, inodes=…)`: as if every disk had so many bytes and files left."""

    def pretend(free, inodes=10**6, files=10**7):
        facts = SimpleNamespace(f_bavail=free, f_frsize=1, f_files=files, f_favail=inodes)
        monkeypatch.setattr(os, "statvfs", lambda _: facts)

    return pretend


@pytest.mark.parametrize(("use", "status"), [(MUST, "problem"), (MAY, "warning")])
def test_a_folder_that_cannot_be_written(use, status):
    found = judge_space(UNWRITABLE, use)
    assert (found.status, found.next) == (status, "elsewhere")
    assert "/proc/nowhere can't be written" in found.found


@pytest.mark.parametrize(("use", "status"), [(MUST, "problem"), (MAY, "warning")])
def test_a_full_disk(disk, tmp_path, use, status):
    disk(10**6)
    found = judge_space(tmp_path, use)
    assert found.status == status
    assert found.found == f"{tmp_path}: 1 MB free, the disk is full"


def test_a_small_disk_is_a_warning_even_where_it_must_serve(disk, tmp_path):
    disk(500 * 10**6)
    found = judge_space(tmp_path, MUST)
    assert found.status == "warning"
    assert "500 MB free, 1.0 GB would be comfortable" in found.found


def test_a_disk_without_room_for_another_file(disk, tmp_path):
    disk(10**12, inodes=3)
    assert judge_space(tmp_path, MUST).status == "problem"
    disk(10**12, inodes=0, files=0)  # btrfs and others count none
    assert judge_space(tmp_path, MUST).status == "ok"


def test_free_space_is_the_kernels(tmp_path):
    found = judge_space(tmp_path, Use(roomy=0, elsewhere="", must_serve=False))
    free = os.statvfs(tmp_path)
    gigabytes = float(found.found.rpartition(": ")[2].split(" GB")[0].replace(",", ""))
    assert gigabytes == pytest.approx(free.f_bavail * free.f_frsize / 1e9, rel=0.05)


def test_a_folder_still_to_be_made_is_judged_by_the_one_above(tmp_path):
    assert nearest_folder(tmp_path / "a" / "b") == tmp_path
    assert judge_space(tmp_path / "a" / "b", MUST).status == "ok"
    assert not (tmp_path / "a").exists()


def test_results_have_a_durable_place_and_the_probe_leaves_nothing(tmp_path):
    found = check_out_folder(Asked(out=tmp_path / "sweep"))
    assert found.status in ("ok", "warning")  # a busy machine may sync slowly
    assert "a record is durable after" in found.found
    assert not list(tmp_path.iterdir())


def test_the_working_folder_stands_in_and_need_not_serve(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path) in check_out_folder(ANY).found
    monkeypatch.chdir("/proc")
    assert check_out_folder(ANY).status == "warning"
    assert check_out_folder(Asked(out=UNWRITABLE)).status == "problem"


def test_a_file_in_the_place_of_the_folder_is_a_problem(tmp_path):
    (tmp_path / "out").touch()
    found = check_out_folder(Asked(out=tmp_path / "out"))
    assert found.status == "problem"
    assert "is no folder" in found.found


@pytest.mark.parametrize(
    ("module", "name"), [(os, "fsync"), (storage.fcntl, "flock"), (storage.mmap, "mmap")]
)
def test_a_file_system_that_cannot_sync_lock_or_map_is_a_problem(
    monkeypatch, tmp_path, module, name
):
    def refused(*_, **__):
        raise OSError(errno.ENOLCK, "the file system says no")

    monkeypatch.setattr(module, name, refused)
    found = check_out_folder(Asked(out=tmp_path))
    assert found.status == "problem"
    assert not list(tmp_path.iterdir())


def test_a_rename_that_shows_the_old_content_is_a_problem(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "read_record", lambda path: {"number": -1})
    found = check_out_folder(Asked(out=tmp_path))
    assert found.status == "problem"
    assert "old record" in found.found


def test_a_slow_disk_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setattr(storage, "seconds_a_record", lambda folder: 0.4)
    found = check_out_folder(Asked(out=tmp_path))
    assert found.status == "warning"
    assert "400.0 ms" in found.found


def test_a_temporary_folder_that_python_passed_over_is_a_warning(monkeypatch):
    monkeypatch.setenv("TMPDIR", str(UNWRITABLE))
    found = check_temporary_folder(ANY)
    assert (found.status, found.next) == ("warning", "export TMPDIR=FOLDER")
    assert f"TMPDIR names {UNWRITABLE}" in found.found
    monkeypatch.setenv("TMPDIR", tempfile.gettempdir())
    assert "TMPDIR" not in check_temporary_folder(ANY).found


def test_the_temporary_folder_has_to_serve(monkeypatch):
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(UNWRITABLE))
    found = check_temporary_folder(ANY)
    assert (found.status, found.next) == ("problem", "export TMPDIR=FOLDER")


def test_the_compile_cache_has_to_serve_where_there_is_a_compiler(monkeypatch):
    from engine.training import precision

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(UNWRITABLE))
    monkeypatch.setattr(precision, "can_compile", lambda: True)
    found = check_compile_cache(ANY)
    assert (found.status, found.next) == ("problem", "export TORCHINDUCTOR_CACHE_DIR=FOLDER")
    monkeypatch.setattr(precision, "can_compile", lambda: False)
    assert check_compile_cache(ANY).status == "warning"


def test_the_compile_cache_is_where_torch_says(monkeypatch):
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    assert str(compile_cache()) == default_cache_dir()
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ


def test_the_download_cache_may_fail(monkeypatch):
    monkeypatch.setenv("ENGINE_CACHE", str(UNWRITABLE))
    found = check_download_cache(ANY)
    assert (found.status, found.next) == ("warning", "export ENGINE_CACHE=FOLDER")
