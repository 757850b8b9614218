"""torch and what it computes with: precision, C++ compiler, GPUs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from engine.doctor.finding import Asked, Finding, brief, gigabytes, ok, problem, warning
from engine.training import compiler

NVIDIA_TRACES = (
    Path("/proc/driver/nvidia/version"),
    Path("/dev/nvidia0"),
    Path("/dev/dxg"),  # Windows' GPU, seen from its Linux subsystem
)
LITTLE_GPU_MEMORY = 2 * 10**9


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

    chosen = choose_arithmetic(compiled=False)  # of the compiler, the next row speaks
    return ok(f"{chosen.precision} on the {chosen.device}: {chosen.reason}")


def check_compiler(_: Asked) -> Finding:
    """Whether torch.compile works, by the very probe on which runs decide."""
    if os.environ.get("ENGINE_EAGER"):
        return warning(
            "ENGINE_EAGER is set: networks run without torch.compile", "unset ENGINE_EAGER"
        )
    fault = compiler.compiler_fault()
    if fault is not None:
        return warning(
            f"networks run without torch.compile, slower: {brief(fault.reason)}", fault.remedy
        )
    import torch

    if torch.cuda.is_available():
        return ok(f"Triton with {Path(str(compiler.c_compiler())).name}")
    command = compiler.compiler_command()
    return ok(f"{command} {compiler_version(command)}: builds and loads")


def compiler_version(command: str) -> str:
    """As the compiler names itself."""
    answer = subprocess.run(
        [*shlex.split(command), "-dumpfullversion", "-dumpversion"],
        capture_output=True,
        text=True,
        timeout=compiler.PATIENCE,
        check=False,
    )
    return brief(answer.stdout) or "(version unknown)"


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
