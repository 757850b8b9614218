"""Imports that were killed, and imported labels that were damaged: the same command again."""

from __future__ import annotations

import itertools
import re
import subprocess

import labelstore_cases as cases
import pytest
from labelstore_imports_cases import LOGITS, do_import, npz, view_of

import labelstore
from labelstore import axis, store

CODECS = ("dense", "quantised:8")


def teacher(indices):
    return LOGITS[indices]


def ask(path, **options):
    return do_import(path, teacher, checkpoint_id="t1", epoch=3, **options)


@pytest.mark.parametrize("codec", CODECS)
def test_an_import_killed_before_any_document_resumes_to_the_same_bytes(
    tmp_path, monkeypatch, codec
):
    ask(tmp_path / "whole.zarr", codec=codec)
    whole = content_of(tmp_path / "whole.zarr")
    for number in itertools.count():
        path, left = tmp_path / f"{number}.zarr", iter(range(number))
        with monkeypatch.context() as patch:
            for module in (store, axis):
                patch.setattr(module, "write_whole", dying(module.write_whole, left))
            try:
                ask(path, codec=codec)
                break
            except KeyboardInterrupt:
                pass
        begun = cases.bytes_of(path)
        ask(path, codec=codec, dry_run=True)
        assert cases.bytes_of(path) == begun
        ask(path, codec=codec)
        assert content_of(path) == whole, number
    assert number >= 8


def content_of(path):
    """Every file but locks, which are empty."""
    return {name: data for name, data in cases.bytes_of(path).items() if data}


def dying(write, left):
    """`write` for as long as there is something in `left`."""

    def write_or_die(*arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        write(*arguments)

    return write_or_die


@pytest.mark.parametrize("codec", CODECS)
def test_doing_what_verify_says_and_importing_again_mends_every_document(tmp_path, codec):
    path = tmp_path / "s.zarr"
    ask(path, codec=codec)
    whole = cases.bytes_of(path)
    for file in sorted(path.rglob("zarr.json")):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        (problem,) = labelstore.verify_store(path)["problems"]
        remove, again = re.findall(r"`([^`]+)`", problem)
        coded = "" if codec == "dense" else f" --codec {codec}"
        assert again == f"engine derive-labels --data DATA --out {path} --expert elsewhere{coded} …"
        subprocess.run(remove.split(), check=True)
        ask(path, codec=codec)
        assert cases.bytes_of(path) == whole, file


def test_a_damaged_document_that_is_still_there_stops_an_import(tmp_path):
    ask(tmp_path / "s.zarr")
    for file in sorted((tmp_path / "s.zarr").rglob("plain/**/zarr.json")):
        whole = file.read_bytes()
        file.write_bytes(whole[:-5])
        with pytest.raises(labelstore.DamagedStore, match="engine verify"):
            ask(tmp_path / "s.zarr")
        file.write_bytes(whole)


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_missing_of_imported_labels_is_imported_again(tmp_path, codec):
    """There is no run that could be dumped again."""
    path, source = tmp_path / "s.zarr", npz(tmp_path / "a.npz", logits=LOGITS)
    do_import(path, source, epoch=3, codec=codec)
    coded = "" if codec == "dense" else f" --codec {codec}"
    command = (
        f"`engine import-labels --data DATA --source FILE --out {path} --expert elsewhere{coded} "
        "--epoch {}`"
    )
    with pytest.raises(labelstore.EpochNotDumped, match=re.escape(command.format(4))):
        view_of(path).read(4, [0])
    (rows,) = [each.parent for each in path.rglob("c.3.0.0")]
    (rows / "c.3.0.0").unlink()
    (problem,) = labelstore.verify_store(path)["problems"]
    assert problem.endswith(command.format(3))
    (rows / ".complete/0003/00000.json").unlink()
    do_import(path, source, epoch=3, codec=codec)
    assert labelstore.verify_store(path)["ok"]
