"""The loop outside: Adam on the logits, measured now and then, resumable at every checkpoint.

In: an opened folder, a recipe and the logits to begin with. Out: the folder, grown by outer steps.
What a step draws is keyed on its number, so a resumed loop ends in the bytes of one never stopped.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import beton_builder
from engine.errors import TrainingDiverged
from engine.experiments.learned_labels.folder import LearnedFolder
from engine.experiments.learned_labels.held_out import HeldOutStudents
from engine.experiments.learned_labels.problem import LabelLearning
from engine.experiments.learned_labels.reading import entropy_of, softmax
from engine.experiments.learned_labels.recipe import LearnedRecipe
from engine.experiments.targets import hard_targets
from engine.training.checkpoint import optimiser_tensors, restore_optimiser
from engine.training.progress import Progress

LOGITS = "logits"
INITIAL = "initial_logits"


class OuterLoop:
    """The outer loop between its checkpoints: logits, Adam, and the history not yet written."""

    def __init__(
        self,
        dataset: beton_builder.Dataset,
        recipe: LearnedRecipe,
        folder: LearnedFolder,
        ids: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int64],
        begin_nk: npt.NDArray[np.float32],
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.labels = labels
        self.num_classes = dataset.num_classes
        self.seed = int(folder.manifest["seed"])
        self.problem = LabelLearning(dataset, recipe, ids)
        self.students: HeldOutStudents | None = None
        if recipe.held_out.every:
            self.students = HeldOutStudents(dataset, self.problem, recipe.held_out)
        self.begin = torch.from_numpy(begin_nk).clone()
        self.logits = self.begin.clone().requires_grad_()
        self.adam = torch.optim.Adam([self.logits], lr=recipe.outer.lr)
        self.history: list[dict[str, Any]] = []
        self.step = 0
        self.seconds = 0.0
        done = folder.steps()
        if done:
            self.step = done[-1]
            tensors = folder.state(self.step)
            self.begin = tensors.pop(INITIAL)
            with torch.no_grad():
                self.logits.copy_(tensors.pop(LOGITS))
            restore_optimiser(self.adam, tensors)

    def run(self, progress: Progress) -> None:
        """Take the outer steps that are missing, and store what came out."""
        steps = self.recipe.steps
        if not self.folder.steps():
            measured = self._held_out(progress, first=True)
            self.history.append({"step": 0, "entropy": self._entropy(), **measured})
            self._checkpoint()
        progress("learn labels", self.step, steps)
        while self.step < steps:
            self._take_step(progress)
            progress("learn labels", self.step, steps)
            if self.step % self.recipe.checkpoint_every == 0 or self.step == steps:
                self._checkpoint()
        self._store_result()

    def _take_step(self, progress: Progress) -> None:
        started = time.perf_counter()
        outcome = self.problem.outer_step(self.logits, self.seed, self.step)
        norm = float(outcome.gradient_nk.norm())
        if not math.isfinite(outcome.loss) or not math.isfinite(norm):
            raise TrainingDiverged(
                f"outer step {self.step + 1}: loss {outcome.loss}, gradient's norm {norm}; lower "
                f"inner.lr (it is {self.recipe.inner.lr:g}) or inner.window (it is "
                f"{self.recipe.inner.window}). The steps before it are kept in {self.folder.path}."
            )
        clipped = min(1.0, self.recipe.outer.clip / max(norm, 1e-30))
        self.logits.grad = outcome.gradient_nk * clipped
        self.adam.step()
        self.step += 1
        self.seconds += time.perf_counter() - started
        row: dict[str, Any] = {
            "step": self.step,
            "outer_loss": outcome.loss,
            "gradient_norm": norm,
            "start": outcome.start,
            "entropy": self._entropy(),
        }
        if self.students is not None and self.step % self.recipe.held_out.every == 0:
            row |= self._held_out(progress)
        self.history.append(row)

    def _held_out(self, progress: Progress, *, first: bool = False) -> dict[str, Any]:
        """Validation accuracy of a short student on the labels; at first on hard ones too."""
        if self.students is None:
            return {}
        row: dict[str, Any] = {
            "validation_accuracy": self.students.accuracy(softmax(self._now()), progress),
            "student_epochs": self.recipe.held_out.epochs,
        }
        if first:
            hard = hard_targets(self.labels, self.num_classes)
            row["hard_validation_accuracy"] = self.students.accuracy(hard, progress)
        return row

    def _now(self) -> npt.NDArray[np.float32]:
        return self.logits.detach().numpy().copy()

    def _entropy(self) -> float:
        return float(entropy_of(softmax(self._now())).mean())

    def _checkpoint(self) -> None:
        tensors = {LOGITS: self.logits.detach(), INITIAL: self.begin}
        self.folder.write_step(
            self.step,
            tensors | optimiser_tensors(self.adam),
            self.history,
            # Apart from the history, which is the same in every run.
            self.problem.arithmetic.describe() | {"seconds": self.seconds},
        )
        self.history, self.seconds = [], 0.0

    def _store_result(self) -> None:
        ids, logits = self.problem.ids, self._now()
        images_nhwc = self.problem.subset.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.folder.write_result(
            self.step,
            {
                "ids": ids,
                "labels": self.labels,
                "logits": logits,
                "initial_logits": self.begin.numpy(),
            },
            {
                "images": images_nhwc,
                "soft_labels": softmax(logits),
                "labels": self.labels,
                "sample_ids": ids,
                "classes": self.folder.manifest["dataset"]["classes"],
            },
        )
