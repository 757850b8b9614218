"""Labels made elsewhere: from .npz and from parquet."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import labelstore_cases as cases
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelstore_imports_cases import (
    LOGITS,
    ORDER,
    PROBABILITIES,
    C,
    N,
    do_import,
    npz,
    parquet,
    view_of,
)

import labelstore


def sources(folder):
    """Every form in which the same logits may come."""
    few = slice(0, 1_999), slice(1_999, N)
    yield npz(folder / "a.npz", logits=LOGITS)
    yield npz(folder / "b.npz", compressed=False, logits=LOGITS.astype(np.float64))
    yield npz(folder / "c.npz", logits=np.asfortranarray(LOGITS))
    yield npz(folder / "d.npz", logits=LOGITS[ORDER], indices=ORDER)
    yield npz(folder / "e.npz", logits=LOGITS, indices=np.arange(N, dtype=np.uint16))
    yield parquet(folder / "f.parquet", LOGITS)
    yield parquet(folder / "g.parquet", LOGITS, fixed=True)
    yield parquet(folder / "h.parquet", LOGITS[ORDER], fixed=True, index=ORDER)
    for i, part in enumerate(few):
        parquet(folder / f"hub/data/train-{i:05d}-of-00002.parquet", LOGITS[part])
        parquet(folder / f"hub/data/test-{i:05d}-of-00002.parquet", LOGITS[:3])
    yield folder / "hub"
    for i, part in enumerate(few):
        parquet(folder / f"shards/{i}.parquet", LOGITS[ORDER][part], index=ORDER[part])
    yield folder / "shards"


def test_any_file_with_the_same_logits_gives_the_same_labels_as_a_dump(tmp_path):
    dumped = cases.filled(tmp_path / "dumped.zarr", (0,))
    for source in sources(tmp_path):
        store = tmp_path / "stores" / source.name
        result = do_import(store, source)
        view = view_of(store)
        assert np.array_equal(view.read(0, range(N)), LOGITS.astype(np.float16))
        assert np.array_equal(view.entropy(0), dumped.entropy(0))
        assert np.array_equal(view.cross_entropy(0), dumped.cross_entropy(0))
        assert result["status"] == "imported"
        assert result["samples"] == N
        assert result["mean_entropy"] == pytest.approx(float(dumped.entropy(0).mean()))
        assert labelstore.verify_store(store)["ok"]


@settings(max_examples=25)
@given(
    st.lists(st.floats(0, 1, width=32), min_size=12, max_size=12).filter(
        lambda values: all(sum(values[i : i + 3]) > 1e-3 for i in range(0, 12, 3))
    )
)
def test_probabilities_are_read_back_as_they_were(tmp_path_factory, values):
    rows = np.array(values).reshape(4, 3)
    rows /= rows.sum(axis=1, keepdims=True)
    folder = tmp_path_factory.mktemp("probabilities")
    source = npz(folder / "a.npz", probabilities=rows.astype(np.float32))
    options = {"classes": [*"abc"], "labels": np.zeros(4, int)}
    do_import(folder / "s.zarr", source, **options)
    view = view_of(folder / "s.zarr")
    np.testing.assert_allclose(view.probabilities(0, range(4)), rows, atol=2e-3)
    assert view.read(0, range(4)).min() >= -60


@pytest.mark.parametrize("name", ["probabilities", "probs", "soft_label", "soft_labels"])
def test_the_name_of_a_column_says_what_it_holds(tmp_path, name):
    rows = PROBABILITIES.astype(np.float32)
    do_import(tmp_path / "p.zarr", parquet(tmp_path / "p.parquet", rows, column=name))
    do_import(tmp_path / "n.zarr", npz(tmp_path / "n.npz", **{name: rows}))
    for store in ("p.zarr", "n.zarr"):
        view = view_of(tmp_path / store)
        np.testing.assert_allclose(view.probabilities(0, range(N)), rows, atol=4e-3)
        assert view.identity["source"]["values"] == "probabilities"


def test_one_hot_probabilities_become_one_hot_labels(tmp_path):
    one_hot = np.eye(C, dtype=np.uint8)[cases.LABELS]
    do_import(tmp_path / "s.zarr", npz(tmp_path / "a.npz", probabilities=one_hot))
    view = view_of(tmp_path / "s.zarr")
    np.testing.assert_allclose(view.probabilities(0, range(N)), one_hot, atol=1e-25)
    assert set(np.unique(view.read(0, range(N)))) == {-60.0, 0.0}
    assert view.cross_entropy(0).max() < 1e-6


def test_columns_can_be_named_and_then_their_values_must_be(tmp_path):
    source = parquet(
        tmp_path / "a.parquet", LOGITS[ORDER], column="teacher", place=pa.array(ORDER, pa.int32())
    )
    options = {"column": "teacher", "index_column": "place"}
    with pytest.raises(labelstore.BadSource, match="'teacher' does not say what it holds"):
        do_import(tmp_path / "s.zarr", source, **options)
    do_import(tmp_path / "s.zarr", source, values="logits", **options)
    assert np.array_equal(view_of(tmp_path / "s.zarr").read(0, [3]), LOGITS[[3]].astype(np.float16))


def test_the_store_says_where_its_labels_came_from(tmp_path):
    source = npz(tmp_path / "a.npz", logits=LOGITS)
    checksum = hashlib.blake2b(source.read_bytes(), digest_size=16).hexdigest()
    do_import(tmp_path / "s.zarr", source, epoch=7)
    view = view_of(tmp_path / "s.zarr")
    named = {"teacher": "elsewhere", "view": "plain"}
    assert view.identity["source"] == {"kind": "npz", "values": "logits", **named}
    assert view.checkpoint_id(7) == f"{checksum}/logits"
    assert view.about(7)["source"]["file"] == "a.npz"
    assert view.about(7)["source"]["checksum"] == checksum
    assert view.epochs == (7,)


def test_other_epochs_experts_and_codecs_extend_the_store(tmp_path):
    store = tmp_path / "s.zarr"
    do_import(store, npz(tmp_path / "0.npz", logits=LOGITS))
    do_import(store, npz(tmp_path / "1.npz", logits=cases.logits_of(1)), epoch=1)
    do_import(store, parquet(tmp_path / "0.parquet", LOGITS), expert="other", codec="quantised:8")
    view = view_of(store, expert="elsewhere")
    assert np.array_equal(view.read(1, [4]), cases.logits_of(1)[[4]].astype(np.float16))
    other = view_of(store, expert="other")
    assert other.codec == "quantised:8"
    assert np.abs(other.read(0, range(N)) - LOGITS).max() < 0.1
    assert labelstore.verify_store(store)["ok"]


def test_teachers_and_views_of_one_kind_of_file_have_ids_of_their_own(tmp_path):
    """Trials and questions of a sweep tell labels apart by them."""
    source, store = npz(tmp_path / "a.npz", logits=LOGITS), tmp_path / "s.zarr"
    for expert, view in (("resnet", "plain"), ("vit", "plain"), ("vit", "crop-mean")):
        do_import(store, source, expert=expert, view=view)
    opened = labelstore.open_store(store)
    assert len({opened.view(*names).id for names in opened.views()}) == 3
    do_import(tmp_path / "t.zarr", source, expert="vit")
    assert view_of(tmp_path / "t.zarr").id == view_of(store, expert="vit").id


def test_a_view_of_an_earlier_version_which_named_no_teacher_is_extended_as_it_is(tmp_path):
    path = tmp_path / "s.zarr"
    store = labelstore.create_store(
        path, dataset_id="dataset-1", classes=cases.CLASSES, num_samples=N
    )
    before = store.add_view(
        "elsewhere", "plain", identity={"source": {"kind": "npz", "values": "logits"}}
    )
    do_import(path, npz(tmp_path / "0.npz", logits=LOGITS))
    do_import(path, npz(tmp_path / "1.npz", logits=LOGITS), epoch=1, codec="topk:2")
    assert view_of(path, codec="dense").epochs == (0,)
    assert view_of(path, codec="topk:2").epochs == (1,)
    assert view_of(path).id == before.id
    with pytest.raises(labelstore.WrongIdentity, match="source"):
        do_import(path, npz(tmp_path / "p.npz", probabilities=PROBABILITIES), epoch=2)


def test_a_folder_of_other_files_is_refused_before_the_labels_are_read(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(labelstore.StoreNotFound, match=r"found 'notes.txt' there"):
        do_import(tmp_path / "mine", npz(tmp_path / "a.npz", logits=LOGITS[:3]))


def test_the_same_again_does_nothing_and_another_file_is_refused(tmp_path):
    store = tmp_path / "s.zarr"
    source = npz(tmp_path / "a.npz", logits=LOGITS)
    do_import(store, source)
    before = cases.bytes_of(store)
    assert do_import(store, source)["status"] == "finished already"
    assert cases.bytes_of(store) == before
    with pytest.raises(labelstore.WrongCheckpoint, match="epoch 0 was begun with checkpoint"):
        do_import(store, npz(tmp_path / "b.npz", logits=LOGITS + 1))
    with pytest.raises(labelstore.WrongIdentity, match="source"):
        do_import(store, parquet(tmp_path / "a.parquet", LOGITS), epoch=1)
    with pytest.raises(labelstore.WrongDataset, match="dataset-2"):
        do_import(store, source, dataset_id="dataset-2")
    with pytest.raises(labelstore.WrongClasses, match="class 1"):
        do_import(store, source, classes=["class 0", "x", *cases.CLASSES[2:]])
    assert cases.bytes_of(store) == before


def with_value(row, column, value, rows=LOGITS):
    changed = rows.copy()
    changed[row, column] = value
    return changed


def damaged(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
    return path


PART = np.arange(N)
BAD = {
    "no such file": (lambda p: p / "no.npz", "found nothing there"),
    "another kind": (lambda p: npz(p / "a.npz", logits=LOGITS).rename(p / "a.bin"), "another kind"),
    "no npz": (lambda p: (p / "a.npz").write_bytes(b"PK") and p / "a.npz", "expected an .npz file"),
    "pickled": (lambda p: npz(p / "a.npz", logits=np.array([{}])), "pickled objects"),
    "damaged npz": (
        lambda p: damaged(npz(p / "a.npz", compressed=False, logits=LOGITS), 90_000),
        "'logits' is damaged",
    ),
    "damaged parquet": (lambda p: damaged(parquet(p / "a.parquet", LOGITS), -3), "readable"),
    "no parquet": (lambda p: p, "expected .parquet files in this folder"),
    "no column": (lambda p: npz(p / "a.npz", x=LOGITS), "expected one of logits, .* it has x"),
    "one axis": (lambda p: npz(p / "a.npz", logits=LOGITS[0]), r"numbers \(samples, classes\)"),
    "text": (lambda p: parquet(p / "a.parquet", [["a"]] * N), "expected a list of numbers"),
    "no list": (lambda p: parquet(p / "a.parquet", [1.0] * N), "expected a list of numbers"),
    "ragged": (
        lambda p: parquet(p / "a.parquet", [*LOGITS[:2_500], LOGITS[0, :5], *LOGITS[2_501:]]),
        "row 2500: expected 6 values .* found 5",
    ),
    "no row": (
        lambda p: parquet(p / "a.parquet", [*LOGITS[:2_500], None, *LOGITS[2_501:]]),
        "row 2500: expected 6 values .* found nothing",
    ),
    "real indices": (
        lambda p: npz(p / "a.npz", logits=LOGITS, indices=PART / 2),
        "expected integers",
    ),
    "missing": (
        lambda p: npz(p / "a.npz", logits=LOGITS[:-1], indices=np.delete(PART, 77)),
        "sample 77 is not described",
    ),
    "twice": (
        lambda p: parquet(p / "a.parquet", LOGITS, index=np.where(PART == 9, 3, PART)),
        r"sample 3 is described 2 times \(rows 3, 9\)",
    ),
    "outside": (
        lambda p: parquet(p / "a.parquet", LOGITS, index=PART + 1),
        "row 4999 describes sample 5000",
    ),
    "negative": (
        lambda p: npz(p / "a.npz", logits=LOGITS, indices=PART - 1),
        "row 0 describes sample -1",
    ),
    "no sum": (
        lambda p: npz(
            p / "a.npz", probabilities=PROBABILITIES * np.where(PART == 3_000, 2, 1)[:, None]
        ),
        "sample 3000 .* sum to 2;",
    ),
    "below zero": (
        lambda p: npz(p / "a.npz", probabilities=with_value(8, 1, -0.001, PROBABILITIES)),
        "sample 8 lie between -0.001 and",
    ),
    "no probability": (
        lambda p: npz(p / "a.npz", probabilities=with_value(8, 1, np.nan, PROBABILITIES)),
        "sample 8 lie between nan",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_saying_what_and_where_and_nothing_is_made(tmp_path, case):
    make, message = BAD[case]
    source = make(tmp_path)
    with pytest.raises(labelstore.BadSource, match=message) as error:
        do_import(tmp_path / "s.zarr", source)
    assert str(tmp_path) in str(error.value)
    assert not (tmp_path / "s.zarr").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 70_000.0])
@pytest.mark.parametrize("order", [np.arange(N), ORDER])
def test_logits_that_cannot_be_stored_are_refused_naming_sample_and_class(tmp_path, value, order):
    rows = with_value(4_321, 2, value)[order]
    source = npz(tmp_path / "a.npz", logits=rows, indices=order)
    with pytest.raises(labelstore.BadLogits, match="sample 4321, class 2 is"):
        do_import(tmp_path / "s.zarr", source)
    assert not (tmp_path / "s.zarr").exists()


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (LOGITS[:, :5], labelstore.WrongClasses, "expected 6 classes.* found 5"),
        (LOGITS[:-1], labelstore.WrongDataset, "each of the 5000 samples.* found 4999"),
    ],
)
def test_other_numbers_of_classes_or_samples_are_refused(tmp_path, rows, error, message):
    for source in (npz(tmp_path / "a.npz", logits=rows), parquet(tmp_path / "a.parquet", rows)):
        with pytest.raises(error, match=message):
            do_import(tmp_path / "s.zarr", source)


@pytest.mark.parametrize(
    "options",
    [
        {"labels": cases.LABELS[:, None]},
        {"labels": cases.LABELS / 1},
        {"labels": cases.LABELS + 1},
        {"values": "odds"},
        {"checkpoint_id": "mine"},
        {"codec": "zip"},
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(tmp_path, options):
    source = npz(tmp_path / "a.npz", logits=LOGITS)
    with pytest.raises(labelstore.BadArgument, match=next(iter(options))):
        do_import(tmp_path / "s.zarr", source, **options)
    assert not (tmp_path / "s.zarr").exists()


def test_a_plan_checks_the_file_and_makes_nothing(tmp_path):
    source = npz(tmp_path / "a.npz", logits=LOGITS)
    plan = do_import(tmp_path / "s.zarr", source, dry_run=True)
    assert plan["plan"] == "import-labels"
    assert plan["epochs_missing"] == [0]
    assert plan["bytes"] == N * (2 * C + 8)
    assert not (tmp_path / "s.zarr").exists()
    bad = npz(tmp_path / "b.npz", logits=with_value(0, 0, np.nan))
    with pytest.raises(labelstore.BadLogits):
        do_import(tmp_path / "s.zarr", bad, dry_run=True)
    do_import(tmp_path / "s.zarr", source)
    plan = do_import(tmp_path / "s.zarr", source, dry_run=True)
    assert (plan["epochs_missing"], plan["bytes"]) == ([], 0)


def test_progress_counts_the_rows_that_were_checked_and_written(tmp_path):
    steps = []
    source = npz(tmp_path / "a.npz", logits=LOGITS)
    do_import(tmp_path / "s.zarr", source, progress=lambda *step: steps.append(step))
    assert {step[0] for step in steps} == {"check labels", "import labels"}
    for what in ("check labels", "import labels"):
        done = [step[1] for step in steps if step[0] == what]
        assert done == sorted(done)
        assert done[-1] == N
    assert all(step[2] == N for step in steps)


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_memory_does_not_grow_with_a_file_in_sample_order(tmp_path, suffix):
    peaks, default_pool = [], pa.default_memory_pool()
    for num_samples in (8_192, 40_960):
        rows, path = np.zeros((num_samples, 100), np.float32), tmp_path / f"{num_samples}.{suffix}"
        if suffix == "npz":
            npz(path, logits=rows)
        else:
            parquet(path, rows, fixed=True, row_group_size=2_048)
        labels = np.zeros(num_samples, int)
        del rows
        pool = pa.proxy_memory_pool(pa.system_memory_pool())
        pa.set_memory_pool(pool)
        tracemalloc.start()
        try:
            do_import(tmp_path / "s.zarr", path, classes=range(100), labels=labels, dry_run=True)
            peaks.append(tracemalloc.get_traced_memory()[1] + pool.max_memory())
        finally:
            tracemalloc.stop()
            pa.set_memory_pool(default_pool)
    assert peaks[1] < peaks[0] + 4_000_000  # 13 MB more are in the file


def test_an_interrupted_file_resumes_to_the_same_bytes(tmp_path):
    source = parquet(tmp_path / "a.parquet", LOGITS[ORDER], index=ORDER)
    do_import(tmp_path / "whole.zarr", source)

    def stop(what, done, total):
        if what == "import labels" and done > 2_500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        do_import(tmp_path / "s.zarr", source, progress=stop)
    do_import(tmp_path / "s.zarr", source)
    assert cases.bytes_of(tmp_path / "s.zarr") == cases.bytes_of(tmp_path / "whole.zarr")


def test_importing_an_npz_needs_neither_pyarrow_nor_torch(tmp_path):
    np.savez(tmp_path / "a.npz", logits=LOGITS)
    code = (
        "import sys, labelstore, numpy as np; "
        f"labelstore.import_labels('s.zarr', 'a.npz', dataset_id='d', classes=[*'abcdef'], "
        f"labels=np.zeros({N}, int), expert='e'); "
        "assert not {'torch', 'pyarrow', 'engine', 'zarr'} & set(sys.modules)"
    )
    root = str(Path(labelstore.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": root}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
