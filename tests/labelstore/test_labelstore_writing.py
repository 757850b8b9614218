"""What the writer leaves on disk, whatever the order, the ranks, the block size or the history."""

from __future__ import annotations

import multiprocessing
import threading
import time
import tracemalloc

import labelstore_cases as cases
import numpy as np
import pytest

import labelstore


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "labels.zarr"
    cases.filled(path)
    return cases.bytes_of(path)


def dump_one_rank(path, rank):
    cases.fill(labelstore.open_store(path).view(), rank=rank, world=2)


def test_two_processes_write_the_bytes_of_one(whole, tmp_path):
    cases.new_view(tmp_path / "labels.zarr")
    spawn = multiprocessing.get_context("spawn")
    ranks = [
        spawn.Process(target=dump_one_rank, args=(tmp_path / "labels.zarr", rank))
        for rank in (0, 1)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(60)
    assert [rank.exitcode for rank in ranks] == [0, 0]
    assert cases.bytes_of(tmp_path / "labels.zarr") == whole


@pytest.mark.parametrize("block_rows", [1_024, 2_048, 100_000])
def test_the_block_size_leaves_no_trace(whole, tmp_path, block_rows):
    cases.fill(cases.new_view(tmp_path / "labels.zarr"), block_rows=block_rows)
    assert cases.bytes_of(tmp_path / "labels.zarr") == whole


def test_blocks_may_be_written_in_any_order(whole, tmp_path):
    view = cases.new_view(tmp_path / "labels.zarr")
    with view.writer(cases.EPOCHS, cases.CHECKPOINTS, block_rows=700) as writer:
        blocks = [(e, a, b) for a, b, epochs in writer.missing_blocks() for e in epochs]
        for i in np.random.default_rng(0).permutation(len(blocks)):
            epoch, start, stop = blocks[i]
            logits = cases.logits_of(epoch)[start:stop]
            writer.write(epoch, start, logits, cases.LABELS[start:stop])
    assert cases.bytes_of(tmp_path / "labels.zarr") == whole


def test_epochs_and_experts_added_later_touch_nothing_that_is_there(tmp_path):
    path = tmp_path / "labels.zarr"
    cases.filled(path, (1,))
    before = {path / name: (path / name).stat().st_mtime_ns for name in cases.bytes_of(path)}
    cases.fill(labelstore.open_store(path).view(), (1, 7))
    cases.fill(cases.new_view(path, "expert-b"), (0,))
    grown = {"logits/zarr.json", "entropy/zarr.json", "cross_entropy/zarr.json"}
    for file, changed in before.items():
        if not any(str(file).endswith(name) for name in grown):
            assert file.stat().st_mtime_ns == changed
    assert labelstore.open_store(path).view("expert-a").epochs == (1, 7)
    assert labelstore.verify_store(path)["ok"]


def test_a_finished_store_has_nothing_to_write(whole, tmp_path):
    view = cases.filled(tmp_path / "labels.zarr")
    assert cases.fill(view) == 0
    assert cases.bytes_of(tmp_path / "labels.zarr") == whole


def test_a_stopped_dump_resumes_block_by_block_with_any_number_of_ranks(whole, tmp_path):
    view = cases.new_view(tmp_path / "labels.zarr")
    with view.writer(cases.EPOCHS, cases.CHECKPOINTS, block_rows=700) as writer:
        for start, stop, epochs in writer.missing_blocks():
            if start >= 2_748:
                break
            for epoch in epochs[: 2 if start == 2_048 else 3]:
                logits = cases.logits_of(epoch)[start:stop]
                writer.write(epoch, start, logits, cases.LABELS[start:stop])
    assert view.epochs == ()
    # of 7 blocks a rank has 4 left: 2 of chunk 1 (one of them for one epoch only) and 2 of chunk 2
    assert cases.fill(view, rank=1, world=2) == 1 + 2 * 3
    assert cases.fill(view, rank=0, world=2) == 2 * 3
    assert cases.bytes_of(tmp_path / "labels.zarr") == whole


def test_a_block_that_the_journal_claims_but_the_disk_lost_is_done_again(whole, tmp_path):
    view = cases.new_view(tmp_path / "labels.zarr")
    with view.writer(cases.EPOCHS, cases.CHECKPOINTS, block_rows=700) as writer:
        for start, stop, epochs in writer.missing_blocks():
            if start >= 1_400:
                break
            for epoch in epochs:
                logits = cases.logits_of(epoch)[start:stop]
                writer.write(epoch, start, logits, cases.LABELS[start:stop])
    partial = view.folder / "logits/.writing/00000/0001.logits.partial"
    data = bytearray(partial.read_bytes())
    data[700 * 12 + 5] ^= 1  # inside the second block
    partial.write_bytes(data)
    journal = view.folder / "logits/.writing/00000/0004.journal"
    journal.write_bytes(journal.read_bytes()[:-9])  # and a torn last line
    with view.writer(cases.EPOCHS, cases.CHECKPOINTS, block_rows=700) as writer:
        assert next(writer.missing_blocks()) == (700, 1_400, (1, 4))
    cases.fill(view)
    assert cases.bytes_of(tmp_path / "labels.zarr") == whole


def test_a_block_from_before_a_kill_is_not_asked_for_again_once_its_chunk_is_whole(tmp_path):
    view, logits = cases.new_view(tmp_path / "labels.zarr"), cases.logits_of(1)
    chunk = view.folder / "logits/.writing/00000"
    with view.writer([1], cases.CHECKPOINTS, block_rows=700) as writer:
        writer.write(1, 1_400, logits[1_400:2_048], cases.LABELS[1_400:2_048])
    asked = []
    with view.writer([1], cases.CHECKPOINTS, block_rows=700) as writer:
        for start, stop, _ in writer.missing_blocks():
            asked.append((start, stop))
            writer.write(1, start, logits[start:stop], cases.LABELS[start:stop])
            while start == 700 and (chunk / "0001.journal").exists():
                time.sleep(0.001)  # the chunk is whole, and another thread makes it durable
            time.sleep(0.05)
    assert asked[:3] == [(0, 700), (700, 1_400), (2_048, 2_748)]


def test_a_writer_keeps_nothing_of_chunks_that_are_finished(tmp_path):
    view = cases.new_view(tmp_path / "labels.zarr")
    with view.writer([1], cases.CHECKPOINTS, block_rows=700) as writer:
        for start, stop, _ in writer.missing_blocks():
            writer.write(1, start, cases.logits_of(1)[start:stop], cases.LABELS[start:stop])
    assert not writer._handed_over


def test_a_resume_with_another_block_size_still_gives_the_same_bytes(whole, tmp_path):
    view = cases.new_view(tmp_path / "labels.zarr")
    with view.writer(cases.EPOCHS, cases.CHECKPOINTS, block_rows=512) as writer:
        start, stop, epochs = next(writer.missing_blocks())
        for epoch in epochs:
            writer.write(epoch, start, cases.logits_of(epoch)[:stop], cases.LABELS[:stop])
    cases.fill(view)
    assert cases.bytes_of(tmp_path / "labels.zarr") == whole


def test_one_chunk_is_as_large_as_the_samples_and_the_default_is_16384(tmp_path):
    arguments = {"dataset_id": "d", "classes": ["a", "b"]}
    small = labelstore.create_store(tmp_path / "small", num_samples=50, **arguments)
    large = labelstore.create_store(tmp_path / "large", num_samples=50_000, **arguments)
    assert (small.geometry.chunk_rows, large.geometry.chunk_rows) == (50, 16_384)
    view = small.add_view("e", "plain", identity={"run_id": "r"})
    with view.writer([0], {0: "c"}) as writer:
        writer.write(0, 0, np.zeros((50, 2), np.float32), np.zeros(50, np.int64))
    assert (view.folder / "logits/c.0.0.0").stat().st_size == 50 * 2 * 2
    assert np.allclose(view.entropy(0), np.log(2))


def test_a_bad_block_is_refused_by_name_and_can_be_written_right_afterwards(whole, tmp_path):
    view = cases.new_view(tmp_path / "labels.zarr")
    with view.writer(cases.EPOCHS, cases.CHECKPOINTS, block_rows=700) as writer:
        bad = cases.logits_of(1)[700:1_400]
        bad[33, 2] = np.nan
        with pytest.raises(labelstore.BadLogits, match="epoch 1, sample 733, class 2"):
            writer.write(1, 700, bad, cases.LABELS[700:1_400])
    cases.fill(view)
    assert cases.bytes_of(tmp_path / "labels.zarr") == whole


@pytest.mark.parametrize(
    ("epoch", "start", "rows", "what"),
    [
        (0, 100, 700, "not a block"),
        (0, 0, 699, "not a block"),
        (0, 2_048, 700, "of rank 0 of 2"),
        (3, 0, 700, "not what this writer is for"),
    ],
)
def test_only_missing_blocks_of_ones_own_rank_can_be_written(tmp_path, epoch, start, rows, what):
    view = cases.new_view(tmp_path / "labels.zarr")
    logits, labels = np.zeros((rows, cases.NUM_CLASSES), np.float32), np.zeros(rows, np.int64)
    with (
        view.writer([0], cases.CHECKPOINTS, rank=0, world=2, block_rows=700) as writer,
        pytest.raises(labelstore.BadArgument, match=what),
    ):
        writer.write(epoch, start, logits, labels)


def test_nothing_is_written_twice_and_other_class_counts_are_refused(tmp_path):
    view = cases.new_view(tmp_path / "labels.zarr")
    with view.writer([0], cases.CHECKPOINTS, block_rows=700) as writer:
        with pytest.raises(labelstore.BadArgument, match=r"6\), found float32 \(700, 5\)"):
            writer.write(0, 0, np.zeros((700, 5), np.float32), np.zeros(700, np.int64))
        writer.write(0, 0, cases.logits_of(0)[:700], cases.LABELS[:700])
        with pytest.raises(labelstore.BadArgument, match="complete already"):
            writer.write(0, 0, cases.logits_of(0)[:700], cases.LABELS[:700])


def test_two_dumps_of_the_same_rows_at_once_are_refused(tmp_path):
    view = cases.new_view(tmp_path / "labels.zarr")
    with view.writer([0], cases.CHECKPOINTS) as one, view.writer([0], cases.CHECKPOINTS) as two:
        next(one.missing_blocks())
        with pytest.raises(labelstore.ChunkInUse, match="samples 0 to 2047"):
            next(two.missing_blocks())
    with view.writer([0], cases.CHECKPOINTS) as three:
        assert next(three.missing_blocks())[0] == 0


def test_memory_and_open_files_do_not_grow_with_the_epochs(tmp_path):
    def peak_and_files(epochs, repeat):
        view = cases.new_view(tmp_path / f"{len(epochs)}-{repeat}.zarr")
        logits, labels = cases.logits_of(0), cases.LABELS
        with view.writer(epochs, dict.fromkeys(epochs, "c"), block_rows=2_048) as writer:
            tracemalloc.start()
            start, stop, missing = next(writer.missing_blocks())
            for epoch in missing[:-1]:
                writer.write(epoch, start, logits[start:stop], labels[start:stop])
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return peak, len(list(cases.Path("/proc/self/fd").iterdir()))

    def least(epochs):
        """Of three: Python's table of strings may grow by megabytes in any one of them."""
        return [
            min(each) for each in zip(*(peak_and_files(epochs, i) for i in range(3)), strict=True)
        ]

    peak_and_files(range(2), 0)
    few, many = least(range(8)), least(range(28))  # both fill the queues
    twenty_chunks = 20 * cases.CHUNK_ROWS * cases.NUM_CLASSES * 2
    assert many[0] - few[0] < twenty_chunks / 4  # what there is, is bookkeeping: 3 KB an epoch
    assert many[1] <= few[1] + 2  # a file in each of the two threads that write


def test_a_plan_counts_what_is_missing_without_touching_the_store(tmp_path):
    view = cases.filled(tmp_path / "labels.zarr", (1,))
    before = cases.bytes_of(tmp_path / "labels.zarr")
    plan = view.plan([1, 2, 3])
    assert plan["missing_epochs"] == [2, 3]
    assert plan["missing_rows"] == 2 * cases.NUM_SAMPLES
    assert plan["missing_bytes"] == 2 * 3 * cases.CHUNK_ROWS * (6 * 2 + 4 + 4)
    assert cases.bytes_of(tmp_path / "labels.zarr") == before


def test_a_reader_beside_a_writer_sees_whole_chunks_or_nothing(tmp_path):
    view = cases.new_view(tmp_path / "labels.zarr")
    view.prepare(cases.EPOCHS, cases.CHECKPOINTS)
    reader = labelstore.open_store(tmp_path / "labels.zarr").view()
    oracle = {epoch: cases.logits_of(epoch).astype(np.float16) for epoch in cases.EPOCHS}
    writing = threading.Thread(target=cases.fill, args=(view,), kwargs={"block_rows": 100})
    writing.start()
    seen, refused, running = 0, 0, True
    rng = np.random.default_rng(0)
    while running or seen == 0:
        running = writing.is_alive()
        epoch, rows = int(rng.choice(cases.EPOCHS)), rng.integers(0, cases.NUM_SAMPLES, 3)
        try:
            assert np.array_equal(reader.read(epoch, rows), oracle[epoch][rows])
            assert not np.isnan(reader.entropy(epoch, rows)).any()
            seen += 1
        except labelstore.EpochNotDumped:
            refused += 1
    writing.join()
    assert seen
    assert refused
    assert reader.epochs == cases.EPOCHS


def test_what_is_noted_of_a_checkpoint_stays_with_its_epoch(tmp_path) -> None:
    store = labelstore.create_store(
        tmp_path / "s.zarr", dataset_id="d", classes=["a", "b"], num_samples=4
    )
    view = store.add_view("expert", "plain", identity={"run_id": "r"})
    view.prepare([0, 2], {0: "c0", 2: "c2"}, {2: {"test_accuracy": 0.31}})
    view.prepare([2], {2: "c2"}, {2: {"test_accuracy": 0.99}})
    assert (view.about(2), view.about(0), view.about(7)) == ({"test_accuracy": 0.31}, {}, {})
    (problem,) = labelstore.verify_store(store.path)["problems"]
    assert "epochs 0,2 are not complete" in problem
