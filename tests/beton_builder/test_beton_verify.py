"""Every flipped byte is found, and the damaged sample is named."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from beton_samples import file_hashes, parse_beton, small_folder
from hypothesis import example, given, settings
from hypothesis import strategies as st

from beton_builder import (
    DamagedDataset,
    DatasetExists,
    DatasetNotFound,
    build_beton,
    dataset_info,
    manifest,
    open_dataset,
    verify_dataset,
)

FILES = (
    "manifest.json", "train.samples.parquet", "test.samples.parquet", "train.beton", "test.beton",
)  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    build_beton(small_folder(folder / "source"), folder / "data")
    return folder / "data"


def flipped(path: Path, position: int, bit: int) -> int:
    """Flip one bit in place; returns where."""
    with path.open("r+b") as file:
        position %= path.stat().st_size
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1 << bit]))
    return position


def test_a_fresh_dataset_is_whole(built: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    result = verify_dataset(built, progress=lambda *call: calls.append(call))
    assert result == {"ok": True, "checked": 10, "problems": []}
    assert calls == [("verify train", 8, 8), ("verify test", 2, 2)]


@settings(max_examples=60)
@given(
    st.sampled_from(FILES),
    st.integers(0, 1 << 25) | st.integers(0, 3000) | st.integers(-3000, -1),
    st.integers(0, 7),
)
@example("manifest.json", 1, 0)  # white space
@example("train.beton", 20, 0)  # the header
@example("train.beton", 2106 + 5, 7)  # a gap between the fields of a record
@example("train.beton", (1 << 23) - 1, 3)  # padding
@example("test.beton", -1, 0)  # the end of the allocation table
def test_every_flipped_bit_is_found(built: Path, name: str, position: int, bit: int) -> None:
    position = flipped(built / name, position, bit)
    try:
        result = verify_dataset(built)
        assert not result["ok"]
        assert name in " ".join(result["problems"])
    finally:
        flipped(built / name, position, bit)
    assert verify_dataset(built)["ok"]


@pytest.mark.parametrize(
    ("sample", "problem"),
    [(2, "sample 2 (train/class0/2.JPEG, class 0) cannot be read"), (None, "the header cannot be")],
)
def test_what_the_disk_cannot_read_is_named_among_the_rest(
    built: Path, monkeypatch: pytest.MonkeyPatch, sample: int | None, problem: str
) -> None:
    at = 0 if sample is None else parse_beton(built / "train.beton")["samples"][sample][5]
    read = os.pread

    def pread(file: int, size: int, offset: int) -> bytes:
        if offset <= at < offset + size and os.fstat(file).st_ino == unreadable:
            raise OSError(errno.EIO, "Input/output error")
        return read(file, size, offset)

    unreadable = (built / "train.beton").stat().st_ino
    monkeypatch.setattr(os, "pread", pread)
    result = verify_dataset(built)
    assert result["checked"] == 10
    assert [problem in each for each in result["problems"]] == [True]
    assert "(Input/output error)" in result["problems"][0]


@settings(max_examples=60)
@given(st.integers(0, 1 << 20), st.integers(0, 7))
def test_a_flipped_bit_of_the_manifest_is_found_on_opening(
    built: Path, position: int, bit: int
) -> None:
    position = flipped(built / "manifest.json", position, bit)
    try:
        with pytest.raises(DamagedDataset, match="is damaged"):
            open_dataset(built)
    finally:
        flipped(built / "manifest.json", position, bit)


@pytest.mark.parametrize("sample", [0, 3, 7])
def test_the_damaged_sample_is_named(built: Path, sample: int) -> None:
    parsed = parse_beton(built / "train.beton")["samples"][sample]
    position = flipped(built / "train.beton", parsed[5] + len(parsed[4]) // 2, 0)
    try:
        (problem,) = verify_dataset(built)["problems"]
    finally:
        flipped(built / "train.beton", position, 0)
    name = open_dataset(built).samples("train").source[sample]
    assert f"sample {sample} ({name}, class {parsed[3]}) is damaged" in problem


def test_truncated_and_missing_files_are_reported(built: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(built, tmp_path / "copy")
    with (copy / "train.beton").open("r+b") as file:
        file.truncate(1 << 23)
    (copy / "test.samples.parquet").unlink()
    problems = "\n".join(verify_dataset(copy)["problems"])
    assert "train.beton has 8388608 bytes" in problems
    assert "sample 0 (train/class0/0.JPEG, class 0) is damaged" in problems
    assert "test.samples.parquet cannot be read" in problems
    with pytest.raises(DamagedDataset, match=r"test\.samples\.parquet is missing"):
        open_dataset(copy)
    (copy / "train.beton").write_bytes(b"")
    assert not verify_dataset(copy)["ok"]


def test_where_there_is_no_dataset_the_next_command_is_named(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = manifest.render({"kind": "label-store"})
    (tmp_path / "other/manifest.json").write_bytes(other)
    for action in (verify_dataset, open_dataset):
        with pytest.raises(DatasetNotFound, match="engine build-beton --source"):
            action(tmp_path / "nothing")
        with pytest.raises(DatasetNotFound, match="is not a dataset folder"):
            action(tmp_path)
        with pytest.raises(DatasetNotFound, match="holds a 'label-store', not a dataset"):
            action(tmp_path / "other")


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.floats()), max_size=5))
def test_a_manifest_reads_back_from_its_one_spelling(content: dict) -> None:
    import json

    data = manifest.render(content)
    assert manifest.render(json.loads(data)) == data


def test_damage_is_exit_code_one(built: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(built, tmp_path / "copy")
    (copy / "manifest.json").write_bytes(b"{}")
    with pytest.raises(DamagedDataset) as caught:
        open_dataset(copy)
    assert caught.value.exit_code == 1
    assert np.isscalar(verify_dataset(copy)["checked"])


PAYLOAD, RECORDS = 1 << 23, 24 + 2 * 1041


@pytest.mark.parametrize(
    ("name", "position", "opens"),
    [
        ("train.beton", PAYLOAD + 40, True),
        ("train.samples.parquet", 60, True),
        ("train.beton", 0, False),  # the format's version
        ("train.beton", 16, False),  # where the allocation table is
        ("train.beton", RECORDS + 16 + 7, False),  # a label, which is negative then
        ("train.beton", RECORDS + 16 + 5, False),  # a label of 2^40 and more
        ("manifest.json", 40, False),
    ],
)
def test_a_forced_build_mends_what_verify_finds_and_nothing_else_does(
    built: Path, tmp_path: Path, name: str, position: int, opens: bool
) -> None:
    source, copy = built.parent / "source", shutil.copytree(built, tmp_path / "copy")
    flipped(copy / name, position, 7)
    for problem in verify_dataset(copy)["problems"]:
        assert problem.endswith("again with engine build-beton --force")
    damaged = file_hashes(copy)
    if opens:
        assert build_beton(source, copy)["status"] == "finished already"
    else:
        for dry_run in (True, False):
            with pytest.raises(DatasetExists, match="engine build-beton --force"):
                build_beton(source, copy, dry_run=dry_run)
        with pytest.raises(DamagedDataset, match=r"engine (verify|build-beton --force)"):
            dataset_info(copy)
    assert build_beton(source, copy, force=True, dry_run=True)["would"] == "build"
    assert file_hashes(copy) == damaged
    assert build_beton(source, copy, force=True)["status"] == "built"
    assert file_hashes(copy) == file_hashes(built)
