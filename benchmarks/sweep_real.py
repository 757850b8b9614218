"""A sweep of 60 students of CIFAR-100, against the plain way: one process per student.

IPC 1 and 5, the labels of an expert's initial weights and of its first epoch, 15 seeds: 30 students
of ConvNetD3 at each IPC, 200 epochs, 3 evaluations. Ours is the whole command, in a fresh process:
``engine sweep-students`` with two one-thread workers, compiling included (into an empty cache).
The plain way is `benchmarks.plain_student`, process after process, each with all cores: timed on
two students of each IPC, one before our sweep and one after it, and scaled to 60.

The row's value and its peer's are seconds of all 60. ``step_factor``: the seconds that the plain
way spends in training steps over ours; ``overhead_factor``: the same of all other seconds (start,
imports, compiling, reading, labels, evaluation, records). Ours are seconds of the wall, those of
two workers halved. Making the dataset, the expert and its labels is outside: for both sides it is
done once.

``trials`` takes fewer students, by fewer seeds, and scales; the row says so in ``scaled_from``.
That is against us, for what is done once counts as often as trials are.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import beton_builder
from benchmarks.errors import BenchmarkError
from benchmarks.plain_student import PlainStudent, save_images
from benchmarks.suite import Figure, Progress, figure
from benchmarks.sweep_inputs import build_cifar100

BAR = 6.0
TRIALS = 60
WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is trained, and on how much. ``per_class``: images of train and test; None means all."""

    ipc: tuple[int, ...] = (1, 5)
    expert_epochs: tuple[int, ...] = (0, 1)
    num_seeds: int = 15
    student_epochs: int = 200
    evaluations: int = 3
    plain_trials: int = 2
    train_per_class: int | None = None
    test_per_class: int | None = None
    compiled: bool = True

    @property
    def trials(self) -> int:
        """Students of our sweep."""
        return len(self.ipc) * len(self.expert_epochs) * self.num_seeds

    def trials_at(self, ipc: int) -> int:
        """Students of one IPC among all 60."""
        assert ipc in self.ipc
        return TRIALS // len(self.ipc)


QUICK = Size(
    ipc=(1, 2),
    expert_epochs=(0,),
    num_seeds=1,
    student_epochs=1,
    evaluations=1,
    plain_trials=1,
    train_per_class=20,
    test_per_class=1,
    compiled=False,
)


def figures(
    workspace: Path, *, progress: Progress, quick: bool, trials: int = TRIALS
) -> list[Figure]:
    """One row; it takes an hour on 2 cores. Raises DataMissing."""
    size = QUICK if quick else sized(trials)
    inputs = _prepare(workspace, size, progress)
    parts = 2 + size.plain_trials
    progress("sweep against one process per trial", 0, parts)
    plain = [_plain_trials(inputs, size, seed=0)]
    progress("sweep against one process per trial", 1, parts)
    ours = _our_sweep(workspace, inputs, size)
    progress("sweep against one process per trial", 2, parts)
    for seed in range(1, size.plain_trials):
        plain.append(_plain_trials(inputs, size, seed=seed))
        progress("sweep against one process per trial", 2 + seed, parts)
    progress("sweep against one process per trial", parts, parts)
    return [compare(ours, plain, size)]


