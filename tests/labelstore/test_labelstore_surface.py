"""The public names of the room, what importing it costs, and its tree of errors."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import labelstore
from labelstore import errors

HEAVY = ("numpy", "zarr", "torch", "pyarrow", "ffcv", "engine", "beton_builder")


def modules_after(code: str) -> set[str]:
    command = f"{code}; import sys; print(*sys.modules)"
    root = Path(labelstore.__file__).parent.parent
    output = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, cwd=root
    ).stdout
    return set(output.split())


def test_every_public_name_exists_and_no_other_is_offered():
    for name in labelstore.__all__:
        assert getattr(labelstore, name).__doc__
    assert dir(labelstore) == sorted(labelstore.__all__)
    with pytest.raises(AttributeError):
        _ = labelstore.nothing


def test_importing_the_room_or_its_errors_imports_nothing_heavy():
    assert not modules_after("import labelstore, labelstore.errors") & set(HEAVY)


def test_writing_needs_numpy_and_numba_and_reading_numpy_only(tmp_path):
    write = (
        "import labelstore; "
        f"s = labelstore.create_store({str(tmp_path / 's')!r}, "
        "dataset_id='d', classes=list('ab'), num_samples=3); "
        "v = s.add_view('e', 'plain', identity={}); w = v.writer([0], {0: 'c'}); "
        "import numpy as np; w.write(0, 0, np.zeros((3, 2), np.float32), np.zeros(3, int)); "
        "w.close()"
    )
    assert not modules_after(write) & set(HEAVY[1:])
    read = (
        f"import labelstore; v = labelstore.open_store({str(tmp_path / 's')!r}).view(); "
        "assert v.read(0, [1, 2]).shape == (2, 2)"
    )
    assert not modules_after(read) & {*HEAVY[1:], "numba"}


def test_errors_are_one_tree_with_exit_codes():
    every = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
    assert all(issubclass(each, labelstore.LabelStoreError) for each in every)
    assert {each.__name__ for each in every} <= set(labelstore.__all__)
    drawn = inspect.getdoc(errors)
    assert all(each.__name__ in drawn for each in every)
    assert {each.__name__: each.exit_code for each in every if each.exit_code != 2} == {
        "DamagedStore": 1
    }
