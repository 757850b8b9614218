"""Every flipped byte and every missing file is found, named, and mended as the message says."""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
from pathlib import Path

import labelstore_cases as cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import labelstore
from labelstore import writer

ABOUT = {0: {"test_accuracy": 0.1}, 2: {"test_accuracy": 0.3}}


def dump(path: Path, epochs: tuple[int, ...], codec: str = "dense") -> None:
    """As `engine dump-labels` does: notes what is known of the checkpoints, writes what lacks."""
    view = cases.new_view(path, codec=codec)
    view.prepare(epochs, cases.CHECKPOINTS, {epoch: ABOUT[epoch] for epoch in epochs})
    cases.fill(view, epochs)


def do_what_it_says(problem: str, path: Path) -> None:
    """Runs the commands that a problem names, in their order, each as it stands."""
    commands = re.findall(r"`([^`]+)`", problem)
    assert commands[-1].startswith(f"engine dump-labels --data DATA --expert RUN --out {path} ")
    for command in commands[:-1]:
        subprocess.run(command.split(), check=True)
    _, _, codec = commands[-1].partition(" --codec ")
    dump(path, epochs_of(commands[-1]), codec.split()[0] if codec else "dense")


def epochs_of(command: str) -> tuple[int, ...]:
    """Of `--epochs 0-2,5`."""
    (listed,) = re.findall(r"--epochs (\S+)", command)
    spans = [[int(end) for end in part.split("-")] for part in listed.split(",")]
    return tuple(epoch for span in spans for epoch in range(span[0], span[-1] + 1))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("verify") / "labels.zarr"
    dump(path, (0, 2))
    return path


def stored_files(path: Path) -> list[Path]:
    """Every file with content; the lock file is empty."""
    return sorted(each for each in path.rglob("*") if each.is_file() and each.stat().st_size)


@pytest.fixture(scope="module")
def one_of_each_kind(store):
    plain = store / "expert-a/plain"
    kinds = [store, store / "expert-a", plain, plain / "logits", plain / "entropy"]
    return [each / "zarr.json" for each in kinds] + [
        plain / "logits/.complete/0002/00001.json",
        plain / "logits/c.2.1.0",
        plain / "entropy/c.0.2",
        plain / "cross_entropy/c.2.0",
    ]


def test_an_intact_store_is_ok_and_every_file_was_read(store):
    stages = []
    verdict = labelstore.verify_store(store, progress=lambda *step: stages.append(step))
    assert verdict["ok"]
    assert verdict["problems"] == []
    assert verdict["checked"] == len(stored_files(store))
    assert stages[-1] == ("verify", 6, 6)


@settings(max_examples=150)
@given(data=st.data())
def test_every_flipped_byte_is_found_and_its_file_named(store, data):
    file = data.draw(st.sampled_from(stored_files(store)))
    original = file.read_bytes()
    place = data.draw(st.integers(0, len(original) - 1))
    change = data.draw(st.integers(1, 255))
    try:
        file.write_bytes(
            original[:place] + bytes([original[place] ^ change]) + original[place + 1 :]
        )
        verdict = labelstore.verify_store(store)
    finally:
        file.write_bytes(original)
    assert not verdict["ok"]
    assert any(str(file) in problem for problem in verdict["problems"])


@pytest.mark.long
def test_every_single_byte_of_every_document_is_covered(store):
    for file in stored_files(store):
        if file.suffix != ".json":
            continue
        original = file.read_bytes()
        for place in range(len(original)):
            changed = bytearray(original)
            changed[place] ^= 1
            file.write_bytes(changed)
            found = any(str(file) in each for each in labelstore.verify_store(store)["problems"])
            file.write_bytes(original)
            assert found, (file, place)


def test_every_missing_or_short_file_is_found(store):
    for file in stored_files(store):
        original = file.read_bytes()
        for broken in (None, original[:-1], original + b"\0", b""):
            file.unlink()
            if broken is not None:
                file.write_bytes(broken)
            verdict = labelstore.verify_store(store)
            file.write_bytes(original)
            assert not verdict["ok"], (file, broken)
    assert labelstore.verify_store(store)["ok"]


