"""The label explorer on the page: whose images it shows, and what it lacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from explorer_cases import build_dataset, build_store, data_of, write_labels
from report_synthetic_sweep import grid, trial, write_sweep

from engine.errors import UsageError
from engine.experiments import select_random
from engine.report.explorer_place import explorer_of, students_images, students_labels
from engine.report.sweeps import read_sweeps
from labelstore import LabelStoreError

PER_CLASS = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """6 classes of 12 images, one of each kept for validation."""
    return build_dataset(tmp_path_factory.mktemp("place"), per_class=PER_CLASS)


@pytest.fixture(scope="module")
def store(data, tmp_path_factory):
    return build_store(data, tmp_path_factory.mktemp("place") / "labels.zarr")


def results_of(folder, data, records):
    parents = {"dataset": data.id, "store": None, "checkpoints": []}
    named = {"id": data.id, "name": "noise", "classes": list(data.classes), "num_classes": 6}
    every = [{**record, "parents": record["parents"] | parents} for record in records]
    return read_sweeps([write_sweep(folder / "sweep", every, dataset=named)])


def drawn(data, ipc, seed):
    labels = np.repeat(np.arange(6), PER_CLASS)
    candidates = np.setdiff1d(np.arange(len(labels)), data.validation_indices)
    return select_random(labels, candidates, ipc, seed, data.classes)


def test_the_images_are_those_of_students(data, store, tmp_path):
    results = results_of(tmp_path, data, grid({(2, 5): 0.1}, seeds=(4, 3)))
    fragment, note = explorer_of(results, data.path, store.path)
    assert note == ""
    assert sorted(data_of(fragment)["images"]) == sorted(drawn(data, 2, 3).tolist())
    assert "taken evenly from images that students were trained on" in fragment


@pytest.mark.parametrize(("ipcs", "shown"), [((1, 10, 11), 10), ((1, 2), 2), ((11,), 11)])
def test_they_are_of_the_smallest_ipc_that_fills_the_explorer(data, tmp_path, ipcs, shown):
    results = results_of(tmp_path, data, grid({(ipc, 5): 0.1 for ipc in ipcs}))
    assert students_images(results, data).tolist() == drawn(data, shown, 0).tolist()


def test_without_a_student_of_random_images_all_may_be_shown(data, store, tmp_path):
    records = [
        trial(1, 5, 0.1, cell={"selection": "herding@5"}),
        trial(2, 5, None, cell={"selection": "random"}, error="boom"),
    ]
    results = results_of(tmp_path, data, records)
    assert students_images(results, data) is None
    assert "taken evenly from the training split" in explorer_of(results, data.path, store.path)[0]


def test_one_source_without_the_other_is_refused_by_the_option_that_lacks(data, store, tmp_path):
    results = results_of(tmp_path, data, grid({(1, 5): 0.1}))
    with pytest.raises(UsageError, match="--labels STORE"):
        explorer_of(results, data.path, None)
    with pytest.raises(UsageError, match="--data DATA"):
        explorer_of(results, None, store.path)


def place_of(results, *places):
    return replace(results, places=tuple((str(data), str(labels)) for data, labels in places))


def test_the_labels_are_those_that_most_students_trained_on(data, tmp_path):
    """By the id of their view, which a report does not rename, and in the codec they were read."""
    store = build_store(data, tmp_path / "labels.zarr", experts=("a", "b"))
    flipped = store.add_view("b", "flip", identity={"transform": {"name": "flip"}}, codec="topk:2")
    write_labels(flipped, np.zeros(72, int), (3, 10), {}, np.random.default_rng(0))
    own = {"parents": {"view": flipped.id, "codec": "topk:2"}}
    cell = {"expert": "b (run 1234)", "view": "flip"}
    records = [
        *(trial(ipc, 3, 0.1, cell=cell, **own) for ipc in (1, 2)),
        trial(1, 3, 0.1, cell={"expert": "a"}),
        *(trial(ipc, None, 0.1) for ipc in (1, 2, 3)),
    ]
    results = results_of(tmp_path, data, records)
    assert students_labels(results, store) == {"expert": "b", "view": "flip", "codec": "topk:2"}
    fragment, note = explorer_of(place_of(results, (data.path, store.path)), None, None)
    assert note == ""
    assert "those of b under the view flip" in fragment


def test_an_ensemble_is_shown_by_a_member_and_unknown_labels_by_their_view(data, tmp_path):
    store = build_store(data, tmp_path / "labels.zarr", experts=("a", "b"))
    ids = [store.view(name).id for name in ("a", "b")]
    for views, expert, shown in (
        (ids[::-1], "b+a", {"expert": "a", "view": "plain", "codec": "dense"}),
        (["f" * 32], "elsewhere", {"view": "plain"}),
    ):
        parents = {"view": views, "codec": "dense"}
        records = [trial(1, 3, 0.1, cell={"expert": expert}, parents=parents)]
        assert students_labels(results_of(tmp_path / expert, data, records), store) == shown
    hard = results_of(tmp_path / "hard", data, [trial(1, None, 0.1)])
    assert students_labels(hard, store) == {}


def test_a_place_that_fails_leaves_the_explorer_to_the_next(data, store, tmp_path):
    results = results_of(tmp_path, data, grid({(1, 3): 0.1}))
    empty = tmp_path / "empty"
    empty.mkdir()
    own, gone = (data.path, store.path), (tmp_path / "moved", tmp_path / "moved")
    fragment, note = explorer_of(place_of(results, gone, (data.path, empty), own), None, None)
    assert (fragment != "", note) == (True, "")
    # The dataset named: the stores of all sweeps are tried with it.
    named = place_of(results, (gone[0], empty), (gone[0], store.path))
    assert explorer_of(named, data.path, None)[0] == fragment
    fragment, note = explorer_of(place_of(results, gone, (data.path, empty)), None, None)
    assert fragment == ""
    assert note.startswith("No label explorer: ")
    assert str(empty) in note
    assert explorer_of(place_of(results, gone), None, None) == ("", "")
    with pytest.raises(LabelStoreError):
        explorer_of(results, data.path, empty)
