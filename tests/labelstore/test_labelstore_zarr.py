"""The store is plain Zarr: zarr-python reads ours, and we read what zarr-python rewrote."""

from __future__ import annotations

import errno
import shutil
import warnings

import labelstore_cases as cases
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

import labelstore
from labelstore import mapped

rows_lists = st.lists(st.integers(0, cases.NUM_SAMPLES - 1), max_size=40)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    view = cases.filled(tmp_path_factory.mktemp("zarr") / "labels.zarr")
    cases.fill(
        labelstore.open_store(view.folder.parent.parent).add_view(
            "expert-b",
            "flip",
            identity={"run_id": "run-2", "transform": "flip", "precision": "bf16"},
        ),
        (0,),
    )
    return labelstore.open_store(view.folder.parent.parent).view("expert-a")


def rewrite(source, target, **layout) -> None:
    """Copies groups, attributes and arrays through zarr-python alone, in another layout."""
    for path in ("", "expert-a", "expert-a/plain"):
        node = zarr.open_group(source, path=path, mode="r")
        zarr.create_group(target, path=path, attributes=node.attrs.asdict())
    for name in ("logits", "entropy", "cross_entropy"):
        path = f"expert-a/plain/{name}"
        array = zarr.open_array(source, path=path, mode="r")
        chosen = {key: value[: array.ndim] for key, value in layout.items() if key != "compressors"}
        zarr.create_array(
            target,
            name=path,
            data=array[:],
            fill_value=np.nan,
            attributes=array.attrs.asdict(),
            compressors=layout.get("compressors"),
            **chosen,
        )


def other_layouts():
    zstd = zarr.codecs.ZstdCodec()
    yield "compressed", {"chunks": (1, 900, 6), "compressors": zstd}
    yield "sharded", {"chunks": (1, 250, 3), "shards": (2, 1_000, 6), "compressors": None}


@pytest.fixture(scope="module", params=["compressed", "sharded", "memory", "zip"])
def other(request, own, tmp_path_factory):
    source = own.folder.parent.parent
    layout = dict(other_layouts()).get(request.param, {"chunks": (1, 2_048, 6)})
    folder = tmp_path_factory.mktemp(request.param)
    target = {
        "memory": lambda: zarr.storage.MemoryStore(),
        "zip": lambda: zarr.storage.ZipStore(folder / "labels.zip", mode="w"),
    }.get(request.param, lambda: folder / "labels.zarr")()
    rewrite(source, target, **layout)
    if request.param == "zip":
        target.close()
        target = zarr.storage.ZipStore(folder / "labels.zip", mode="r")
    return labelstore.open_store(target, dataset_id="dataset-1").view()


def test_zarr_reads_equal_values_without_a_warning(own):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        root = zarr.open_group(own.folder.parent.parent, mode="r")
        names = sorted(name for name, _ in root.members(max_depth=None))
        logits = root["expert-a/plain/logits"]
    assert names[:5] == ["expert-a", "expert-a/plain", "expert-a/plain/cross_entropy",
                         "expert-a/plain/entropy", "expert-a/plain/logits"]  # fmt: skip
    assert logits.shape == (5, cases.NUM_SAMPLES, cases.NUM_CLASSES)
    assert logits.metadata.dimension_names == ("epoch", "sample", "class")
    for epoch in cases.EPOCHS:
        assert np.array_equal(logits[epoch], cases.logits_of(epoch).astype(np.float16))
        assert np.array_equal(root["expert-a/plain/entropy"][epoch], own.entropy(epoch))
    assert np.isnan(logits[2]).all()
    assert root.attrs["dataset_id"] == "dataset-1"
    assert root["expert-a/plain"].attrs["run_id"] == "run-1"


@given(rows=rows_lists, epoch=st.sampled_from(cases.EPOCHS))
def test_another_layout_reads_the_same_rows(own, other, rows, epoch):
    assert np.array_equal(other.read(epoch, rows), own.read(epoch, rows))
    assert np.array_equal(other.cross_entropy(epoch, rows), own.cross_entropy(epoch, rows))


