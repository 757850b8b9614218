"""The store as tensorstore and zarrs see it: equal values, in every codec and for crops."""

from __future__ import annotations

import labelstore_cases as cases
import numpy as np
import pytest
import zarr

import labelstore


def read_with_tensorstore(folder):
    tensorstore = pytest.importorskip("tensorstore")
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/"}}
    return np.asarray(tensorstore.open(spec, read=True).result())


def read_with_zarrs(folder):
    pytest.importorskip("zarrs")
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        return np.asarray(zarr.open_array(folder, mode="r")[:])


def read_with_zarr(folder):
    return np.asarray(zarr.open_array(folder, mode="r")[:])


READERS = [read_with_zarr, read_with_tensorstore, read_with_zarrs]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The same labels in three codecs, of epochs 0, 1 and 4, and one of three crops a sample."""
    path = tmp_path_factory.mktemp("readers") / "labels.zarr"
    cases.filled(path)
    for codec in ("quantised:8", "topk:2"):
        labelstore.convert_labels(path, codec)
    store = labelstore.open_store(path)
    crops = store.add_view("expert-a", "crop-2", identity={}, crops=2)
    with crops.writer([0], {0: "c"}) as writer:
        for start, stop, _ in writer.missing_blocks():
            logits = np.stack([cases.logits_of(0)[start:stop]] * 2, axis=1)
            boxes = np.full((stop - start, 2, 5), 3, np.uint16)
            writer.write(0, start, logits, cases.LABELS[start:stop], boxes)
    return store


@pytest.mark.parametrize("reader", READERS)
def test_dense_labels_and_statistics_are_equal_and_epochs_not_dumped_are_nan(stores, reader):
    view = stores.view()
    logits = reader(view.folder / "logits")
    assert logits.dtype == np.float16
    assert logits.shape == (5, cases.NUM_SAMPLES, cases.NUM_CLASSES)
    for epoch in cases.EPOCHS:
        assert np.array_equal(logits[epoch], view.read(epoch, slice(None)))
        for name in ("entropy", "cross_entropy"):
            assert np.array_equal(reader(view.folder / name)[epoch], getattr(view, name)(epoch))
    assert np.isnan(logits[2:4]).all()


@pytest.mark.parametrize("codec", ["quantised:8", "topk:2"])
@pytest.mark.parametrize("reader", READERS)
def test_codes_are_equal_and_rows_never_written_are_0xff(stores, reader, codec):
    view = stores.view(codec=codec)
    codes = reader(view.folder / "codes")
    decoded = view.geometry.codec.decode(np.ascontiguousarray(codes[4]), cases.NUM_CLASSES)
    assert np.array_equal(decoded, view.read(4, slice(None)))
    assert (codes[2] == 0xFF).all()


@pytest.mark.parametrize("reader", READERS)
def test_crops_are_an_axis_of_their_own(stores, reader):
    view = stores.view(view="crop-2")
    assert np.array_equal(reader(view.folder / "logits")[0], view.read(0, slice(None)))
    assert np.array_equal(reader(view.folder / "crops")[0], view.crop_boxes(0))
