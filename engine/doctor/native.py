"""Compiled code beside torch: the label kernels, the JPEG decoder, checksums, zarr, FFCV."""

from __future__ import annotations

import ctypes
import os
from importlib import metadata
from pathlib import Path

from engine.doctor.finding import Asked, Finding, brief, ok, problem, warning
from engine.doctor.software import SETUP, installed_version


def check_label_kernels(_: Asked) -> Finding:
    """numba's compiled loops, and the folder that keeps them.

    They run in one thread each, so that numba's threading layer doesn't matter.
    """
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return problem("NUMBA_DISABLE_JIT is set: labels can't be read", "unset NUMBA_DISABLE_JIT")
    from labelstore import kernels

    folder = Path(str(kernels.softmax_rows.stats.cache_path))
    compiled = any(folder.glob("*.nbc"))
    when = "compiled already" if compiled else "to be compiled on first use, once"
    return ok(f"numba {installed_version('numba')}; {when}, kept in {folder}")


def check_jpeg_decoder(_: Asked) -> Finding:
    """libturbojpeg, for building datasets and for streaming them; Pillow does what it does."""
    from beton_builder.jpeg import TURBOJPEG
    from engine.loading.jpeg import choose_decoder

    streaming = choose_decoder().name
    if TURBOJPEG is None or streaming != "turbojpeg":
        return warning(
            "no libturbojpeg: Pillow decodes JPEGs, to the same pixels, in 1.7 times the time",
            "sudo apt-get install -y libturbojpeg0",
        )
    return ok("libturbojpeg")


def check_checksums(_: Asked) -> Finding:
    """Intel's isa-l, with which checksums of label stores cost nearly nothing."""
    from labelstore.checksum import crc32

    if not crc32.__module__.startswith("isal"):
        return warning("zlib, at a quarter of isa-l's speed", "pip install isal")
    return ok(f"isa-l (isal {installed_version('isal')})")


def check_zarr(_: Asked) -> Finding:
    """zarr-python and its codecs: our own stores are read without it, those of others with it."""
    versions = {name: installed_version(name) for name in ("zarr", "numcodecs")}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return warning(
            f"no {', '.join(missing)}: label stores that other software wrote can't be read",
            SETUP,
        )
    return ok(", ".join(f"{name} {version}" for name, version in versions.items()))


def check_ffcv(_: Asked) -> Finding:
    """FFCV and its native library. The engine has its own reader of `.beton` files."""
    version = installed_version("ffcv")
    if version is None:
        return warning(
            "not installed: no labels beside FFCV's loaders, no comparison with it in engine bench;"
            f" everything else works ({SETUP} --without-ffcv leaves it out)",
            f"{SETUP} --with-ffcv",
        )
    libraries = [f for f in metadata.files("ffcv") or () if f.name.startswith("_libffcv")]
    try:
        for library in libraries:
            ctypes.CDLL(str(library.locate()))
    except OSError as error:
        return warning(
            f"ffcv {version} can't be loaded ({brief(error)}); everything else works",
            "sudo apt-get install -y libopencv-dev libturbojpeg0-dev",
        )
    return ok(f"ffcv {version}")
