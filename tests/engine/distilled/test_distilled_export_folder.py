"""The folder of an export: whole or not there, never another's, mended, refused and killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import engine
from cli.artefacts import recognise
from engine.destination import check_replaceable
from engine.errors import ArtefactError, DamageError, MismatchError, UsageError


def test_every_flipped_byte_is_found(exports, tmp_path) -> None:
    folder = shutil.copytree(exports["webdataset"], tmp_path / "set")
    generator = np.random.default_rng(0)
    for file in (p for p in folder.rglob("*") if p.is_file()):
        whole = file.read_bytes()
        for place in {0, len(whole) - 1, *generator.integers(0, len(whole), 4).tolist()}:
            data = bytearray(whole)
            data[place] ^= 1
            file.write_bytes(data)
            answer = recognise(folder).verify(folder, lambda *_: None)
            assert not answer["ok"], (file, place)
            assert answer["problems"]
        if file.parent.name == "data":
            with pytest.raises(DamageError, match="export it anew"):
                engine.open_distilled(folder)
        file.write_bytes(whole)
    assert recognise(folder).name == "distilled"
    assert engine.verify_distilled(folder)["ok"]


def test_a_finished_export_is_left_alone_and_another_is_refused(
    small_data, small_store, tmp_path
) -> None:
    out = tmp_path / "set"
    options = {"ipc": 2, "expert_epoch": 1, "format": "npz"}
    assert engine.export_distilled(small_data, small_store, out, **options)["status"] == "exported"
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    again = engine.export_distilled(small_data, small_store, out, **options)
    assert again["status"] == "finished already"
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    other = {**options, "expert_epoch": 2, "format": "parquet"}
    with pytest.raises(MismatchError, match=r"expert_epoch: 1 → 2.*format: npz → parquet.*--force"):
        engine.export_distilled(small_data, small_store, out, **other)
    engine.export_distilled(small_data, small_store, out, **other, force=True)
    assert not (out / "data" / "train.npz").exists()
    assert engine.verify_distilled(out)["ok"]
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_exporting_again_mends_a_damaged_file(small_data, small_store, tmp_path) -> None:
    options = {"ipc": 2, "expert_epoch": 1, "format": "npz"}
    engine.export_distilled(small_data, small_store, tmp_path / "set", **options)
    (tmp_path / "set/data/train.npz").write_bytes(b"")
    again = engine.export_distilled(small_data, small_store, tmp_path / "set", **options)
    assert again["status"] == "exported"
    assert engine.verify_distilled(tmp_path / "set")["ok"]


def test_foreign_files_are_not_replaced(small_data, small_store, tmp_path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"found other files \(thesis\.tex\)"):
        engine.export_distilled(
            small_data, small_store, tmp_path, ipc=2, expert_epoch=1, force=True
        )
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_an_export_with_somebodys_own_files_in_it_is_not_replaced(
    small_data, small_store, tmp_path
) -> None:
    out = tmp_path / "set"
    options = {"ipc": 2, "expert_epoch": 1, "format": "npz"}
    engine.export_distilled(small_data, small_store, out, **options)
    notes = [out / name for name in ("notes.md", "data/a.txt", "data/b.txt", "data/c.txt")]
    for file in notes:
        file.write_text("words")
    again = engine.export_distilled(small_data, small_store, out, **options)
    assert again["status"] == "finished already"
    with pytest.raises(
        UsageError, match=r"files \(data/a\.txt, data/b\.txt, data/c\.txt, 1 more\)"
    ):
        engine.export_distilled(small_data, small_store, out, **options, force=True)
    assert all(file.read_text() == "words" for file in notes)
    for file in notes:
        file.unlink()
    again = engine.export_distilled(small_data, small_store, out, **options, force=True)
    assert again["status"] == "exported"


def test_an_export_whose_manifest_has_one_flipped_bit_is_replaced(exports, tmp_path) -> None:
    folder = shutil.copytree(exports["parquet"], tmp_path / "set")
    manifest = folder / "manifest.json"
    whole = manifest.read_bytes()
    generator = np.random.default_rng(0)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(generator.integers(8))
        manifest.write_bytes(damaged)
        check_replaceable(folder)


def test_exporting_again_mends_a_damaged_manifest(small_data, small_store, tmp_path) -> None:
    out = tmp_path / "set"
    options = {"ipc": 2, "expert_epoch": 1, "format": "npz"}
    engine.export_distilled(small_data, small_store, out, **options)
    manifest = out / "manifest.json"
    manifest.write_bytes(
        manifest.read_bytes().replace(b'"data/train.npz": ', b'"data/trai\xae.npz": ')
    )
    assert not engine.verify_distilled(out)["ok"]
    engine.export_distilled(small_data, small_store, out, **options, force=True)
    assert engine.verify_distilled(out)["ok"]


def test_a_damaged_manifest_gives_nobodys_own_file_away(exports, tmp_path) -> None:
    """Not even one whose name the damage put there."""
    folder = shutil.copytree(exports["parquet"], tmp_path / "set")
    (shard,) = (folder / "data").iterdir()
    own = shard.with_name(shard.name.replace("train", "trail"))
    own.write_text("years of work")
    manifest = folder / "manifest.json"
    whole = manifest.read_bytes()
    assert shard.name.encode() in whole
    for damaged in (
        whole.replace(shard.name.encode(), own.name.encode()),
        whole.replace(b"README", b"READMA"),
        whole[:-1],
    ):
        manifest.write_bytes(damaged)
        with pytest.raises(UsageError, match=rf"other files \(data/{own.name}\)"):
            check_replaceable(folder)
    own.unlink()
    check_replaceable(folder)


def test_a_dry_run_touches_nothing(small_data, small_store, tmp_path) -> None:
    plan = engine.export_distilled(
        small_data, small_store, tmp_path / "a" / "set", ipc=2, expert_epoch=1, dry_run=True
    )
    assert plan["num_images"] == 6
    assert plan["pixel_bytes"] == 6 * 16 * 16 * 3
    assert not any(tmp_path.iterdir())


def test_what_cannot_be_exported_is_said(small_data, small_store, tmp_path) -> None:
    def export(**options):
        engine.export_distilled(small_data, small_store, tmp_path / "set", **options)

    with pytest.raises(UsageError, match=r"IPC|images per class|37"):
        export(ipc=1000, expert_epoch=1)
    with pytest.raises(Exception, match="epoch 9"):
        export(ipc=1, expert_epoch=9)
    with pytest.raises(UsageError, match="expected one of parquet"):
        export(ipc=1, expert_epoch=1, format="zip")
    assert not any(tmp_path.iterdir())


SLOW_EXPORT = """
import sys, time
import engine.distilled.export as export
import engine

