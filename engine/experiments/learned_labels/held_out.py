"""How good labels are, asked of students that had no part in learning them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import beton_builder
from engine.experiments.learned_labels.problem import LabelLearning
from engine.experiments.learned_labels.recipe import HeldOut
from engine.loading import Resident, load_resident
from engine.training.evaluate import EVALUATION_BATCH, count_correct
from engine.training.progress import Progress
from engine.training.recipe import Seeds, StudentRecipe
from engine.training.step import Network
from engine.training.student import StudentTrainer, Subset


class HeldOutStudents:
    """Trains the papers' students, only shorter, from initial weights that learning never sees."""

    def __init__(
        self, dataset: beton_builder.Dataset, problem: LabelLearning, config: HeldOut
    ) -> None:
        self.problem = problem
        inner = problem.recipe.inner
        self.recipe = StudentRecipe(
            model=problem.recipe.model,
            epochs=config.epochs,
            lr=config.lr,
            batch_size=inner.batch_size,
            augmentation=inner.augmentation,
            resolution=problem.recipe.resolution,
            evaluations=1,
            precision="fp32",
        )
        self.trainer = StudentTrainer(
            problem.recipe.model,
            mean=dataset.mean,
            std=dataset.std,
            whitening=dataset.whitening(),
            arithmetic=problem.arithmetic,
            **problem.shape,
        )
        self.validation: Resident | None = None
        if len(dataset.validation_indices):
            self.validation = load_resident(
                dataset,
                "train",
                indices=dataset.validation_indices,
                resolution=problem.recipe.resolution,
                device=problem.device,
            )

    def accuracy(self, targets_nk: npt.NDArray[np.float32], progress: Progress) -> float | None:
        """Validation accuracy of a student of these probabilities; None without validation."""
        if self.validation is None:
            return None
        subset = Subset(
            images_nchw=self.problem.subset.images,
            targets_nk=torch.from_numpy(np.ascontiguousarray(targets_nk, np.float32)),
            ids=self.problem.ids,
        )
        outcome = self.trainer.train(
            subset,
            self.recipe,
            Seeds(),
            self._evaluate,
            progress=lambda done, total: progress("train a held-out student", done, total),
        )
        found: float = outcome["evaluations"][-1]["validation"]
        return found

    def _evaluate(self, network: Network) -> dict[str, Any]:
        assert self.validation is not None
        batches = self.validation.batches(
            self.validation.ids.cpu().numpy(), batch_size=EVALUATION_BATCH, shuffle=False
        )
        return {
            "test": None,
            "validation": int(count_correct(network, batches)) / len(self.validation),
        }
