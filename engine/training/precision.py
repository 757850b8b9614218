"""Which arithmetic a machine is fastest in: device, precision, threads, compiler, allocator.

Everything here is probed once a process and recorded with the results it influenced.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
import platform
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
import torch.nn.functional as F

from beton_builder.machine import allowed_cores, machine_cores, usable_cores
from engine.errors import ConfigurationError
from engine.training.compiler import compiler_fault

BF16_MUST_GAIN = 1.2

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""What torch reads its number of threads from."""


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """How a run computes. ``reason`` says why bf16 was or was not chosen."""

    device: str
    precision: str
    compiled: bool
    threads: int
    reason: str

    def describe(self) -> dict[str, Any]:
        """What a trial or an expert run records of its environment."""
        return asdict(self) | {
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "machine": machine_name(),
            **_versions(),
        }


@functools.cache
def _versions() -> dict[str, str]:
    """Of the packages, besides torch, that results come from."""
    found = {}
    for name, package in (("numpy", "numpy"), ("timm", "timm"), ("engine", "softlabel-engine")):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(package)
    return found


def choose_arithmetic(precision: str = "auto", compiled: bool = True) -> Arithmetic:
    """Resolve ``precision`` (auto, fp32, bf16) and ``compiled`` for this machine.

    That networks will run eagerly for want of a compiler is said on stderr, once a process.

    Raises:
        ConfigurationError: the precision is none of the three.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise ConfigurationError(f"precision {precision!r}: expected auto, fp32 or bf16")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # fp32 means fp32, not TF32, and the same inputs give the same bytes on a GPU too.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    if compiled and not can_compile():
        compiled = False
        if not os.environ.get("ENGINE_EAGER"):
            _say_why_not()
    threads = torch_threads()
    reason = "asked for"
    if precision == "auto":
        gain = bf16_gain(device)
        precision = "bf16" if gain >= BF16_MUST_GAIN else "fp32"
        reason = f"a convolution's forward and backward pass ran {gain:.1f}× as fast in bf16"
    return Arithmetic(
        device=device,
        precision=precision,
        compiled=compiled,
        threads=threads,
        reason=reason,
    )


@functools.cache
def bf16_gain(device: str) -> float:
    """Time of a small convolution's forward and backward pass in fp32 over that in bf16."""

    def seconds(dtype: torch.dtype) -> float:
        images = torch.ones(64, 128, 16, 16, dtype=dtype, device=device, requires_grad=True)
        weight = torch.ones(128, 128, 3, 3, dtype=dtype, device=device, requires_grad=True)
        gradient = torch.ones_like(images)
        best = float("inf")
        for _ in range(10):
            started = time.perf_counter()
            F.conv2d(images, weight, padding=1).backward(gradient)
            if device == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - started)
        return best

    return seconds(torch.float32) / seconds(torch.bfloat16)


def can_compile() -> bool:
    """Whether torch.compile works here (`engine.training.compiler`) and ENGINE_EAGER isn't set."""
    return not os.environ.get("ENGINE_EAGER") and compiler_fault() is None


@functools.cache
def _say_why_not() -> None:
    fault = compiler_fault()
    if fault is not None:
        logging.getLogger(__name__).warning(
            "Networks run without torch.compile, which is slower: %s. Next: %s",
            fault.reason,
            fault.remedy,
        )


def torch_threads() -> int:
    """Threads that torch computes with, cut to what a CPU quota lets run at once.

    torch starts a thread for each core that it may run on, and compiles as many files at a time; it
    knows of no quota, so a container's share of a large machine would be spent on waiting. Without
    a quota, or where a variable says how many threads there are to be, nothing changes.
    """
    cores = usable_cores()
    if cores < len(allowed_cores()):
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(cores))
        chosen = any(os.environ.get(name) for name in THREAD_VARIABLES)
        if not chosen and torch.get_num_threads() > cores:
            torch.set_num_threads(cores)
    return torch.get_num_threads()


def keep_freed_memory() -> bool:
    """Tell glibc to reuse freed blocks instead of giving them back to the kernel.

    By default every tensor above 32 MiB is mapped and unmapped anew, and the page faults cost more
    than the arithmetic: the first convolution of ConvNetD3 took 27 ms with them and 9 ms without,
    the whole step became 1.3 times as fast. The price: a process keeps its peak memory.
    Returns whether it worked (glibc only).
    """
    mmap_max, trim_threshold, top_pad = -4, -1, -2
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    wanted = ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 2**26))
    accepted = [mallopt(option, value) == 1 for option, value in wanted]
    return all(accepted)


@functools.cache
def machine_name() -> str:
    """The processor (or GPU) and its count, such as ``AMD EPYC, 2 cores``."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name(0)} × {torch.cuda.device_count()}"
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - a kernel file
            name = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {machine_cores()} cores"
