"""A store, a view and an epoch belong to one dataset, one run and one checkpoint for good."""

from __future__ import annotations

import json

import labelstore_cases as cases
import pytest
import zarr

import labelstore
from labelstore.layout import group_document


def create(path, **changes):
    arguments = {"dataset_id": "dataset-1", "classes": cases.CLASSES, "num_samples": 5_000}
    return labelstore.create_store(path, **{**arguments, "chunk_rows": 2_048, **changes})


def test_creating_a_store_again_opens_it(tmp_path):
    first, again = create(tmp_path / "s"), create(tmp_path / "s", chunk_rows=None)
    assert (first.id, first.classes) == (again.id, cases.CLASSES)
    assert (again.num_samples, again.num_classes, again.dataset_id) == (5_000, 6, "dataset-1")
    assert again.geometry.chunk_rows == 2_048


def test_ids_come_from_content_and_not_from_extent_time_or_path(tmp_path):
    one, two = create(tmp_path / "a"), create(tmp_path / "b", chunk_rows=1_000)
    assert one.id == two.id
    views = [store.add_view("x", "plain", identity={"run_id": "r"}) for store in (one, two)]
    assert views[0].id == views[1].id
    assert one.add_view("y", "plain", identity={"run_id": "s"}).id != views[0].id
    assert create(tmp_path / "c", classes=cases.CLASSES[::-1]).id != one.id


@pytest.mark.parametrize("function", [labelstore.open_store, create])
def test_labels_of_another_dataset_are_refused_naming_both_ids(tmp_path, function):
    create(tmp_path / "s")
    with pytest.raises(labelstore.WrongDataset, match=r"dataset-1.*dataset-2"):
        function(tmp_path / "s", dataset_id="dataset-2")


@pytest.mark.parametrize("function", [labelstore.open_store, create])
def test_another_class_order_is_refused_naming_the_first_difference(tmp_path, function):
    create(tmp_path / "s")
    swapped = (*cases.CLASSES[:3], cases.CLASSES[4], cases.CLASSES[3], cases.CLASSES[5])
    with pytest.raises(labelstore.WrongClasses, match=r"class 3 is 'class 3' .*'class 4'"):
        function(tmp_path / "s", classes=swapped)
    with pytest.raises(labelstore.WrongClasses, match="expected 6 classes, found 5"):
        function(tmp_path / "s", classes=cases.CLASSES[:5])


def test_another_extent_of_an_existing_store_is_refused(tmp_path):
    create(tmp_path / "s")
    with pytest.raises(labelstore.WrongIdentity, match="num_samples 5000, but 4000"):
        create(tmp_path / "s", num_samples=4_000)
    with pytest.raises(labelstore.WrongIdentity, match="chunk_rows 2048, but 1000"):
        create(tmp_path / "s", chunk_rows=1_000)


def test_another_identity_of_a_view_is_refused_naming_the_first_difference(tmp_path):
    store = create(tmp_path / "s")
    store.add_view("e", "plain", identity={"run_id": "run-1", "precision": "fp32"})
    with pytest.raises(labelstore.WrongIdentity, match="precision 'fp32', but 'bf16'"):
        store.add_view("e", "plain", identity={"run_id": "run-1", "precision": "bf16"})
    with pytest.raises(labelstore.WrongIdentity, match="run_id 'run-1', but None"):
        store.add_view("e", "plain", identity={"precision": "fp32"})


def test_another_checkpoint_of_an_epoch_is_refused_naming_both_ids(tmp_path):
    view = cases.new_view(tmp_path / "s")
    view.prepare([3], {3: "first"})
    with pytest.raises(labelstore.WrongCheckpoint, match=r"epoch 3 .*first, but second"):
        view.writer([2, 3], {2: "other", 3: "second"})
    assert view.checkpoints == {3: "first"}


@pytest.mark.parametrize("epochs", [[-1], ["3"], [1.0], [4]])
def test_epochs_need_a_number_and_a_checkpoint(tmp_path, epochs):
    view = cases.new_view(tmp_path / "s")
    with pytest.raises(labelstore.BadArgument, match="epoch"):
        view.writer(epochs, {-1: "c", 1: "c", 3: "c"})


@pytest.mark.parametrize("rank", [{"rank": 2, "world": 2}, {"rank": -1}, {"block_rows": 0}])
def test_ranks_and_blocks_that_cannot_be_are_refused(tmp_path, rank):
    with pytest.raises(labelstore.BadArgument, match=r"rank|block_rows"):
        cases.new_view(tmp_path / "s").writer([0], cases.CHECKPOINTS, **rank)


@pytest.mark.parametrize("name", ["", ".x", "_x", "a/b", "zarr.json", "a\\b"])
def test_names_that_are_no_folders_are_refused(tmp_path, name):
    store = create(tmp_path / "s")
    with pytest.raises(labelstore.BadArgument, match="expected a folder name"):
        store.add_view(name, "plain", identity={})
    with pytest.raises(labelstore.BadArgument, match="expected a folder name"):
        store.add_view("e", name, identity={})


