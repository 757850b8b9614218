"""Codecs against plain numpy: what is read back, what it costs, and what is said of that."""

from __future__ import annotations

import labelstore_cases as cases
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import labelstore
from labelstore.codecs import codec_in_folder, codec_named

LOSSY = ("quantised:8", "quantised:4", "topk:2")
rows_lists = st.lists(st.integers(0, cases.NUM_SAMPLES - 1), max_size=40)


def log_softmax(logits):
    logits = logits.astype(np.float64)
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def quantised_by_hand(logits, bits):
    """An even grid between the row's smallest and largest logit, as float16 can hold them."""
    low = logits.min(axis=1, keepdims=True)
    high = logits.max(axis=1, keepdims=True)
    low16, high16 = low.astype(np.float16), high.astype(np.float16)
    low16 = np.where(low16 > low, np.nextafter(low16, np.float16(-np.inf)), low16)
    high16 = np.where(high16 < high, np.nextafter(high16, np.float16(np.inf)), high16)
    low, high = low16.astype(np.float64), high16.astype(np.float64)
    step = (high - low) / (2**bits - 1)
    return low + np.rint((logits - low) / step) * step


def topk_by_hand(logits, k):
    """The k largest logits; the rest share evenly what they weigh together."""
    logits = logits.astype(np.float64)
    order = np.argsort(-logits, axis=1, kind="stable")
    decoded = np.empty_like(logits)
    for row, places, out in zip(logits, order, decoded, strict=True):
        tail = row[places[k:]]
        out[:] = np.log(np.exp(tail - tail.max()).sum()) + tail.max() - np.log(len(tail))
        out[places[:k]] = row[places[:k]]
    return decoded


def by_hand(codec, logits):
    family, number = codec.split(":")
    return (quantised_by_hand if family == "quantised" else topk_by_hand)(logits, int(number))


@pytest.fixture(scope="module", params=LOSSY)
def view(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("codecs") / "labels.zarr"
    return cases.filled(path, codec=request.param)


@settings(max_examples=25)
@given(rows=rows_lists, epoch=st.sampled_from(cases.EPOCHS))
def test_any_rows_read_as_numpy_decodes_them(view, rows, epoch):
    found = view.read(epoch, rows)
    expected = by_hand(view.codec, cases.logits_of(epoch))[np.array(rows, np.int64)]
    assert found.dtype == np.float16
    assert found.shape == (len(rows), cases.NUM_CLASSES)
    # float16 rounds logits of 16 and more to 1/64; topk rounds the tail's sum on its way too.
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)


def test_epochs_ranges_and_probabilities_come_through_the_same_reader(view):
    both = view.read([0, 4], [7, 3, 7])
    assert np.array_equal(both[1], view.read(4, [7, 3, 7]))
    assert np.array_equal(view.read(1, range(2_000, 2_100)), view.read(1, range(5_000))[2000:2100])
    expected = np.exp(log_softmax(view.read(4, [7, 3]).astype(np.float64) / 2))
    np.testing.assert_allclose(
        view.probabilities(4, [7, 3], temperature=2.0), expected, rtol=1e-5, atol=1e-9
    )


@pytest.mark.parametrize("codec", ["dense", *LOSSY])
def test_the_error_that_a_store_states_is_the_one_that_numpy_measures(tmp_path, codec):
    view = cases.filled(tmp_path / "labels.zarr", (4,), codec=codec)
    given_logits, decoded = cases.logits_of(4), view.read(4, slice(None))
    true, coded = log_softmax(given_logits), log_softmax(decoded)
    divergence = (np.exp(true) * (true - coded)).sum(axis=1)
    stated = view.codec_error(4)
    assert stated["against"] == "float32"
    assert stated["max_abs"] == pytest.approx(
        np.abs(decoded.astype(np.float32) - given_logits).max(), rel=1e-6
    )
    assert stated["kl_mean"] == pytest.approx(divergence.mean(), rel=0.02)
    assert stated["kl_worst"] == pytest.approx(divergence.max(), rel=0.02)
    assert stated["kl_worst"] > stated["kl_mean"] > 0


def test_the_statistics_are_those_of_the_logits_given_whatever_the_codec(view, tmp_path):
    dense = cases.filled(tmp_path / "labels.zarr")
    for epoch in cases.EPOCHS:
        assert np.array_equal(view.entropy(epoch), dense.entropy(epoch))
        assert np.array_equal(view.cross_entropy(epoch), dense.cross_entropy(epoch))


def test_a_row_takes_the_bytes_that_its_code_promises(tmp_path):
    for codec, num_classes, expected in [
        ("dense", 100, 200),
        ("quantised:8", 100, 104),
        ("quantised:4", 100, 54),
        ("topk:5", 100, 22),
        ("topk:10", 100, 42),
        ("topk:40", 100, 162),
    ]:
        assert codec_named(codec).array(num_classes).row_bytes == expected
        assert labelstore.bytes_per_sample(num_classes, codec) == expected + 8
    view = cases.filled(tmp_path / "labels.zarr", codec="topk:2")
    array = zarr.open_array(view.folder / "codes", mode="r")
    assert array.shape == (5, cases.NUM_SAMPLES, 10)
    assert array.attrs["bytes_per_sample"] == 10
    assert array.attrs["codec"] == "topk:2"
    assert array.attrs["errors"]["4"] == view.codec_error(4)


