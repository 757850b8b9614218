"""Whether torch.compile can work here: found out once a process, by doing what it will do.

On a CPU it calls one C++ compiler, ``$CXX`` or else ``g++``, and whatever stands in its way ends a
run with an error. So the same compiler is asked first to build three lines with the same headers,
standard and libraries, in the folder that torch.compile builds in, and what it built is loaded; a
fault then means that networks run eagerly. Besides starting the compiler this parses almost
nothing: Python's own header, which takes a fifth of a second, is only looked for.

This module imports no torch before it has to.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 30.0
"""Seconds for a compiler that builds three lines, where 0.05 were measured."""

STANDARD = "c++20"
"""What torch 2.14 compiles as; compilers of before 2020 don't know it by this name."""

SOURCE = """
#if !__has_include(<Python.h>) || !__has_include(<cmath>)
#error "fatal error: Python.h or cmath: No such file"
#endif
#include <omp.h>
extern "C" int engine_probe() { return omp_get_max_threads(); }
"""

INSTALL_COMPILER = "sudo apt-get install -y g++"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why torch.compile can't work, and what to type."""

    reason: str
    remedy: str


def compiler_fault() -> Fault | None:
    """What keeps torch.compile from working here; None where nothing does."""
    import torch

    if torch.cuda.is_available():
        return fault_of_triton()
    # The search path is named so that another one is tried anew.
    return _tried(compiler_command(), nearest_folder(compile_cache()), os.environ.get("PATH"))


@functools.cache
def _tried(command: str, folder: Path, _search_path: str | None) -> Fault | None:
    return try_compiler(command, folder)


def compiler_command() -> str:
    """The compiler as torch.compile calls it: no other is looked for."""
    if os.environ.get("TORCH_INDUCTOR_INSTALL_GXX"):
        installed = compile_cache() / "gcc" / "bin" / "g++"
        if installed.exists():
            return shlex.quote(str(installed))
    return os.environ.get("CXX", "g++")


def try_compiler(command: str, folder: Path) -> Fault | None:
    """Build a library of three lines in a folder of its own, and load it.

    Args:
        command: a program and its first arguments, as a shell would read them.
        folder: exists; where torch.compile keeps what it builds.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words or shutil.which(words[0]) is None:
        return Fault(reason=f"torch.compile calls {command!r}, which isn't there", remedy=another())
    try:
        with tempfile.TemporaryDirectory(
            prefix="engine-probe-", dir=folder, ignore_cleanup_errors=True
        ) as place:
            return _build(words, command, Path(place))
    except OSError as error:
        return Fault(
            reason=f"nothing can be built in {folder}: {error.strerror or error}",
            remedy="export TORCHINDUCTOR_CACHE_DIR=FOLDER",
        )


def _build(words: list[str], command: str, place: Path) -> Fault | None:
    source, library = place / "probe.cpp", place / "probe.so"
    source.write_text(SOURCE)
    includes = {sysconfig.get_path("include"), sysconfig.get_path("include", "posix_prefix")}
    options = [f"-std={STANDARD}", "-shared", "-fPIC", *(f"-I{folder}" for folder in includes)]
    try:
        built = subprocess.run(
            [*words, *options, str(source), "-o", str(library), "-fopenmp", "-lgomp"],
            cwd=place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Fault(
            reason=f"{command} took over {PATIENCE:.0f} s for three lines", remedy=another()
        )
    except OSError as error:
        return Fault(reason=f"{command} can't be started: {error.strerror}", remedy=another())
    if built.returncode != 0:
        said = built.stderr.replace(f"{place}{os.sep}", "")
        return Fault(reason=f"{command} can't build: {first_error(said)}", remedy=remedy(said))
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        said = str(error).replace(f"{place}{os.sep}", "")
        return Fault(
            reason=f"what {command} builds in {place.parent} can't be loaded: {said}",
            remedy="export TORCHINDUCTOR_CACHE_DIR=FOLDER  # one whose programs may run",
        )
    return None


def first_error(said: str) -> str:
    """The line of a compiler's output that names the error."""
    lines = [line for line in said.splitlines() if "error" in line.lower()] or said.splitlines()
    return lines[0].strip() if lines else "it says nothing"


def remedy(said: str) -> str:
    """What to type after such an output of a compiler."""
    if "Python.h" in said:
        return "sudo apt-get install -y python3.11-dev"
    if "omp.h" in said or "-lomp" in said:
        return "sudo apt-get install -y libomp-dev"
    return another()


def another() -> str:
    """What to type to get another compiler than the one that torch.compile calls now."""
    if "CXX" in os.environ and shutil.which("g++"):
        return "unset CXX"
    if "CXX" not in os.environ and shutil.which("g++") is None and shutil.which("clang++"):
        return "export CXX=clang++"
    return INSTALL_COMPILER


def fault_of_triton() -> Fault | None:
    """The same for GPUs, whose code Triton builds with a C compiler; nothing is built to see."""
    if importlib.util.find_spec("triton") is None:
        return Fault(
            reason="Triton, which compiles for the GPU, isn't installed", remedy="scripts/setup"
        )
    compiler = c_compiler()
    if compiler is None or shutil.which(compiler) is None:
        return Fault(reason="Triton finds no C compiler", remedy="sudo apt-get install -y gcc")
    return None


def c_compiler() -> str | None:
    """The C compiler as Triton chooses it."""
    return os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")


def compile_cache() -> Path:
    """The folder that torch.compile will use, from the file of torch that decides it.

    Importing that file by its module's name would import the whole compiler, which takes longer
    than all that is asked here.
    """
    chosen = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    if chosen:
        return Path(chosen)
    import torch

    file = Path(torch.__file__).parent / "_inductor" / "runtime" / "cache_dir_utils.py"
    spec = importlib.util.spec_from_file_location("cache_dir_utils", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Path(module.default_cache_dir())


def nearest_folder(path: Path) -> Path:
    """The path itself, or the first folder above it that exists."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.is_dir())
