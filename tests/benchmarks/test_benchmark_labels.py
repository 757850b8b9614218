"""What the suite `labels` measures with: made-up labels, other formats, writers, memory."""

import mmap
import subprocess
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import benchmarks
from benchmarks import label_peers, label_reads, label_scale, label_scale_writer, label_writes
from benchmarks.errors import BenchmarkError, PeerMissing
from benchmarks.suite import ceiling
from benchmarks.synthetic_labels import SyntheticLogits


def quiet(stage: str, done: int, total: int) -> None:
    assert 0 <= done <= total


@given(cut=st.integers(1, 8_999), epoch=st.integers(0, 3))
def test_made_up_labels_do_not_depend_on_the_blocks(cut: int, epoch: int) -> None:
    made_up = SyntheticLogits(5)
    whole, labels = made_up.block(epoch, 0, 9_000)
    parts = [made_up.block(epoch, 0, cut), made_up.block(epoch, cut, 9_000)]
    np.testing.assert_array_equal(whole, np.concatenate([part[0] for part in parts]))
    np.testing.assert_array_equal(labels, np.concatenate([part[1] for part in parts]))


@pytest.mark.parametrize("num_classes", [100, 1_000])
def test_made_up_labels_have_the_entropy_of_an_expert(num_classes: int) -> None:
    logits, labels = SyntheticLogits(num_classes).block(0, 0, 4_000)
    weights = np.exp(logits.astype(np.float64))
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    entropy = -(probabilities * np.log(probabilities)).sum(axis=1).mean()
    assert 2.5 < entropy < 3.7
    assert set(labels.tolist()) == set(range(num_classes))
    assert 0.2 < (logits.argmax(axis=1) == labels).mean() < 0.98


def test_epochs_differ() -> None:
    made_up = SyntheticLogits(5)
    assert not np.array_equal(made_up.block(0, 0, 10)[0], made_up.block(1, 0, 10)[0])


def test_every_peer_reads_what_was_written(tmp_path: Path) -> None:
    logits_nc = SyntheticLogits(7).block(0, 0, 20_000)[0].astype(np.float16)
    rows = np.sort(np.random.default_rng(0).choice(20_000, 300, replace=False))
    forms = label_peers.forms(tmp_path, logits_nc)
    assert forms.keys() == {"zarr", "zarrs", "tensorstore", "tensorstore_cached", "h5py", "parquet"}
    for peer, readers in forms.items():
        for form, read in readers.items():
            np.testing.assert_array_equal(read(rows), logits_nc[rows], err_msg=f"{peer}: {form}")


def test_peers_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = label_peers.find_spec
    monkeypatch.setattr(
        label_peers, "find_spec", lambda name: None if name in ("zarrs", "h5py") else found(name)
    )
    with pytest.raises(PeerMissing, match=r"zarrs, h5py\. Next: `scripts/setup`"):
        label_peers.check_installed()


def test_a_contestant_that_reads_other_values_is_refused() -> None:
    logits_nc = SyntheticLogits(3).block(0, 0, 200)[0].astype(np.float16)
    label_reads._check_equal({"right": lambda rows: logits_nc[rows]}, logits_nc)
    with pytest.raises(BenchmarkError, match="wrong reads other values"):
        label_reads._check_equal({"wrong": lambda rows: logits_nc[rows[::-1]]}, logits_nc)


def test_rows_to_read_are_sorted_distinct_and_the_same_every_time() -> None:
    sets = label_reads.random_rows(5_000, 1_000, 3)
    assert all((np.diff(rows) > 0).all() and len(rows) == 1_000 for rows in sets)
    assert not np.array_equal(sets[0], sets[1])
    np.testing.assert_array_equal(sets, label_reads.random_rows(5_000, 1_000, 3))


def test_a_slow_reader_reads_three_sets_only() -> None:
    calls: list[int] = []

    def read(rows: np.ndarray) -> np.ndarray:
        calls.append(len(rows))
        time.sleep(0.2)
        return rows

    milliseconds = label_reads.read_time(read, [np.arange(2)] * 10)()
    assert calls == [2, 2, 2]
    assert 200 <= milliseconds < 2_000


def test_a_value_below_its_ceiling_has_a_ratio_over_one() -> None:
    row = ceiling("memory", 0.5, "GB", limit=1.5)
    assert (row["ratio"], row["bar"], row["limit"], row["peer"]) == (3.0, 1.0, 1.5, None)


def test_raw_bytes_are_written_whole(tmp_path: Path) -> None:
    piece = np.arange(1_000, dtype=np.float16)
    label_writes.write_bytes(tmp_path / "raw", piece, copies=3)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "raw", np.float16), np.tile(piece, 3))


def test_memory_that_was_given_back_still_counts() -> None:
    with label_scale_writer._peak_anonymous_memory() as peak:
        before = peak[0]
        # Pages of its own: numpy might reuse memory that an earlier test gave back.
        with mmap.mmap(-1, 200_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
            for page in range(0, len(block), mmap.PAGESIZE):
                block[page] = 1
            time.sleep(10 * label_scale_writer.SAMPLE_SECONDS)
        time.sleep(10 * label_scale_writer.SAMPLE_SECONDS)
    assert 190e6 < peak[0] - before < 300e6


def test_a_full_disk_is_named_instead_of_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 15_900_000_000})
    monkeypatch.setattr(label_scale.shutil, "disk_usage", lambda _: usage)
    rows = label_scale.figures(tmp_path, progress=quiet, quick=False)
    assert [(row["name"], row["value"], row["limit"]) for row in rows] == [
        ("imagenet_scale_skipped", 15.9, 16.0)
    ]
    assert rows[0]["ratio"] < rows[0]["bar"]
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_says_so(tmp_path: Path) -> None:
    with (
        label_scale._Writer(tmp_path / "none", 0, 1) as writer,
        pytest.raises(BenchmarkError, match=r"label_scale_writer .* ended with exit code 1"),
    ):
        writer.answer()


def test_an_interruption_ends_the_writers_and_removes_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import labels

    started: list[Any] = []
    start = subprocess.Popen
    monkeypatch.setattr(
        label_scale.subprocess,
        "Popen",
        lambda *a, **k: started.append(start(*a, **k)) or started[-1],
    )
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(labels, "PARTS", (label_scale,))
    monkeypatch.setattr(labels, "find_data", lambda _: None)

    def interrupted(stage: str, done: int, total: int) -> None:
        if stage.startswith("write at"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        labels.figures(progress=interrupted, quick=True)
    assert len(started) == label_scale.WRITERS
    assert all(process.returncode is not None for process in started)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_measured_without_the_peers(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_DATA", str(shared_data))

    def missing() -> NoReturn:
        raise PeerMissing("zarrs")

    monkeypatch.setattr(label_peers, "check_installed", missing)
    with pytest.raises(PeerMissing):
        benchmarks.run_suite("labels", progress=quiet, quick=True)
