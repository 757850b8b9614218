"""Views with several labels a sample, one for each crop."""

from __future__ import annotations

import labelstore_cases as cases
import numpy as np
import pytest
import zarr

import labelstore

CROPS = 3


def crop_logits(epoch):
    rng = np.random.default_rng([3, epoch])
    shape = (cases.NUM_SAMPLES, CROPS, cases.NUM_CLASSES)
    return rng.normal(0, 4, shape).astype(np.float32)


BOXES = np.random.default_rng(5).integers(0, 400, (cases.NUM_SAMPLES, CROPS, 5)).astype(np.uint16)


def filled_with_crops(path, *, codec="dense", rank=0, world=1, block_rows=700):
    store = labelstore.create_store(
        path,
        dataset_id="dataset-1",
        classes=cases.CLASSES,
        num_samples=cases.NUM_SAMPLES,
        chunk_rows=cases.CHUNK_ROWS,
    )
    view = store.add_view("expert-a", "crop-3", identity=cases.IDENTITY, codec=codec, crops=CROPS)
    with view.writer(
        (0, 2), cases.CHECKPOINTS, rank=rank, world=world, block_rows=block_rows
    ) as writer:
        for start, stop, epochs in writer.missing_blocks():
            rows = slice(start, stop)
            for epoch in epochs:
                logits = crop_logits(epoch)[rows]
                writer.write(epoch, start, logits, cases.LABELS[rows], BOXES[rows])
    return view


def test_crops_read_by_sample_with_their_boxes(tmp_path):
    view = filled_with_crops(tmp_path / "labels.zarr")
    rows = [4_999, 0, 2_047, 0]
    expected = crop_logits(2).astype(np.float16)[rows]
    assert np.array_equal(view.read(2, rows), expected)
    assert np.array_equal(view.read([2, 0], rows)[0], expected)
    assert np.array_equal(view.read(2, range(10, 20)), crop_logits(2).astype(np.float16)[10:20])
    assert np.array_equal(view.crop_boxes(0, rows), BOXES[rows])
    assert view.probabilities(2, rows).shape == (4, CROPS, cases.NUM_CLASSES)
    np.testing.assert_allclose(view.probabilities(2, rows).sum(axis=-1), 1, rtol=1e-5)
    assert view.entropy(2).shape == (cases.NUM_SAMPLES, CROPS)
    assert view.read(2, []).shape == (0, CROPS, cases.NUM_CLASSES)
    assert labelstore.open_store(tmp_path / "labels.zarr").view(view="crop-3").crops == CROPS


def test_crops_are_statistics_by_crop_and_verify(tmp_path):
    path = tmp_path / "labels.zarr"
    view = filled_with_crops(path)
    logits = crop_logits(0).astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(view.entropy(0), -(np.exp(log_p) * log_p).sum(axis=-1), rtol=1e-5)
    own = log_p[np.arange(cases.NUM_SAMPLES), :, cases.LABELS]
    np.testing.assert_allclose(view.cross_entropy(0), -own, rtol=1e-5, atol=1e-6)
    assert labelstore.verify_store(path)["ok"]
    (path / "expert-a/crop-3/crops/c.2.1.0.0").write_bytes(b"")
    assert "crops/c.2.1.0.0" in labelstore.verify_store(path)["problems"][0]


def test_two_ranks_write_the_bytes_of_one(tmp_path):
    one = filled_with_crops(tmp_path / "one.zarr").folder
    filled_with_crops(tmp_path / "two.zarr", rank=1, world=2, block_rows=512)
    two = filled_with_crops(tmp_path / "two.zarr", rank=0, world=2).folder
    assert cases.bytes_of(one) == cases.bytes_of(two)


