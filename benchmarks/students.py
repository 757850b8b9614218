"""Training steps: ConvNetD3 at 3×32×32 and 100 classes, DSA included, against plain PyTorch.

Contestants live in processes of their own, because allocator settings, threads and compiled code
belong to a process, and take turns there (see `benchmarks.step_contestant`):

- ours: the code that trains experts and students here;
- eager_fp32, the plain way: the network from torch's modules, TensorDataset + DataLoader, DSA as
  eager operations on the batch, SGD;
- compiled_fp32: the plain way with ``torch.compile`` around the network;
- convolutions: nothing but the network's convolutions, forward and backward, in our precision and
  memory layout. No step can be faster on this machine: the roofline.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.suite import Figure, Progress, figure, medians, share

CASES = {"student_step_ipc1": 100, "student_step_ipc10": 1000, "expert_step": 5120}
"""Images of the training set; batches are 256, the last one partial."""

CONTESTANTS = ("ours", "eager_fp32", "compiled_fp32", "convolutions")
ROUNDS = 5
SECONDS = 3.0
BAR = 3.5


class Contestant:
    """A process that trains one way, and runs a burst of steps when asked."""

    def __init__(self, way: str, images: int, seconds: float) -> None:
        command = [sys.executable, "-m", "benchmarks.step_contestant", way, str(images)]
        self.way = way
        self.seconds = seconds
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.about = self._answer()

    def burst(self) -> float:
        """Train for a while; images per second."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{self.seconds}\n")
        self.process.stdin.flush()
        return float(self._answer()["images_per_second"])

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise BenchmarkError(
                f"the contestant {self.way} ended with exit code {self.process.wait()}; "
                f"next: `python -m benchmarks.step_contestant {self.way} 100` shows why"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Contestant:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def figures(*, progress: Progress, quick: bool = False) -> list[Figure]:
    """Rows for each case: against the plain way, against it compiled, share of the roofline."""
    rows: list[Figure] = []
    for name, images in CASES.items():
        with ExitStack() as stack:
            running = {}
            for position, way in enumerate(CONTESTANTS):
                progress(f"start {name}", position, len(CONTESTANTS))
                contestant = Contestant(way, images, 0.1 if quick else SECONDS)
                running[way] = stack.enter_context(contestant)
            progress(f"start {name}", len(CONTESTANTS), len(CONTESTANTS))
            speed = medians(
                {way: contestant.burst for way, contestant in running.items()},
                rounds=1 if quick else ROUNDS,
                stage=name,
                progress=progress,
            )
            about = running["ours"].about
        unit = "images/s"
        rows += [
            figure(
                name,
                speed["ours"],
                unit,
                peer="eager fp32",
                peer_value=speed["eager_fp32"],
                bar=BAR,
            ),
            figure(
                f"{name}_vs_compiled_fp32",
                speed["ours"],
                unit,
                peer="compiled fp32",
                peer_value=speed["compiled_fp32"],
            ),
            share(f"{name}_of_roofline", speed["ours"], unit, limit=speed["convolutions"]),
        ]
        rows[-3] |= {
            "compile_seconds": about["compile_seconds"],
            "precision": about["precision"],
            "limit": speed["convolutions"],
        }
    return rows
