"""Trials and runners without a network, for the tests of executors on Ray."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def two_nodes() -> Iterator[Any]:
    """A cluster: two nodes of one CPU each besides a head without any; listeners may add some."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        # A node that is added wants a signal handler, which a listener's thread can't install.
        patch.setattr("ray._private.utils.set_sigterm_handler", lambda handler: None)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


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
