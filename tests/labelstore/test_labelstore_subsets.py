"""Materialised subsets: the values of the store, made once, whole or absent, every byte checked."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import labelstore_cases as cases
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

import labelstore

CHILD = Path(__file__).with_name("labelstore_subsets_child.py")
ROWS = [7, 4_999, 7, 0]


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    return cases.filled(tmp_path_factory.mktemp("store") / "labels.zarr")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("subsets")


def oracle(epochs, rows):
    shape = (len(epochs), len(rows), cases.NUM_CLASSES)
    found = [cases.logits_of(epoch)[list(rows)].astype(np.float16) for epoch in epochs]
    return np.array(found, np.float16).reshape(shape)


def files_of(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@given(
    st.lists(st.sampled_from(cases.EPOCHS), max_size=5),
    st.lists(st.integers(0, cases.NUM_SAMPLES - 1), max_size=30),
)
def test_any_epochs_and_rows_in_any_order_are_those_of_the_store(view, folder, epochs, rows):
    values = labelstore.materialise(view, epochs, rows, folder)
    assert np.array_equal(values, oracle(epochs, rows))
    before = files_of(folder)
    again = labelstore.materialise(view, epochs, np.array(rows, np.int32), folder)
    assert np.array_equal(again, values)
    assert files_of(folder) == before


def test_it_is_a_plain_npy_file_mapped_read_only_beside_the_store(view):
    values = labelstore.materialise(view, [4, 0], ROWS)
    assert isinstance(values, np.memmap)
    assert values.dtype == np.float16
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 0
    path = Path(values.filename)
    assert path.parent == view.folder.parents[1].with_name("labels.zarr.subsets")
    assert np.array_equal(np.load(path), oracle([4, 0], ROWS))
    assert labelstore.verify_subsets(path.parent) == {"ok": True, "checked": 2, "problems": []}
    assert [name for name, _ in zarr.open_group(view.folder.parents[1]).groups()] == ["expert-a"]


def test_a_range_and_a_list_of_the_same_rows_are_one_file(view, tmp_path):
    for rows in (range(3, 9), slice(3, 9), list(range(3, 9))):
        values = labelstore.materialise(view, [1], rows, tmp_path)
        assert np.array_equal(values, oracle([1], range(3, 9)))
    assert len(files_of(tmp_path)) == 2


def test_whatever_changes_the_values_changes_the_name(view, tmp_path):
    other_run = cases.new_view(tmp_path / "a.zarr")
    with other_run.writer([1], {1: "another checkpoint"}) as writer:
        for start, stop, _ in writer.missing_blocks():
            writer.write(1, start, cases.logits_of(0)[start:stop], cases.LABELS[start:stop])
    coded = cases.filled(tmp_path / "b.zarr", (1,), codec="quantised:8")
    for of, epochs, rows in [
        (view, [1], [1, 2]),
        (view, [1], [2, 1]),
        (view, [1], [1, 2, 2]),
        (view, [0], [1, 2]),
        (view, [0, 1], [1, 2]),
        (view, [1, 0], [1, 2]),
        (other_run, [1], [1, 2]),
        (coded, [1], [1, 2]),
    ]:
        values = labelstore.materialise(of, epochs, rows, tmp_path / "subsets")
        assert np.array_equal(values, of.read(epochs, rows))
    assert len(list((tmp_path / "subsets").glob("*.npy"))) == 8


def test_crops_keep_their_axis(tmp_path):
    store = labelstore.create_store(
        tmp_path / "labels.zarr", dataset_id="d", classes=[*"abc"], num_samples=9
    )
    view = store.add_view("e", "crop-2", identity={}, crops=2)
    logits = np.arange(54, dtype=np.float32).reshape(9, 2, 3)
    with view.writer([0], {0: "c"}) as writer:
        for start, stop, _ in writer.missing_blocks():
            boxes = np.zeros((stop - start, 2, 5), np.uint16)
            writer.write(0, start, logits[start:stop], np.zeros(stop - start, int), boxes)
    assert np.array_equal(labelstore.materialise(view, [0, 0], [8, 1]), [logits[[8, 1]]] * 2)


def test_a_subset_is_read_when_the_epochs_of_the_store_are_gone(view, tmp_path):
    labelstore.materialise(view, [0], ROWS, tmp_path)
    only_metadata = tmp_path / "copy" / "labels.zarr"
    for path in view.folder.parents[1].rglob("zarr.json"):
        copy = only_metadata / path.relative_to(view.folder.parents[1])
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (only_metadata / "expert-a/plain/logits/.complete").mkdir()
    there = labelstore.open_store(only_metadata).view()
    assert np.array_equal(labelstore.materialise(there, [0], ROWS, tmp_path), oracle([0], ROWS))


def start(*arguments):
    here = [str(CHILD.parent), str(Path(labelstore.__file__).parent.parent)]
    return subprocess.Popen(
        [sys.executable, str(CHILD), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(here)},
    )


def test_of_eight_processes_at_once_one_makes_the_file_and_all_map_it(view, tmp_path):
    processes = [start("race", view.folder.parents[1], tmp_path / "subsets") for _ in range(8)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    verdicts = [process.communicate()[0].split() for process in processes]
    assert sorted(each[0] for each in verdicts) == ["made", *["mapped"] * 7]
    assert len({tuple(each[1:]) for each in verdicts}) == 1
    assert [Path(name).suffix for name in files_of(tmp_path / "subsets")] == [".json", ".npy"]


def test_dying_before_any_system_call_leaves_it_whole_or_absent_and_the_next_call_makes_it(
    view, tmp_path
):
    output, _ = start("crash", view.folder.parents[1], tmp_path, 1, 1).communicate()
    verdicts = output.splitlines()
    assert [line for line in verdicts if not line.startswith("good")] == []
    assert len(verdicts) > 15


@pytest.mark.parametrize(
    ("call", "number"),
    [("mkdir", 1), ("posix_fallocate", 1)]
    + [(call, n) for call in ("pwrite", "fsync") for n in (1, 2, 3)],
)
def test_a_full_disk_at_any_step_says_so_and_leaves_nothing(
    view, tmp_path, monkeypatch, call, number
):
    real, counted = getattr(os, call), iter(range(1, 1_000))

    def full(*arguments):
        if next(counted) == number:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(labelstore.StoreFull, match=r"no space for .* bytes") as error:
            labelstore.materialise(view, [0, 1], ROWS, tmp_path / "subsets")
    assert str(tmp_path) in str(error.value)
    assert not [name for name in files_of(tmp_path / "subsets") if not name.endswith(".json")]
    values = labelstore.materialise(view, [0, 1], ROWS, tmp_path / "subsets")
    assert np.array_equal(values, oracle([0, 1], ROWS))


@pytest.mark.long
def test_a_small_file_system_fills_up_and_the_next_call_makes_it_when_there_is_room(view, tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root; the disk is filled by patches above")
    try:
        with pytest.raises(labelstore.StoreFull, match="no space for 48,128 bytes"):
            labelstore.materialise(view, [0], range(4_000), tmp_path)
        assert files_of(tmp_path) == []
        subprocess.run(["mount", "-o", "remount,size=1m", str(tmp_path)], check=True)
        values = labelstore.materialise(view, [0], range(4_000), tmp_path)
        assert np.array_equal(values, oracle([0], range(4_000)))
        del values  # a mapped file keeps the file system busy
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_verify_finds_any_flipped_byte_of_both_files(view, tmp_path):
    path = Path(labelstore.materialise(view, [0], [5, 3], tmp_path).filename)
    rng = np.random.default_rng(0)
    for file in (path, path.with_suffix(".json")):
        whole = file.read_bytes()
        for place in range(len(whole)):
            damaged = bytearray(whole)
            damaged[place] ^= int(rng.integers(1, 256))
            file.write_bytes(damaged)
            verdict = labelstore.verify_subsets(tmp_path)
            assert not verdict["ok"], place
            assert path.stem in verdict["problems"][0]
        file.write_bytes(whole)
    assert labelstore.verify_subsets(tmp_path)["ok"]


def test_verify_finds_what_is_missing_cut_short_or_under_another_name(view, tmp_path):
    path = Path(labelstore.materialise(view, [0], ROWS, tmp_path).filename)
    document = path.with_suffix(".json")
    whole, sealed = path.read_bytes(), document.read_bytes()
    for damage in (
        lambda: path.write_bytes(whole[:-1]),
        lambda: path.write_bytes(whole + b"\0"),
        document.unlink,
        lambda: [each.rename(each.with_stem("0" * 32)) for each in (path, document)],
    ):
        damage()
        verdict = labelstore.verify_subsets(tmp_path)
        assert not verdict["ok"]
        assert "remove" in verdict["problems"][0]
        for each in tmp_path.iterdir():
            each.unlink()
        path.write_bytes(whole)
        document.write_bytes(sealed)
    assert labelstore.verify_subsets(tmp_path)["ok"]
    with pytest.raises(labelstore.SubsetsNotFound, match="nowhere"):
        labelstore.verify_subsets(tmp_path / "nowhere")


def test_a_file_of_another_size_or_shape_is_never_mapped(view, tmp_path):
    path = Path(labelstore.materialise(view, [0], ROWS, tmp_path).filename)
    whole = path.read_bytes()
    transposed = oracle([0], ROWS).transpose(0, 2, 1)
    for damaged in (whole[:-2], whole + b"\0\0", b"", whole[:100]):
        path.write_bytes(damaged)
        with pytest.raises(labelstore.DamagedStore, match="remove it, the next use makes it again"):
            labelstore.materialise(view, [0], ROWS, tmp_path)
    np.save(path, transposed)
    with pytest.raises(labelstore.DamagedStore):
        labelstore.materialise(view, [0], ROWS, tmp_path)
    path.unlink()
    assert np.array_equal(labelstore.materialise(view, [0], ROWS, tmp_path), oracle([0], ROWS))


@pytest.mark.parametrize(
    ("epochs", "rows", "error"),
    [
        (4, [0], labelstore.BadArgument),
        ([0, 3], [0], labelstore.EpochNotDumped),
        ([0], [5_000], labelstore.BadIndices),
        ([0], [-1], labelstore.BadIndices),
    ],
)
def test_what_cannot_be_read_is_refused_and_leaves_nothing(view, tmp_path, epochs, rows, error):
    with pytest.raises(error):
        labelstore.materialise(view, epochs, rows, tmp_path / "subsets")
    assert files_of(tmp_path / "subsets") == []


def test_unfinished_rows_are_refused_and_leave_nothing(tmp_path):
    view = cases.new_view(tmp_path / "labels.zarr")
    with view.writer([0], cases.CHECKPOINTS, block_rows=2_048) as writer:
        writer.write(0, 0, cases.logits_of(0)[:2_048], cases.LABELS[:2_048])
    assert labelstore.materialise(view, [0], [2_047]).shape == (1, 1, cases.NUM_CLASSES)
    with pytest.raises(labelstore.EpochNotDumped, match="sample 2048 of epoch 0"):
        labelstore.materialise(view, [0], [0, 2_048])
    assert [Path(n).suffix for n in files_of(tmp_path / "labels.zarr.subsets")] == [".json", ".npy"]


def test_a_folder_that_cannot_be_written_says_which_argument_helps(view, tmp_path, monkeypatch):
    mkdir = Path.mkdir

    def read_only(path, *arguments, **options):
        if path.name == "locked":
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(labelstore.ReadOnlyStore, match=r"Read-only file system.*folder="):
        labelstore.materialise(view, [0], ROWS, tmp_path / "locked")


def test_a_store_that_is_no_folder_needs_one_named(view, tmp_path):
    elsewhere = zarr.storage.LocalStore(view.folder.parents[1], read_only=True)
    remote = labelstore.open_store(elsewhere).view()
    with pytest.raises(labelstore.BadArgument, match="folder="):
        labelstore.materialise(remote, [0], ROWS)
    assert np.array_equal(labelstore.materialise(remote, [0], ROWS, tmp_path), oracle([0], ROWS))


def test_verifying_a_store_checks_the_subsets_beside_it_too(tmp_path):
    view = cases.filled(tmp_path / "labels.zarr")
    before = labelstore.verify_store(tmp_path / "labels.zarr")["checked"]
    subset = labelstore.materialise(view, [0, 4], [3, 1])
    verdict = labelstore.verify_store(tmp_path / "labels.zarr")
    assert verdict["ok"]
    assert verdict["checked"] == before + 2
    path = Path(subset.filename)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (problem,) = labelstore.verify_store(tmp_path / "labels.zarr")["problems"]
    assert path.name in problem