def test_doing_what_the_message_says_mends_every_kind_of_damage(store, one_of_each_kind, tmp_path):
    expected = cases.bytes_of(store)
    for file in one_of_each_kind:
        copy = tmp_path / "copy"
        shutil.copytree(store, copy)
        damaged = copy / file.relative_to(store)
        data = bytearray(damaged.read_bytes())
        data[len(data) // 2] ^= 1
        damaged.write_bytes(data)
        verdict = labelstore.verify_store(copy)
        assert verdict["damaged"] == 1
        do_what_it_says(verdict["problems"][0], copy)
        assert labelstore.verify_store(copy)["problems"] == [], file
        assert cases.bytes_of(copy) == expected
        shutil.rmtree(copy)


@pytest.mark.parametrize("codec", ["quantised:8", "topk:2"])
def test_documents_of_a_store_without_dense_labels_are_mended_as_the_message_says(tmp_path, codec):
    path = tmp_path / "labels.zarr"
    dump(path, (0, 2), codec)
    expected = cases.bytes_of(path)
    for file in sorted(path.rglob("zarr.json")):
        damage(file, file.stat().st_size // 2)
        (problem,) = labelstore.verify_store(path)["problems"]
        do_what_it_says(problem, path)
        assert cases.bytes_of(path) == expected, file


def test_a_dump_killed_before_its_last_note_is_unfinished_and_loses_nothing(
    store, tmp_path, monkeypatch
):
    path = tmp_path / "labels.zarr"
    dump(path, (0,))
    with monkeypatch.context() as patch:
        patch.setattr(writer, "note_errors", lambda *_: None)
        dump(path, (2,))
    verdict = labelstore.verify_store(path)
    assert (verdict["damaged"], verdict["unfinished"]) == (0, {"expert-a/plain": [2]})
    (problem,) = verdict["problems"]
    assert "rm " not in problem
    whole = labelstore.open_store(store).view()
    assert labelstore.open_store(path).view().codec_error(2) == whole.codec_error(2)
    (described,) = labelstore.store_info(path)["views"]
    assert described["codec_errors"]["2"] == whole.codec_error(2)
    do_what_it_says(problem, path)
    assert labelstore.verify_store(path)["problems"] == []
    assert cases.bytes_of(path) == cases.bytes_of(store)


@pytest.mark.parametrize("name", ["logits/c.2.1.0", "logits/.complete/0002/00001.json"])
def test_a_file_that_the_disk_cannot_read_is_damage_among_the_rest(
    store, tmp_path, monkeypatch, name
):
    shutil.copytree(store, tmp_path / "copy")
    broken = tmp_path / "copy/expert-a/plain" / name
    (tmp_path / "copy/expert-a/plain/entropy/c.0.2").write_bytes(b"short")
    open_file = Path.open

    def failing(path, *arguments, **options):
        if path == broken:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", failing)
    problems = labelstore.verify_store(tmp_path / "copy")["problems"]
    assert len(problems) == 2
    (problem,) = [each for each in problems if each.startswith(str(broken))]
    assert "cannot be read (Input/output error); make it again" in problem


def test_a_subset_made_of_damaged_labels_goes_with_them(store, tmp_path):
    path, rows = tmp_path / "labels.zarr", [5, 6, 7]
    shutil.copytree(store, path)
    whole = labelstore.open_store(path).view().read(2, rows).copy()
    damage(path / "expert-a/plain/logits/c.2.0.0", 5 * 2 * cases.NUM_CLASSES + 1)
    wrong = labelstore.materialise(labelstore.open_store(path).view(), [2], rows)
    assert not np.array_equal(wrong[0], whole)
    (problem,) = labelstore.verify_store(path)["problems"]
    do_what_it_says(problem, path)
    assert labelstore.verify_store(path)["ok"]
    mended = labelstore.materialise(labelstore.open_store(path).view(), [2], rows)
    assert np.array_equal(mended[0], whole)


def test_a_subset_that_is_not_what_the_store_holds_is_found(store, tmp_path):
    path = tmp_path / "labels.zarr"
    shutil.copytree(store, path)
    chunk = path / "expert-a/plain/logits/c.2.0.0"
    whole = chunk.read_bytes()
    damage(chunk, 1)
    for rows in ([0], [1]):
        labelstore.materialise(labelstore.open_store(path).view(), [0, 2], rows)
    chunk.write_bytes(whole)
    verdict = labelstore.verify_store(path)
    assert verdict["damaged"] == 1
    assert "its labels of epoch 2 are not those of" in verdict["problems"][0]


def damage(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 0x40
    file.write_bytes(data)


def test_the_command_names_the_epoch_that_must_be_dumped_again(store, tmp_path):
    shutil.copytree(store, tmp_path / "copy")
    (tmp_path / "copy/expert-a/plain/logits/c.2.1.0").unlink()
    (problem,) = labelstore.verify_store(tmp_path / "copy")["problems"]
    assert "c.2.1.0: it is missing" in problem
    assert "00001.json` and then `engine dump-labels" in problem
    assert "--epochs 2" in problem


def test_files_swapped_between_epochs_or_stores_are_found(store, tmp_path):
    shutil.copytree(store, tmp_path / "copy")
    records = tmp_path / "copy/expert-a/plain/logits/.complete"
    shutil.copy(records / "0000/00000.json", records / "0002/00000.json")
    assert "record of another chunk" in labelstore.verify_store(tmp_path / "copy")["problems"][0]
    other = labelstore.create_store(
        tmp_path / "other", dataset_id="other", classes=cases.CLASSES, num_samples=5_000
    )
    other.add_view("expert-a", "plain", identity=cases.IDENTITY)
    shutil.copy(tmp_path / "other/expert-a/plain/zarr.json", tmp_path / "copy/expert-a/plain")
    problems = labelstore.verify_store(tmp_path / "copy")["problems"]
    assert any("not the identity of a label-view of this store" in each for each in problems)


def test_an_unfinished_epoch_is_told_from_damage(tmp_path):
    view = cases.new_view(tmp_path / "labels.zarr")
    with view.writer([3], cases.CHECKPOINTS) as writer:
        start, stop, _ = next(writer.missing_blocks())
        writer.write(3, start, cases.logits_of(3)[start:stop], cases.LABELS[start:stop])
    verdict = labelstore.verify_store(tmp_path / "labels.zarr")
    assert verdict["unfinished"] == {"expert-a/plain": [3]}
    (problem,) = verdict["problems"]
    assert "epochs 3 are not complete (2 chunks are missing)" in problem


def test_a_chunk_file_without_a_record_is_found(store, tmp_path):
    shutil.copytree(store, tmp_path / "copy")
    shutil.copy(
        store / "expert-a/plain/entropy/c.2.0", tmp_path / "copy/expert-a/plain/entropy/c.9.0"
    )
    (problem,) = labelstore.verify_store(tmp_path / "copy")["problems"]
    assert "c.9.0: no completion record" in problem


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(labelstore.StoreNotFound, match=r"found no zarr\.json"):
        labelstore.verify_store(tmp_path)
