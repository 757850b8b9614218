"""The public surface is what `__all__` says, and costs nothing to import."""

from __future__ import annotations

import subprocess
import sys

import pytest


def test_every_public_name_resolves():
    import engine.report

    assert all(hasattr(engine.report, name) for name in engine.report.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        engine.report.nothing  # noqa: B018


def test_importing_the_room_imports_no_heavy_library():
    code = (
        "import sys, engine.report; "
        "print({'torch', 'matplotlib', 'numpy', 'jinja2', 'zarr'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
