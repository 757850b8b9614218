"""Trials and runners without a network, for the tests of executors on Ray."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FakeTrial:
    id: str
    shape: str = "a"
    work: float = 1.0

    @property
    def cell(self) -> dict[str, Any]:
        return {"shape": self.shape}

    def identity(self) -> dict[str, Any]:
        return {"kind": "trial", "id": self.id}


@dataclass(frozen=True)
class FakeRunner:
    """Answers after `seconds`; what it should do besides is in the trial's id."""

    seconds: float = 0.0
    marks: str = ""

    def __call__(self) -> FakeRunner:
        return self

    def run(self, trial: FakeTrial, progress: Any) -> dict[str, Any]:
        if self.marks:
            with Path(self.marks, trial.id).open("a") as file:
                file.write(f"{os.getpid()}\n")
        if trial.id.startswith("raise"):
            raise ValueError(f"no student can learn {trial.id}")
        if trial.id.startswith("die"):
            os.kill(os.getpid(), 9)
        time.sleep(self.seconds)
        return {**trial.identity(), "status": "done", "value": len(trial.id) * trial.work}


class CannotStart:
    def __call__(self) -> FakeRunner:
        raise RuntimeError("there is no such dataset here")