@pytest.mark.parametrize("codec", ["quantised:8", "topk:2"])
def test_crops_are_stored_and_converted_in_any_codec(tmp_path, codec):
    direct = filled_with_crops(tmp_path / "direct.zarr", codec=codec)
    dense = filled_with_crops(tmp_path / "labels.zarr")
    labelstore.convert_labels(tmp_path / "labels.zarr", codec, view="crop-3")
    converted = labelstore.open_store(tmp_path / "labels.zarr").view(view="crop-3", codec=codec)
    assert converted.read(2, [9, 1]).shape == (2, CROPS, cases.NUM_CLASSES)
    # Sorted, as float16 may break a tie between the last class kept and the next another way.
    found, expected = (np.sort(each.read(2, slice(None))) for each in (converted, direct))
    np.testing.assert_allclose(found, expected, atol=0.1)
    assert np.array_equal(converted.crop_boxes(2), BOXES)
    assert np.array_equal(converted.entropy(2), dense.entropy(2))


def test_any_zarr_reader_sees_a_crop_axis(tmp_path):
    view = filled_with_crops(tmp_path / "labels.zarr")
    logits = zarr.open_array(view.folder / "logits", mode="r")
    assert logits.shape == (3, cases.NUM_SAMPLES, CROPS, cases.NUM_CLASSES)
    assert logits.metadata.dimension_names == ("epoch", "sample", "crop", "class")
    assert np.array_equal(logits[2, 7], crop_logits(2)[7].astype(np.float16))
    crops = zarr.open_array(view.folder / "crops", mode="r")
    assert np.array_equal(crops[0], BOXES)


def test_blocks_without_boxes_or_of_another_number_of_crops_are_refused(tmp_path):
    store = labelstore.create_store(
        tmp_path / "labels.zarr", dataset_id="d", classes=("a", "b"), num_samples=4
    )
    view = store.add_view("e", "crop-2", identity={}, crops=2)
    plain = store.add_view("e", "plain", identity={})
    logits, labels = np.zeros((4, 2, 2), np.float32), np.zeros(4, np.int64)
    boxes = np.zeros((4, 2, 5), np.uint16)
    with view.writer([0], {0: "c"}) as writer:
        with pytest.raises(labelstore.BadArgument, match="crops: expected uint16"):
            writer.write(0, 0, logits, labels)
        with pytest.raises(labelstore.BadArgument, match=r"\(rows, crops, classes\)"):
            writer.write(0, 0, logits[:, :1], labels, boxes)
    none_expected = pytest.raises(labelstore.BadArgument, match="expected None")
    with plain.writer([0], {0: "c"}) as writer, none_expected:
        writer.write(0, 0, logits[:, 0], labels, boxes)
    with pytest.raises(labelstore.BadArgument, match="whole images"):
        plain.crop_boxes(0)
    with pytest.raises(labelstore.WrongIdentity, match="crops 2, but 3"):
        store.add_view("e", "crop-2", identity={}, crops=3)


def test_an_ensemble_is_the_mean_of_logits(tmp_path):
    path = tmp_path / "labels.zarr"
    cases.filled(path)
    other = cases.new_view(path, expert="expert-b")
    cases.fill(other, (4,))
    store = labelstore.open_store(path)
    rows = [3, 1, 4_000, 3]
    both = store.ensemble([0, 4], ["expert-a"])
    expected = np.mean(
        [cases.logits_of(e).astype(np.float16)[rows] for e in (0, 4)], axis=0, dtype=np.float64
    )
    np.testing.assert_allclose(both.read(rows), expected, rtol=1e-6, atol=1e-6)
    weights = np.exp(expected / 3)
    np.testing.assert_allclose(
        both.probabilities(rows, temperature=3.0),
        weights / weights.sum(axis=1, keepdims=True),
        rtol=1e-5,
    )
    assert len(store.ensemble(4).views) == 2
    with pytest.raises(labelstore.EpochNotDumped, match="epoch 0"):
        store.ensemble([0, 4]).read(rows)
    with pytest.raises(labelstore.BadArgument, match="at least one expert"):
        store.ensemble([0], [])