def test_another_layout_behaves_like_ours(own, other):
    assert other.epochs == own.epochs
    assert other.checkpoint_id(4) == own.checkpoint_id(4)
    assert other.identity == own.identity
    for rows in (range(5, 4_000), slice(-3, None)):
        found = other.read(4, rows)
        assert np.array_equal(found, own.read(4, rows))
        assert not found.flags.writeable
    for epoch in (2, 3, 5):
        with pytest.raises(labelstore.EpochNotDumped, match=f"epoch {epoch}"):
            other.read(epoch, [1])
    with pytest.raises(labelstore.BadIndices):
        other.read(0, [-1])


def test_another_layout_is_read_only(other):
    with pytest.raises(labelstore.ReadOnlyStore):
        other.writer([7], cases.CHECKPOINTS)


def test_files_that_cannot_be_mapped_are_read_through_zarr(own, monkeypatch):
    def no_mmap(*_arguments):
        raise OSError(errno.ENODEV, "no mmap here")

    fresh = labelstore.open_store(own.folder.parent.parent).view("expert-a")
    monkeypatch.setattr("labelstore.mapped._map", no_mmap)
    rows = [4_999, 0, 2_048, 0]
    assert np.array_equal(fresh.read(4, rows), own.read(4, rows))
    assert np.array_equal(fresh.read(4, range(100)), own.read(4, range(100)))
    assert np.array_equal(fresh.entropy(1), own.entropy(1))


def test_files_are_mapped_closer_together_where_addresses_are_limited(own, monkeypatch):
    whole = mapped._map

    def limited(address, size, *arguments):
        if size > 2 << 20:
            raise OSError(errno.ENOMEM, "no addresses left")
        return whole(address, size, *arguments)

    fresh = labelstore.open_store(own.folder.parent.parent).view("expert-a")
    monkeypatch.setattr(mapped, "_LARGE_PAGE", mapped.mmap.PAGESIZE)
    monkeypatch.setattr(mapped, "_map", limited)
    assert np.array_equal(fresh.read(4, [4_999, 0, 2_048, 0]), own.read(4, [4_999, 0, 2_048, 0]))
    assert np.shares_memory(fresh.read(4, range(9)), fresh.read(4, range(3)))


def test_verify_says_of_a_rewritten_store_that_it_cannot_vouch_for_it(own, tmp_path):
    rewrite(own.folder.parent.parent, tmp_path / "labels.zarr", chunks=(1, 900, 6))
    verdict = labelstore.verify_store(tmp_path / "labels.zarr")
    assert not verdict["ok"]
    assert ["other software" in each for each in verdict["problems"]] == [True]


def test_a_missing_chunk_is_damage_when_read_through_zarr_too(own, tmp_path, monkeypatch):
    shutil.copytree(own.folder.parent.parent, tmp_path / "copy")
    (tmp_path / "copy/expert-a/plain/logits/c.0.1.0").unlink()
    view = labelstore.open_store(tmp_path / "copy").view("expert-a")
    monkeypatch.setattr(view._layout, "_mapped", {})
    with pytest.raises(labelstore.DamagedStore, match="sample 3000 of epoch 0"):
        view.read(0, [3_000])


def test_several_experts_need_a_name(own):
    store = labelstore.open_store(own.folder.parent.parent)
    assert store.views() == [("expert-a", "plain"), ("expert-b", "flip")]
    assert store.view(view="flip").expert == "expert-b"
    store.add_view("expert-b", "plain", identity={"run_id": "run-2"})
    with pytest.raises(labelstore.ViewNotFound, match="expert-a/plain, expert-b/flip"):
        store.view()
    with pytest.raises(labelstore.ViewNotFound, match="expected labels of nobody"):
        store.view("nobody")
