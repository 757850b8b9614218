"""What the reader returns equals plain numpy indexing of the plain arrays."""

from __future__ import annotations

import pickle

import labelstore_cases as cases
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import labelstore

indices = st.lists(st.integers(0, cases.NUM_SAMPLES - 1), max_size=60)


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    return cases.filled(tmp_path_factory.mktemp("reading") / "labels.zarr")


@given(rows=indices, epoch=st.sampled_from(cases.EPOCHS))
def test_any_list_of_indices_reads_what_numpy_indexing_gives(view, rows, epoch):
    expected = cases.logits_of(epoch).astype(np.float16)[np.array(rows, dtype=np.int64)]
    found = view.read(epoch, rows)
    assert found.dtype == np.float16
    assert np.array_equal(found, expected)


@given(rows=indices, epochs=st.lists(st.sampled_from(cases.EPOCHS), max_size=4))
def test_several_epochs_read_as_one_array(view, rows, epochs):
    found = view.read(epochs, rows)
    assert found.shape == (len(epochs), len(rows), cases.NUM_CLASSES)
    for epoch, logits in zip(epochs, found, strict=True):
        assert np.array_equal(logits, view.read(epoch, rows))


@given(rows=indices, temperature=st.floats(0.05, 50))
def test_probabilities_are_the_softmax_of_the_stored_logits(view, rows, temperature):
    logits = cases.logits_of(4).astype(np.float16).astype(np.float64)[np.array(rows, np.int64)]
    weights = np.exp((logits - logits.max(axis=1, keepdims=True, initial=-1e9)) / temperature)
    expected = weights / weights.sum(axis=1, keepdims=True)
    found = view.probabilities(4, rows, temperature=temperature)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


@given(start=st.integers(-5, 5_100), length=st.integers(0, 5_100))
def test_ranges_and_slices_read_what_numpy_slicing_gives(view, start, length):
    whole = cases.logits_of(1).astype(np.float16)
    assert np.array_equal(view.read(1, slice(start, start + length)), whole[start : start + length])
    if start >= 0 and start + length <= cases.NUM_SAMPLES:
        found = view.read(1, range(start, start + length))
        assert np.array_equal(found, whole[start : start + length])


def test_many_unsorted_rows_read_in_the_order_asked(view):
    rows = np.random.default_rng(0).integers(0, cases.NUM_SAMPLES, 9_000)
    assert np.array_equal(view.read(0, rows), cases.logits_of(0).astype(np.float16)[rows])


def test_a_range_inside_a_chunk_is_a_read_only_view_and_a_list_is_a_fresh_array(view):
    first, again = view.read(0, range(10, 2_000)), view.read(0, slice(10, 2_000))
    assert np.shares_memory(first, again)
    assert not first.flags.writeable
    assert not view.read(0, range(10, 3_000)).flags.writeable
    assert view.read(0, list(range(10, 20))).flags.writeable


def test_a_view_of_the_file_outlives_the_reader(tmp_path):
    rows = cases.filled(tmp_path / "labels.zarr", (0,)).read(0, range(5))
    assert np.array_equal(rows, cases.logits_of(0)[:5].astype(np.float16))


@pytest.mark.parametrize("wrong", [[-1], [cases.NUM_SAMPLES], [3, 2, 99_999], range(-1, 3)])
def test_indices_outside_the_dataset_are_refused_as_numpy_refuses_them(view, wrong):
    with pytest.raises(IndexError, match="expected 0 to 4999") as caught:
        view.read(0, wrong)
    assert isinstance(caught.value, labelstore.LabelStoreError)


@pytest.mark.parametrize("wrong", [[0.5], [[1, 2]], 3, [True, False], ["a"]])
def test_what_is_no_list_of_integers_is_refused(view, wrong):
    with pytest.raises(labelstore.BadIndices, match="one-dimensional integers"):
        view.read(0, wrong)


def test_indices_may_be_a_torch_tensor(view):
    torch = pytest.importorskip("torch")
    assert np.array_equal(view.read(0, torch.tensor([4, 2])), view.read(0, [4, 2]))


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf")])
def test_a_temperature_that_is_not_positive_is_refused(view, temperature):
    with pytest.raises(labelstore.BadArgument, match="temperature"):
        view.probabilities(0, [1], temperature=temperature)


def test_statistics_are_read_by_sample_or_whole(view):
    whole = view.entropy(1)
    assert whole.shape == (cases.NUM_SAMPLES,)
    assert whole.dtype == np.float32
    assert np.array_equal(view.entropy(1, [4_500, 3]), whole[[4_500, 3]])
    assert np.array_equal(view.cross_entropy(1)[[7, 7]], view.cross_entropy(1, [7, 7]))


def test_an_epoch_never_dumped_is_refused_with_the_command_that_dumps_it(view):
    with pytest.raises(labelstore.EpochNotDumped, match=r"epoch 3 .*complete epochs: 0-1,4") as e:
        view.read(3, [5])
    assert "engine dump-labels" in str(e.value)
    assert "--epochs 3" in str(e.value)
    with pytest.raises(labelstore.EpochNotDumped, match="epoch 77"):
        view.checkpoint_id(77)


def test_a_view_says_its_epochs_identity_and_checkpoints(view):
    assert view.epochs == cases.EPOCHS
    assert view.identity == cases.IDENTITY
    assert view.checkpoint_id(4) == "checkpoint-4"
    assert (view.expert, view.name) == ("expert-a", "plain")


def test_a_pickled_view_reads_the_same(view):
    view.read(0, [1])
    copy = pickle.loads(pickle.dumps(view))
    assert np.array_equal(copy.read(0, [9, 1]), view.read(0, [9, 1]))


def test_epochs_beyond_the_bound_of_kept_maps_are_mapped_again(view, monkeypatch):
    monkeypatch.setattr("labelstore.mapped.MAX_MAPPED_FILES", 3)
    fresh = labelstore.open_store(view.folder.parent.parent).view()
    for epoch in (*cases.EPOCHS, *cases.EPOCHS):
        expected = cases.logits_of(epoch)[[5, 4_000]].astype(np.float16)
        assert np.array_equal(fresh.read(epoch, [5, 4_000]), expected)


def test_a_missing_or_short_chunk_file_is_damage_and_not_rows(tmp_path):
    view = cases.filled(tmp_path / "labels.zarr", (0,))
    chunk = view.folder / "logits" / "c.0.1.0"
    data = chunk.read_bytes()
    for broken in (data[:-2], None):
        chunk.unlink()
        if broken is not None:
            chunk.write_bytes(broken)
        fresh = labelstore.open_store(tmp_path / "labels.zarr").view()
        with pytest.raises(labelstore.DamagedStore, match=r"c\.0\.1\.0.*engine verify"):
            fresh.read(0, [3_000])
