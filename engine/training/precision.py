"""Which arithmetic a machine is fastest in: device, precision, threads, compiler, allocator.

Everything here is probed once a process and recorded with the results it influenced.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F

from engine.errors import ConfigurationError

BF16_MUST_GAIN = 1.2


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
        }


def choose_arithmetic(precision: str = "auto", compiled: bool = True) -> Arithmetic:
    """Resolve ``precision`` (auto, fp32, bf16) and ``compiled`` for this machine.

    Raises:
        ConfigurationError: the precision is none of the three.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise ConfigurationError(f"precision {precision!r}: expected auto, fp32 or bf16")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # fp32 means fp32, not TF32, and the same inputs give the same bytes on a GPU too.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    reason = "asked for"
    if precision == "auto":
        gain = bf16_gain(device)
        precision = "bf16" if gain >= BF16_MUST_GAIN else "fp32"
        reason = f"a convolution's forward and backward pass ran {gain:.1f}× as fast in bf16"
    return Arithmetic(
        device=device,
        precision=precision,
        compiled=compiled and can_compile(),
        threads=torch.get_num_threads(),
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
    """Whether torch.compile can work here: it needs a C++ compiler on a CPU, Triton on a GPU."""
    if os.environ.get("ENGINE_EAGER"):
        return False
    if torch.cuda.is_available():
        return sys.platform == "linux"
    return any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++") if name)


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
    return f"{name}, {available_cores()} cores"


def available_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
