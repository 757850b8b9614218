"""Dumps by two ranks, killed everywhere and on a full disk: each resumes to the same bytes.

Kill points are spread over what a dump shows of itself from outside: before its store exists,
between the first lines of its journals, and at every few of its completion records.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import beton_builder
import engine
import labelstore
from tests.engine.labelling.test_labelling_dump import tree

KILLS = 40
CHUNK_ROWS = 8  # 120 samples: 15 chunks, so that each of two ranks has several
DUMP = "import engine, sys; engine.dump_labels(*sys.argv[1:], processes=2)"


def new_store(data: Path, path: Path) -> Path:
    dataset = beton_builder.open_dataset(data)
    labelstore.create_store(
        path,
        dataset_id=dataset.id,
        classes=dataset.classes,
        num_samples=dataset.split("train").num_samples,
        chunk_rows=CHUNK_ROWS,
    )
    return path


def start_dump(data: Path, run: Path, store: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DUMP, str(data), str(run), str(store)]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)


def steps_done(store: Path) -> int:
    """What a dump has left on disk so far: groups, journals' lines and records."""
    steps = 0
    for folder, _, names in os.walk(store):  # which minds no folder that goes meanwhile
        for name in names:
            if name.endswith(".journal"):
                with contextlib.suppress(FileNotFoundError):  # its chunk became whole just now
                    steps += Path(folder, name).read_bytes().count(b"\n")
            steps += name.endswith(".json")
    return steps


def wait_until_gone(group: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    raise AssertionError(f"processes of group {group} outlive the dump they belong to")


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def whole(
    small_data: Path, small_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], int]:
    """An undisturbed dump's files, and how many steps lead to them."""
    store = new_store(small_data, tmp_path_factory.mktemp("whole") / "labels.zarr")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_EAGER", "1")
        engine.dump_labels(small_data, small_run, store)
    return tree(store), steps_done(store)


@pytest.mark.long
@pytest.mark.parametrize("victim", ["everything", "one rank", "the parent", "rank, then parent"])
def test_forty_kills_spread_over_a_dump_by_two_ranks_lose_nothing(
    small_data: Path,
    small_run: Path,
    whole: tuple[dict[str, bytes], int],
    tmp_path: Path,
    victim: str,
) -> None:
    expected, all_steps = whole
    number = KILLS // 4
    for kill in range(number):
        store = new_store(small_data, tmp_path / f"{kill}.zarr")
        at_step = steps_done(store) + kill * (all_steps - 5) // number
        dump = start_dump(small_data, small_run, store)
        while dump.poll() is None and steps_done(store) < at_step:
            time.sleep(0.001)
        if dump.poll() is None:
            ranks = [] if victim in ("everything", "the parent") else children_of(dump.pid)
            for rank in ranks[-1:]:
                os.kill(rank, signal.SIGKILL)
            if victim == "everything":
                os.killpg(dump.pid, signal.SIGKILL)
            elif victim != "one rank" or not ranks:
                dump.kill()
        message = dump.communicate(timeout=60)[1]
        wait_until_gone(dump.pid)
        if victim == "one rank" and dump.returncode > 0:
            assert "rank" in message.lower()
        engine.dump_labels(small_data, small_run, store)
        assert tree(store) == expected, f"killed at step {at_step} of {all_steps}"
        shutil.rmtree(store)


@pytest.mark.long
def test_two_ranks_on_a_full_disk_say_so_and_resume_when_there_is_room(
    small_data: Path, small_run: Path, whole: tuple[dict[str, bytes], int], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    # Every file takes a page of 4 KiB; a whole store has about 260 of them.
    mount = ["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        store = new_store(small_data, disk / "labels.zarr")
        dump = start_dump(small_data, small_run, store)
        message = dump.communicate(timeout=120)[1]
        assert dump.returncode != 0
        assert "no space for" in message
        assert "it resumes" in message
        wait_until_gone(dump.pid)
        problems = labelstore.verify_store(store)["problems"]
        assert all("are not complete" in each for each in problems)
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        engine.dump_labels(small_data, small_run, store, processes=2)
        assert tree(store) == whole[0]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.long
def test_a_reader_beside_two_writing_ranks_sees_whole_rows_or_none(
    small_data: Path, small_run: Path, small_store: Path, tmp_path: Path
) -> None:
    expected = labelstore.open_store(small_store).view()
    store = new_store(small_data, tmp_path / "labels.zarr")
    dump = start_dump(small_data, small_run, store)
    seen: set[int] = set()
    while dump.poll() is None:
        if not labelstore.open_store(store).views():
            continue
        view = labelstore.open_store(store).view()
        for epoch in range(4):
            for row in range(0, 120, CHUNK_ROWS):
                try:
                    logits = view.read(epoch, range(row, row + CHUNK_ROWS))
                except labelstore.EpochNotDumped:
                    continue
                seen.add(epoch * 120 + row)
                assert (logits == expected.read(epoch, range(row, row + CHUNK_ROWS))).all()
    assert dump.returncode == 0
    assert seen