def sized(trials: int) -> Size:
    """The full size with fewer seeds. Raises BenchmarkError where no number of seeds fits."""
    one_seed = len(Size.ipc) * len(Size.expert_epochs)
    if trials % one_seed or not 0 < trials <= TRIALS:
        raise BenchmarkError(
            f"expected a multiple of {one_seed} up to {TRIALS} as number of trials, got {trials}"
        )
    return Size(num_seeds=trials // one_seed)


class Spent(NamedTuple):
    """Seconds of the wall: in all, and those in training steps; and how many images these saw."""

    seconds: float
    step_seconds: float
    images: int


def compare(ours: Spent, plain: list[dict[int, Spent]], size: Size) -> Figure:
    """The row. ``plain``: by IPC, one student each, as often as that was timed."""
    times = TRIALS / size.trials
    seconds, step_seconds = times * ours.seconds, times * ours.step_seconds
    peer_seconds = peer_step_seconds = peer_images = 0.0
    for ipc in size.ipc:
        timed = [students[ipc] for students in plain]
        count = size.trials_at(ipc)
        peer_seconds += count * statistics.fmean(each.seconds for each in timed)
        peer_step_seconds += count * statistics.fmean(each.step_seconds for each in timed)
        peer_images += count * statistics.fmean(each.images for each in timed)
    row = figure(
        "sweep_60_trials",
        seconds,
        "s",
        peer="one process per trial, one after another with all cores, eager fp32 "
        f"(ours: {WORKERS} workers of one thread)",
        peer_value=peer_seconds,
        bar=BAR,
        less_is_better=True,
    )
    return row | {
        "step_factor": peer_step_seconds / step_seconds,
        "overhead_factor": (peer_seconds - peer_step_seconds) / (seconds - step_seconds),
        "images_per_second": ours.images / ours.step_seconds,
        "peer_images_per_second": peer_images / peer_step_seconds,
        "scaled_from": size.trials,
        "peer_scaled_from": size.plain_trials * len(size.ipc),
    }


class Inputs(NamedTuple):
    """Where things lie; ``environment`` is that of our own processes."""

    data: Path
    labels: Path
    checkpoint: Path
    images: Path
    environment: Mapping[str, str]


def _prepare(workspace: Path, size: Size, progress: Progress) -> Inputs:
    progress("prepare", 0, 3)
    dataset = build_cifar100(
        workspace, train_per_class=size.train_per_class, test_per_class=size.test_per_class
    )
    environment = os.environ | ({} if size.compiled else {"ENGINE_EAGER": "1"})
    epochs = max(size.expert_epochs)
    run, labels, images = (workspace / name for name in ("run", "labels.zarr", "images"))
    data = ["--data", str(dataset.path)]
    train = [*data, "--out", str(run), "--epochs", str(epochs)]
    _engine(["train-expert", *train], environment)
    progress("prepare", 1, 3)
    listed = ",".join(map(str, size.expert_epochs))
    dump = [*data, "--expert", str(run), "--out", str(labels), "--epochs", listed]
    _engine(["dump-labels", *dump], environment)
    progress("prepare", 2, 3)
    images.mkdir()
    _save_all_images(images, dataset)
    progress("prepare", 3, 3)
    checkpoint = run / "checkpoints" / f"epoch_{epochs:04d}.safetensors"
    return Inputs(dataset.path, labels, checkpoint, images, environment)


def _save_all_images(folder: Path, dataset: beton_builder.Dataset) -> None:
    from engine.loading import load_resident

    for split in ("train", "test"):
        resident = load_resident(dataset, split)
        images_nhwc = resident.images.permute(0, 2, 3, 1).contiguous().numpy()
        save_images(folder, split, images_nhwc, resident.labels.numpy())


def _our_sweep(workspace: Path, inputs: Inputs, size: Size) -> Spent:
    lists = {
        "--ipc": size.ipc,
        "--expert-epochs": size.expert_epochs,
        "--seeds": range(size.num_seeds),
    }
    settings = {
        "labels": "[soft]",
        "student.epochs": size.student_epochs,
        "student.evaluations": size.evaluations,
    }
    arguments = ["--data", str(inputs.data), "--labels", str(inputs.labels)]
    arguments += ["--out", str(workspace / "sweep"), "--workers", str(WORKERS), "--threads", "1"]
    for option, values in lists.items():
        arguments += [option, ",".join(map(str, values))]
    for key, value in settings.items():
        arguments += ["--set", f"{key}={value}"]
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(workspace / "compiled")}
    begin = time.perf_counter()
    answer = _engine(["sweep-students", *arguments], {**inputs.environment, **cache})
    seconds = time.perf_counter() - begin
    if (answer["ran"], answer["failed"]) != (size.trials, 0):
        raise BenchmarkError(
            f"expected {size.trials} trials to succeed, found that {answer['ran']} ran and "
            f"{answer['failed']} failed: {'; '.join(answer['errors'])}"
        )
    images = sum(len(size.expert_epochs) * size.num_seeds * _images(ipc, size) for ipc in size.ipc)
    return Spent(seconds, answer["seconds_by_part"]["steps"] / WORKERS, images)


def _images(ipc: int, size: Size) -> int:
    return 100 * ipc * size.student_epochs


def _plain_trials(inputs: Inputs, size: Size, *, seed: int) -> dict[int, Spent]:
    """One student of each IPC."""
    spent = {}
    for ipc in size.ipc:
        student = PlainStudent(
            images=str(inputs.images),
            checkpoint=str(inputs.checkpoint),
            ipc=ipc,
            seed=seed,
            epochs=size.student_epochs,
            evaluations=size.evaluations,
        )
        command = [sys.executable, "-m", "benchmarks.plain_student", json.dumps(asdict(student))]
        begin = time.perf_counter()
        answer = _run(command, os.environ)
        seconds = time.perf_counter() - begin
        if answer["images"] != _images(ipc, size):
            raise BenchmarkError(
                f"a plain student was trained on {answer['images']} images, ours on "
                f"{_images(ipc, size)}"
            )
        spent[ipc] = Spent(seconds, answer["step_seconds"], answer["images"])
    return spent


def _engine(arguments: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    return _run([sys.executable, "-m", "cli.main", *arguments, "--json"], environment)


def _run(command: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """A command's answer in JSON."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise BenchmarkError(
            f"`{' '.join(command)}` ended with exit code {done.returncode}:\n{done.stderr.strip()}"
        )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
