"""Labels that no expert gave, learned and derived, each a set of images with them for students.

They go by `evaluate_distilled` and not through the sweep, whose labels are an expert's: a report
must not take them for a second expert.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.distilled import evaluate_distilled, export_distilled
from engine.errors import TrainingDiverged
from engine.experiments.learned_labels import compare_with_expert, derive_labels, learn_labels
from engine.experiments.learned_labels.derive import epoch_of
from engine.records import write_bytes
from engine.reproduction.check import derived_folder, learned_folder, students_of
from engine.reproduction.plan import Plan
from engine.reproduction.scale import Scale
from engine.training.progress import Progress


@dataclass(frozen=True, kw_only=True)
class LabelSets:
    """Makes the sets of a reproduction. ``folders``: for the report; ``problems``: sentences."""

    scale: Scale
    plan: Plan
    data: Path
    out: Path
    workers: int | str
    threads: int | None
    progress: Progress
    folders: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def learn(self) -> None:
        """Learn labels, compare them with the first expert's, and train students on them.

        Labels whose learning diverges are a problem of their own: the rest gets its report.
        """
        store, expert = self.out / "labels.zarr", self.plan.experts[0]
        for settings in self.plan.learned:
            folder = learned_folder(self.out, settings)
            ipc, initial = int(settings["ipc"]), str(settings["initial"])
            begin: dict[str, Any] = {}
            if initial == "expert":
                epoch = self.scale.expert_epoch_at(ipc)
                begin = {"labels": store, "expert": expert, "expert_epoch": epoch}
            try:
                learn_labels(self.data, folder, overrides=settings, progress=self.progress, **begin)
            except TrainingDiverged as error:
                self.problems.append(f"{folder}: {error}")
                continue
            compare_with_expert(folder, store, expert=expert)
            self.folders.append(folder)
            # A report calls a set what its file is called.
            named = self.out / "learned" / f"ipc-{ipc}" / f"learned-from-{initial}.npz"
            write_bytes(named, (folder / "distilled.npz").read_bytes())
            assert self.scale.learned is not None
            self._evaluate(named, students_of(folder), ipc, self.scale.learned.seeds)

    def derive(self) -> None:
        """Labels by distances in pixels, on the same images as a sweep's first subset."""
        if not self.plan.derived:
            return
        assert self.scale.derived is not None
        store, side = self.out / "derived.zarr", self.plan.resolution
        entropies = sorted({nats for _, nats in self.plan.derived})
        derive_labels(
            self.data, store, entropies=entropies, resolution=side, progress=self.progress
        )
        for ipc, nats in self.plan.derived:
            chosen = derived_folder(self.out, ipc, nats)
            export_distilled(
                self.data,
                store,
                chosen,
                ipc=ipc,
                expert_epoch=epoch_of(nats),
                format="npz",
                resolution=side,
                progress=self.progress,
            )
            self._evaluate(chosen, students_of(chosen), ipc, self.scale.derived.seeds)

    def _evaluate(self, distilled: Path, students: Path, ipc: int, seeds: Sequence[int]) -> None:
        evaluated = evaluate_distilled(
            self.data,
            distilled,
            students,
            seeds=seeds,
            workers=self.workers,
            threads=self.threads,
            overrides=self.plan.student_at(ipc),
            progress=self.progress,
        )
        self.problems.extend(f"{students}: {error}" for error in evaluated["errors"])
        self.folders.append(students)


__all__ = ["LabelSets"]
