"""The public surface is what `__all__` says, and costs nothing to import."""

from __future__ import annotations

import subprocess
import sys

import pytest


def test_every_public_name_resolves():
    import engine.analysis

    assert all(hasattr(engine.analysis, name) for name in engine.analysis.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        engine.analysis.nothing  # noqa: B018


def test_importing_the_room_imports_neither_numpy_nor_scipy():
    code = "import sys, engine.analysis; print({'numpy', 'scipy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
