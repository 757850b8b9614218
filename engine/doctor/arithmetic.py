"""torch and what it computes with: precision, C++ compiler, GPUs."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from engine.doctor.finding import Asked, Finding, brief, gigabytes, ok, problem, warning
from engine.doctor.storage import compile_cache, nearest_folder

NVIDIA_TRACES = (
    Path("/proc/driver/nvidia/version"),
    Path("/dev/nvidia0"),
    Path("/dev/dxg"),  # Windows' GPU, seen from its Linux subsystem
)
GO_ON_EAGERLY = "export ENGINE_EAGER=1"
LITTLE_GPU_MEMORY = 2 * 10**9
PATIENCE = 30.0
"""Seconds for a compiler that builds four lines, where 0.3 were measured."""

SOURCE = """
#include <Python.h>
#include <omp.h>
extern "C" int engine_doctor_threads() { return omp_get_max_threads(); }
"""
"""The headers that torch.compile's code includes: Python's, and OpenMP's."""


def check_torch(_: Asked) -> Finding:
    """Whether torch can be imported, what it was built for, and the vector instructions it uses."""
    import torch

    built = "a CPU"
    if torch.version.cuda:
        built = f"CUDA {torch.version.cuda}"
    elif torch.version.hip:
        built = f"ROCm {torch.version.hip}"
    capability = torch.backends.cpu.get_cpu_capability()
    found = f"torch {torch.__version__}, built for {built}; vector instructions: {capability}"
    if os.environ.get("ATEN_CPU_CAPABILITY"):
        return warning(f"{found}, as ATEN_CPU_CAPABILITY says", "unset ATEN_CPU_CAPABILITY")
    return ok(found)


def check_precision(_: Asked) -> Finding:
    """What runs compute in when nothing else is asked for: the very probe that they start with."""
    from engine.training.precision import choose_arithmetic

    chosen = choose_arithmetic()
    return ok(f"{chosen.precision} on the {chosen.device}: {chosen.reason}")


def check_compiler(_: Asked) -> Finding:
    """Whether torch.compile will find a compiler that works, by letting it build something."""
    from engine.training.precision import can_compile

    if os.environ.get("ENGINE_EAGER"):
        return warning(
            "ENGINE_EAGER is set: networks run without torch.compile", "unset ENGINE_EAGER"
        )
    if not can_compile():
        return warning(
            "no C++ compiler: networks run without torch.compile, slower",
            "sudo apt-get install -y g++",
        )
    import torch

    if torch.cuda.is_available():
        return _compiler_for_gpus()
    return try_compiler(os.environ.get("CXX", "g++"), nearest_folder(compile_cache()))


def try_compiler(command: str, folder: Path) -> Finding:
    """Build a library of four lines in the folder and load it.

    Args:
        command: the compiler as torch.compile calls it: $CXX, else g++, and no other.
        folder: where torch.compile keeps what it builds.
    """
    words = shlex.split(command)
    if not words or shutil.which(words[0]) is None:
        other = shutil.which("g++") or shutil.which("clang++")
        return problem(
            f"torch.compile calls {command!r}, which isn't there",
            f"export CXX={Path(other).name}" if other else "sudo apt-get install -y g++",
        )
    with tempfile.TemporaryDirectory(prefix="engine-doctor-", dir=folder) as place:
        source, library = Path(place) / "probe.cpp", Path(place) / "probe.so"
        source.write_text(SOURCE)
        include = sysconfig.get_paths()["include"]
        options = ["-shared", "-fPIC", "-fopenmp", f"-I{include}", str(source), "-o", str(library)]
        try:
            built = subprocess.run(
                [*words, *options], capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            return problem(f"{command} took over {PATIENCE:.0f} s for four lines", GO_ON_EAGERLY)
        if built.returncode != 0:
            said = built.stderr.replace(place, "")
            return problem(f"{command} can't build: {first_error(said)}", remedy(said))
        try:
            ctypes.CDLL(str(library)).engine_doctor_threads()
        except OSError as error:
            return problem(
                f"what {command} builds in {folder} can't be loaded: "
                + brief(str(error).replace(place, "")),
                "export TORCHINDUCTOR_CACHE_DIR=FOLDER  # one whose programs may run",
            )
    return ok(f"{command} {compiler_version(words)}: builds and loads")


def first_error(said: str) -> str:
    """The line of a compiler's output that names the error."""
    lines = [line for line in said.splitlines() if "error" in line.lower()] or said.splitlines()
    return brief(lines[0]) if lines else "it says nothing"


def remedy(said: str) -> str:
    """What to type after such an output of a compiler."""
    if "Python.h" in said:
        return "sudo apt-get install -y python3.11-dev"
    if "omp.h" in said or "-lomp" in said:
        return "sudo apt-get install -y libomp-dev"
    return GO_ON_EAGERLY


def compiler_version(words: list[str]) -> str:
    answer = subprocess.run(
        [*words, "-dumpfullversion", "-dumpversion"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return brief(answer.stdout) or "(version unknown)"


def _compiler_for_gpus() -> Finding:
    if importlib.util.find_spec("triton") is None:
        return problem("Triton, which compiles for the GPU, isn't installed", GO_ON_EAGERLY)
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or shutil.which(compiler) is None:
        return problem("Triton finds no C compiler", "sudo apt-get install -y gcc")
    return ok(f"Triton with {Path(compiler).name}")


def check_gpu(_: Asked) -> Finding:
    """GPUs that torch can compute on, or why it can't on those that are there."""
    import torch

    if torch.cuda.is_available():
        return _gpus()
    if not any(trace.exists() for trace in NVIDIA_TRACES):
        return ok("none; the CPU computes")
    driver = f"a GPU's driver ({driver_version()}) is there"
    if not torch.version.cuda:
        return warning(
            f"{driver}, but this torch is built for a CPU", "ENGINE_VENV=.venv-cuda scripts/setup"
        )
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return warning(
            f"{driver}, but CUDA_VISIBLE_DEVICES leaves none to see", "unset CUDA_VISIBLE_DEVICES"
        )
    try:
        torch.cuda.init()
        reason = "it sees no device"
    except (RuntimeError, AssertionError) as error:
        reason = brief(error)
    return warning(
        f"{driver}, but torch for CUDA {torch.version.cuda} can't use it: {reason}", "nvidia-smi"
    )


def _gpus() -> Finding:
    import torch

    names, occupied = [], []
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        try:
            torch.ones(8, device=f"cuda:{number}").sum().item()
        except RuntimeError as error:
            return problem(
                f"{facts.name} can't compute: {brief(error)}", "export CUDA_VISIBLE_DEVICES="
            )
        free, total = torch.cuda.mem_get_info(number)
        names.append(f"{facts.name}, {gigabytes(free)} of {gigabytes(total)} free")
        if free < LITTLE_GPU_MEMORY:
            occupied.append(number)
    found = "; ".join(names)
    if occupied:
        return warning(f"{found}: other programs hold nearly all of it", "nvidia-smi")
    return ok(f"{found}; driver {driver_version()}")


def driver_version() -> str:
    """NVIDIA's kernel module, as it names itself."""
    try:
        named = re.search(r"\s(\d+\.[\d.]+)\s", NVIDIA_TRACES[0].read_text())
    except OSError:
        named = None
    return named[1] if named else "version unknown"
