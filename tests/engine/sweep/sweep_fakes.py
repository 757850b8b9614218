"""Trials and runners for tests of the executors: picklable, quick, and free of torch."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from beton_builder.machine import machine_cores
from engine.errors import MismatchError


@dataclass(frozen=True, kw_only=True)
class FakeTrial:
    """A trial that does what it is called after; see `FakeRunner`."""

    id: str
    act: str = "succeed"
    seconds: float = 0.0
    shape: str = "one"
    work: float = 1.0

    @property
    def cell(self) -> dict[str, Any]:
        return {"act": self.act}

    def identity(self) -> dict[str, Any]:
        return {"kind": "trial", "id": self.id, "cell": self.cell}


def fake_trials(count: int, **given: Any) -> list[FakeTrial]:
    return [FakeTrial(id=f"{number:016x}", **given) for number in range(count)]


def torch_without_its_gpu() -> Any:
    """What torch is in a process whose CUDA context is broken: every call raises."""

    def synchronize() -> None:
        raise RuntimeError("an illegal memory access was encountered")

    cuda = SimpleNamespace(is_initialized=lambda: True, synchronize=synchronize)
    return SimpleNamespace(cuda=cuda)


class FakeRunner:
    """Notes every attempt in a folder, one empty file each, then does as the trial says."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def run(self, trial: FakeTrial, progress: Callable[[int, int], None]) -> dict[str, Any]:
        attempts = 0
        if self.folder is not None:
            attempts = len(list(self.folder.glob(f"{trial.id}.*")))
            (self.folder / f"{trial.id}.{attempts}.{os.getpid()}").touch()
        if trial.act == "silent":
            time.sleep(trial.seconds)
        if trial.act == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if trial.act == "talk":
            print("all is well " * 20, file=sys.stderr)
        end = time.monotonic() + trial.seconds
        while time.monotonic() < end:
            progress(1, 2)
            time.sleep(min(0.01, trial.seconds))
        result: Any = {"final": {"epoch": 1, "test": 0.5, "validation": None}}
        if trial.act == "raise":
            raise ZeroDivisionError("a bug in a student")
        if trial.act == "break the GPU" or (trial.act == "break the GPU once" and not attempts):
            sys.modules["torch"] = torch_without_its_gpu()
            raise RuntimeError("an illegal memory access was encountered")
        if trial.act == "kill" or (trial.act == "kill once" and not attempts):
            os.kill(os.getpid(), signal.SIGKILL)
        if trial.act == "segfault":
            ctypes.string_at(0)
        if trial.act == "exit":
            print("a library gave up", file=sys.stderr)
            os._exit(3)
        if trial.act == "unpicklable":
            result = lambda: None  # noqa: E731
        if trial.act == "not a number":
            result = float("nan")
        return trial.identity() | {
            "status": "done",
            "result": result,
            "seconds": {"steps": trial.seconds},
            "where": {
                "pid": os.getpid(),
                "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
                "omp": os.environ.get("OMP_NUM_THREADS"),
                "cores": sorted(os.sched_getaffinity(0)),
                "machine_cores": machine_cores(),
                "torch": "torch" in sys.modules,
            },
        }


@dataclass(frozen=True)
class MakeFakes:
    """A factory of runners. ``start``: what it does before, if anything."""

    folder: Path | None = None
    start: str = "well"

    def __call__(self) -> FakeRunner:
        if self.start == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.start == "refused":
            raise MismatchError("the labels are of another dataset")
        if self.start == "bug":
            raise KeyError("a bug in a factory")
        if self.start == "hangs":
            time.sleep(600)
        return FakeRunner(self.folder)


def write_file(folder: Path, record: dict[str, Any]) -> None:
    """A ledger without durability."""
    (folder / f"{record['id']}.json").write_text(json.dumps(record, allow_nan=False))