def test_views_with_parameters_in_their_name_are_fine(tmp_path):
    store = create(tmp_path / "s")
    store.add_view("e", "crop:4", identity={"transform": {"crops": 4, "seed": 0}})
    assert store.view(view="crop:4").identity == {"transform": {"crops": 4, "seed": 0}}


@pytest.mark.parametrize("identity", [{"id": "x"}, {"x": object()}, {"x": float("nan")}])
def test_an_identity_that_cannot_be_kept_is_refused(tmp_path, identity):
    with pytest.raises(labelstore.BadArgument, match="identity"):
        create(tmp_path / "s").add_view("e", "plain", identity=identity)


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset_id": ""},
        {"classes": []},
        {"classes": "abc"},
        {"num_samples": 0},
        {"chunk_rows": 0},
    ],
)
def test_a_store_of_nothing_is_refused(tmp_path, changes):
    with pytest.raises(labelstore.BadArgument):
        create(tmp_path / "s", **changes)
    assert not (tmp_path / "s").exists()


def test_a_path_that_is_no_store_is_refused_with_the_command_that_makes_one(tmp_path):
    for path in (tmp_path, tmp_path / "absent", tmp_path / "file"):
        (tmp_path / "file").write_text("x")
        with pytest.raises(labelstore.StoreNotFound, match="engine dump-labels"):
            labelstore.open_store(path)


def test_a_folder_or_file_of_something_else_is_not_written_into(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(labelstore.StoreNotFound, match="another --out"):
            create(path)
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_a_zarr_group_of_somebody_else_is_no_damaged_store(tmp_path):
    group = zarr.open_group(tmp_path / "s", mode="w", attributes={"title": "sea ice"})
    group.create_array("thickness", shape=(3,), dtype="float32")
    before = cases.bytes_of(tmp_path / "s")
    for given in (tmp_path / "s", zarr.storage.LocalStore(tmp_path / "s")):
        with pytest.raises(labelstore.StoreNotFound, match="found another Zarr group"):
            labelstore.open_store(given)
    with pytest.raises(labelstore.StoreNotFound, match="another --out"):
        create(tmp_path / "s")
    assert cases.bytes_of(tmp_path / "s") == before


@pytest.mark.parametrize("codec", ["dense", "quantised:8"])
def test_a_lost_identity_is_only_made_again_for_the_same_dataset(tmp_path, codec):
    view = cases.filled(tmp_path / "s", (0,), codec=codec)
    before = cases.bytes_of(tmp_path / "s")
    (tmp_path / "s/zarr.json").unlink()
    with pytest.raises(labelstore.WrongDataset):
        create(tmp_path / "s", dataset_id="dataset-2", chunk_rows=None)
    create(tmp_path / "s", chunk_rows=None)
    assert cases.bytes_of(tmp_path / "s") == before
    assert view.epochs == (0,)


def write_format(group, number):
    """The group as another version wrote it; the first one knew of no crops."""
    attributes = json.loads((group / "zarr.json").read_bytes())["attributes"]
    if number == 1:
        attributes.pop("crops", None)
    (group / "zarr.json").write_bytes(group_document(attributes | {"format": number}))


@pytest.mark.parametrize(
    ("number", "remedy"), [(1, "engine dump-labels --data"), (3, "install that version")]
)
def test_labels_of_another_format_are_refused_with_what_to_do(tmp_path, number, remedy):
    cases.filled(tmp_path / "s", (0,))
    write_format(tmp_path / "s/expert-a/plain", number)
    message = rf"expected labels of format 2, found format {number}; .*{remedy}"
    with pytest.raises(labelstore.WrongFormat, match=message):
        labelstore.open_store(tmp_path / "s").view()
    with pytest.raises(labelstore.WrongFormat, match=message):
        labelstore.verify_store(tmp_path / "s")
    write_format(tmp_path / "s", number)
    for use in (labelstore.open_store, labelstore.store_info, labelstore.verify_store, create):
        with pytest.raises(labelstore.WrongFormat, match=message):
            use(tmp_path / "s")
    (tmp_path / "s/zarr.json").unlink()
    with pytest.raises(labelstore.WrongFormat, match=message):
        create(tmp_path / "s", chunk_rows=None)


def test_damaged_metadata_is_not_read(tmp_path):
    cases.filled(tmp_path / "s", (0,))
    plain = tmp_path / "s/expert-a/plain"
    for file in (tmp_path / "s/zarr.json", plain / "zarr.json", plain / "logits/zarr.json"):
        original = file.read_bytes()
        for changed in (original.replace(b"1", b"2"), original[:-5], b"[]", b"\xff"):
            file.write_bytes(changed)
            with pytest.raises(labelstore.LabelStoreError):
                labelstore.open_store(tmp_path / "s").view().read(0, [1])
        file.write_bytes(original)