def test_a_view_holds_several_codecs_side_by_side_and_dense_is_the_default(tmp_path):
    path = tmp_path / "labels.zarr"
    cases.filled(path)
    store = labelstore.open_store(path)
    for codec in LOSSY:
        assert labelstore.convert_labels(path, codec)["epochs_written"] == [0, 1, 4]
    assert store.codecs("expert-a") == ["dense", "quantised:4", "quantised:8", "topk:2"]
    assert store.view().codec == "dense"
    assert store.view(codec="topk:2").codec == "topk:2"
    assert store.view(codec="topk:2").id == store.view().id
    assert labelstore.verify_store(path)["ok"]


def test_without_dense_labels_the_only_codec_is_the_default_and_of_several_one_is_named(tmp_path):
    path = tmp_path / "labels.zarr"
    cases.filled(path, (1,), codec="topk:2")
    store = labelstore.open_store(path)
    assert store.view().codec == "topk:2"
    with pytest.raises(
        labelstore.ViewNotFound, match=r"dense, found topk:2.*dump-labels.*--codec dense"
    ):
        store.view(codec="dense")
    cases.filled(path, (1,), codec="quantised:4")
    with pytest.raises(labelstore.ViewNotFound, match=r"several codecs.*quantised:4, topk:2"):
        store.view()


def test_conversion_reads_as_a_direct_dump_does_and_keeps_the_statistics(tmp_path):
    path = tmp_path / "labels.zarr"
    dense = cases.filled(path)
    direct = cases.filled(tmp_path / "direct.zarr", codec="quantised:8")
    answer = labelstore.convert_labels(path, "quantised:8", epochs=[4])
    converted = labelstore.open_store(path).view(codec="quantised:8")
    assert converted.epochs == (4,)
    np.testing.assert_allclose(
        converted.read(4, slice(None)), direct.read(4, slice(None)), atol=0.1
    )
    assert np.array_equal(converted.entropy(4), dense.entropy(4))
    assert answer["table"][0]["against"] == "float16"
    assert converted.checkpoints == {4: dense.checkpoint_id(4)}
    assert labelstore.convert_labels(path, "quantised:8", epochs=[4])["epochs_written"] == []
    rest = labelstore.convert_labels(path, "quantised:8", dry_run=True)
    assert rest["epochs_missing"] == [0, 1]


def test_conversion_to_the_same_codec_or_of_a_missing_epoch_is_refused(tmp_path):
    path = tmp_path / "labels.zarr"
    cases.filled(path, (1,))
    with pytest.raises(labelstore.BadArgument, match="are dense already"):
        labelstore.convert_labels(path, "dense")
    with pytest.raises(labelstore.EpochNotDumped, match="epoch 3 is not complete"):
        labelstore.convert_labels(path, "topk:2", epochs=[3])
    assert labelstore.open_store(path).codecs("expert-a") == ["dense"]


@pytest.mark.parametrize("codec", ["dense", "quantised:8", "topk:2"])
def test_labels_that_lost_something_are_not_converted(tmp_path, codec):
    """They would pass for what an expert said: same view, same checkpoints, errors of zero."""
    path = tmp_path / "labels.zarr"
    cases.filled(path, (1,), codec="topk:1")
    with pytest.raises(labelstore.ViewNotFound, match=r"dense, found topk:1.*dump-labels"):
        labelstore.convert_labels(path, codec)
    assert labelstore.open_store(path).codecs("expert-a") == ["topk:1"]
    cases.filled(path, (1,))
    true = cases.filled(tmp_path / "true.zarr", (1,)).read(1, range(3))
    assert np.array_equal(labelstore.open_store(path).view().read(1, range(3)), true)


@pytest.mark.parametrize(
    ("codec", "what"),
    [
        ("klt", "expected dense, quantised:BITS"),
        ("quantised", "expected dense, quantised:BITS"),
        ("quantised:0", "expected 1 to 16 bits"),
        ("quantised:17", "expected 1 to 16 bits"),
        ("topk:0", "expected at least 1"),
        ("topk:6", "fewer than the 6 classes"),
        ("topk:-1", "expected dense"),
    ],
)
def test_codecs_that_cannot_be_meant_are_refused_and_leave_nothing(tmp_path, codec, what):
    with pytest.raises(labelstore.BadArgument, match=what):
        cases.new_view(tmp_path / "labels.zarr", codec=codec)
    assert labelstore.open_store(tmp_path / "labels.zarr").views() == []


def test_topk_refuses_more_classes_than_its_indices_reach():
    with pytest.raises(labelstore.BadArgument, match=r"65,536 classes, but there are 65,537"):
        codec_named("topk:10").array(65_537)
    assert codec_named("topk:10").array(65_536).row_bytes == 42


def test_a_codecs_folder_leads_back_to_it():
    for codec in LOSSY:
        assert codec_in_folder(codec_named(codec).folder).name == codec
    assert codec_in_folder("logits") is None
    assert codec_in_folder("topk-x") is None
