"""Native libraries that are missing or broken, and what goes on without them."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

import engine
from beton_builder import jpeg as building
from engine.doctor import native
from engine.doctor.finding import Asked
from engine.loading import jpeg as loading
from labelstore import checksum, kernels

ANY = Asked()
CHECKOUT = Path(engine.__file__).parents[1]


def without(monkeypatch, *packages):
    real = native.installed_version
    monkeypatch.setattr(
        native, "installed_version", lambda name: None if name in packages else real(name)
    )


def test_the_kernels_folder_is_named():
    found = native.check_label_kernels(ANY)
    assert found.status == "ok"
    assert found.found.endswith(f"kept in {kernels.softmax_rows.stats.cache_path}")


def test_kernels_that_were_never_compiled_are_said_to_be(monkeypatch, tmp_path):
    stats = SimpleNamespace(cache_path=str(tmp_path))
    monkeypatch.setattr(kernels, "softmax_rows", SimpleNamespace(stats=stats))
    assert "to be compiled on first use" in native.check_label_kernels(ANY).found
    (tmp_path / "softmax.softmax_rows.1.nbc").touch()
    assert "compiled already" in native.check_label_kernels(ANY).found


def test_kernels_that_may_not_be_compiled_are_a_problem(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    found = native.check_label_kernels(ANY)
    assert (found.status, found.next) == ("problem", "unset NUMBA_DISABLE_JIT")


NO_PLACE = """
import pathlib, numba.core.caching as caching
from engine.doctor.examination import CHECKS, carry_out
from engine.doctor.finding import Asked
caching._CacheLocator.ensure_cache_path = lambda self: (_ for _ in ()).throw(OSError("read-only"))
caching.CacheImpl._locator_classes = []
check, = (each for each in CHECKS if each.name == "label_kernels")
finding = carry_out(check, Asked())
print(finding.status, "|", finding.found, "|", finding.next)
"""


def test_no_folder_for_compiled_kernels_is_a_problem():
    output = subprocess.run(
        [sys.executable, "-c", NO_PLACE],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    status, found, what = output.strip().split(" | ")
    assert (status, what) == ("problem", "export NUMBA_CACHE_DIR=FOLDER")
    assert "no locator available" in found


@pytest.mark.parametrize("room", ["building", "streaming"])
def test_no_turbojpeg_in_either_room_is_a_warning(monkeypatch, room):
    if room == "building":
        monkeypatch.setattr(building, "TURBOJPEG", None)
    else:
        monkeypatch.setattr(loading, "choose_decoder", lambda: loading.PillowDecoder)
    found = native.check_jpeg_decoder(ANY)
    assert found.status == "warning"
    assert "Pillow" in found.found
    assert "libturbojpeg0" in found.next


def test_zlib_in_the_place_of_isal_is_a_warning(monkeypatch):
    monkeypatch.setattr(checksum, "crc32", zlib.crc32)
    found = native.check_checksums(ANY)
    assert (found.status, found.next) == ("warning", "pip install isal")


def test_no_zarr_is_a_warning(monkeypatch):
    assert native.check_zarr(ANY).status == "ok"
    without(monkeypatch, "zarr")
    found = native.check_zarr(ANY)
    assert found.status == "warning"
    assert found.found.startswith("no zarr: ")


def test_no_ffcv_is_a_warning_that_says_everything_else_works(monkeypatch):
    without(monkeypatch, "ffcv")
    found = native.check_ffcv(ANY)
    assert found.status == "warning"
    assert "everything else works" in found.found
    assert "scripts/setup --without-ffcv" in found.found
    assert found.next == "scripts/setup --with-ffcv"


def test_ffcv_whose_library_cannot_be_loaded_is_a_warning(monkeypatch, tmp_path):
    library = tmp_path / "_libffcv.so"
    library.write_text("not a library")
    file = SimpleNamespace(name=library.name, locate=lambda: library)
    monkeypatch.setattr(native, "installed_version", lambda name: "1.0.2")
    monkeypatch.setattr(metadata, "files", lambda name: [file])
    found = native.check_ffcv(ANY)
    assert found.status == "warning"
    assert "can't be loaded" in found.found
    assert "libopencv-dev" in found.next
