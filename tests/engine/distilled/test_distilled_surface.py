"""The room's public names, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import engine
import engine.distilled


def test_every_public_name_is_there() -> None:
    assert set(engine.distilled.__all__) == set(engine.distilled._HOMES)
    for name in engine.distilled.__all__:
        assert getattr(engine.distilled, name).__name__ == name
    functions = {name for name in engine.distilled.__all__ if name.islower()}
    assert functions <= set(engine.__all__)


def test_importing_the_room_imports_nothing_heavy() -> None:
    code = "import engine.distilled, sys; print({'torch', 'numpy', 'h5py'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