def slowly(path, data, write=export.write_bytes):
    write(path, data)
    print(path, flush=True)
    time.sleep(60)

export.write_bytes = slowly
engine.export_distilled(sys.argv[1], sys.argv[2], sys.argv[3], ipc=2, expert_epoch=1)
"""


def test_a_killed_export_leaves_no_set_and_the_next_one_clears_up(
    small_data, small_store, tmp_path
) -> None:
    out = tmp_path / "here" / "set"
    command = [sys.executable, "-c", SLOW_EXPORT, str(small_data), str(small_store), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(Path(engine.__file__).parents[1])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not out.exists()
    with pytest.raises(ArtefactError):
        engine.open_distilled(out)
    assert any(out.parent.iterdir())
    engine.export_distilled(small_data, small_store, out, ipc=2, expert_epoch=1)
    assert [p.name for p in out.parent.iterdir()] == ["set"]
    assert engine.verify_distilled(out)["ok"]


def test_leftovers_are_cleared_whatever_the_folder_is_called(
    small_data, small_store, tmp_path
) -> None:
    left = tmp_path / ".set[1].writing-999999999"
    left.mkdir()
    engine.export_distilled(small_data, small_store, tmp_path / "set[1]", ipc=2, expert_epoch=1)
    assert [p.name for p in tmp_path.iterdir()] == ["set[1]"]
