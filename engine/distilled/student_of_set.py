"""A student of a distilled set, as the executors of sweeps run it: a trial with images of its own.

Planning, workers, training, evaluation and records are a sweep's; only where images and targets
come from differs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

import beton_builder
from engine.distilled.distilled_set import DistilledSet
from engine.distilled.opening import open_distilled
from engine.errors import MismatchError
from engine.records import content_id
from engine.sweep.executors.trial_runner import TrialRunner
from engine.sweep.planning.trial import PROTOCOL_VERSION, Trial
from engine.training.precision import Arithmetic, choose_arithmetic, keep_freed_memory
from engine.training.student import Subset

__all__ = ["SetRunnerFactory", "StudentOfSet"]


@dataclass(frozen=True, kw_only=True)
class StudentOfSet(Trial):
    """A trial on a distilled set. ``set_id``: of its content; ``set_images``: how many there are.

    ``evaluation``: id of what it belongs to; ``labels_are``: hard or soft.
    """

    set_id: str
    set_images: int
    labels_are: str
    evaluation: str

    @cached_property
    def id(self) -> str:
        """16 hex digits; equal for equal results."""
        seeds = {name: seed for name, seed in vars(self.seeds).items() if name != "subset_seed"}
        return content_id({"evaluation": self.evaluation, "seeds": seeds})

    @property
    def num_images(self) -> int:
        """Images of the set, in balanced classes or not."""
        return self.set_images

    @property
    def cell(self) -> dict[str, Any]:
        """What a running evaluation says of each student."""
        return {"ipc": self.ipc, "labels": self.labels_are, "seed": self.seeds.init_seed}

    @property
    def parents(self) -> dict[str, Any]:
        """Ids of what it was made from."""
        facts = self.dataset
        images = {"dataset": facts.id, "normalisation": facts.normalisation}
        return {**images, "distilled": self.set_id}

    @property
    def file_name(self) -> str:
        """Of its record: the seed, or the seeds of weights, order and augmentation apart."""
        seeds = (self.seeds.init_seed, self.seeds.order_seed, self.seeds.augment_seed)
        return "-".join(map(str, seeds if len(set(seeds)) > 1 else seeds[:1])) + ".json"

    def identity(self) -> dict[str, Any]:
        """The part of its record that is known before it runs."""
        return {
            "kind": "student",
            "id": self.id,
            "evaluation": self.evaluation,
            "protocol": PROTOCOL_VERSION,
            "cell": self.cell,
            "seeds": asdict(self.seeds),
            "student": self.student.model_dump(mode="json"),
            "parents": self.parents,
        }


@dataclass(frozen=True, kw_only=True)
class SetRunnerFactory:
    """Makes a runner in whatever process it is called; pickled, it is two paths and a few words."""

    data: str
    distilled: str
    images: str
    label_kind: str
    resolution: int
    set_id: str
    precision: str

    def __call__(self) -> SetRunner:
        keep_freed_memory()
        dataset = beton_builder.open_dataset(self.data)
        opened = open_distilled(
            self.distilled,
            dataset=dataset,
            images=self.images,
            label_kind=self.label_kind,
            resolution=self.resolution,
        )
        if opened.id != self.set_id:
            raise MismatchError(
                f"{self.distilled} changed while it was evaluated: expected set {self.set_id}, "
                f"found {opened.id}; run the same command again"
            )
        return SetRunner(dataset, opened, choose_arithmetic(self.precision))


class SetRunner(TrialRunner):
    """A sweep's runner whose students all train on one distilled set."""

    def __init__(
        self, dataset: beton_builder.Dataset, distilled: DistilledSet, arithmetic: Arithmetic
    ) -> None:
        super().__init__(dataset, None, arithmetic)
        self._targets = torch.from_numpy(distilled.targets_nk)
        ids = distilled.ids
        # Augmentation is keyed on sample ids: an export of ours gets what its images got before.
        self._ids = np.arange(distilled.num_images) if ids is None else ids
        self._distilled: DistilledSet | None = distilled
        self._inputs = torch.empty(0)

    def subset_of(self, trial: Trial) -> Subset:
        if trial.dataset.id != self.dataset.id:
            raise MismatchError(
                f"{self.dataset.path} changed while the set was evaluated: expected dataset "
                f"{trial.dataset.id}, found {self.dataset.id}; run the same command again"
            )
        if self._distilled is not None:
            self._inputs = self._as_inputs(self._distilled, trial)
            self._distilled = None  # its images lie in memory once, not twice
        return Subset(images_nchw=self._inputs, targets_nk=self._targets, ids=self._ids)

    def _as_inputs(self, distilled: DistilledSet, trial: Trial) -> Tensor:
        """uint8 images, or floats that are normalised already; channels last in memory."""
        images = distilled.images_nchw.to(self.arithmetic.device)
        if distilled.scale == "unit":
            images = self._trainer_of(trial).network.normalise(images * 255)
        return images.contiguous(memory_format=torch.channels_last)
