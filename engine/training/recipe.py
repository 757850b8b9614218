"""What an expert and a student are trained with (docs/protocol.md §1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field, model_validator

from engine.training.optimise import Optimiser, Schedule, Strict

Precision = Literal["auto", "fp32", "bf16"]


class ExpertRecipe(Strict):
    """An expert's training. Everything but ``epochs`` is part of the run's identity.

    The defaults are the papers' recipe for CIFAR-10/100 and TinyImageNet.
    """

    model: str = "convnet-d3"
    epochs: int = Field(default=50, ge=0)
    lr: float = Field(default=1e-2, gt=0, allow_inf_nan=False)
    batch_size: int = Field(default=256, ge=1)
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    augmentation: Literal["dsa", "random-resized-crop", "none"] = "dsa"
    resolution: int | None = Field(default=None, ge=4)
    precision: Precision = "auto"
    hold_out: bool = False

    @model_validator(mode="after")
    def _grows(self) -> ExpertRecipe:
        if self.schedule.kind == "step" and self.schedule.every is None:
            raise ValueError("an expert's step schedule needs schedule.every, in epochs")
        if self.schedule.kind == "cosine" and self.schedule.horizon is None:
            raise ValueError("an expert's cosine schedule needs schedule.horizon, in epochs")
        return self

    def identity(self) -> dict[str, object]:
        """What the run's id is made of: everything but how long it goes on."""
        return self.model_dump(mode="json", exclude={"epochs"})


class StudentRecipe(Strict):
    """A student's training; the defaults are the papers'.

    augmentation: ``dsa``, ``cutmix`` (of the stored labels too, see `engine.augment.cutmix`) or
    ``none``.
    """

    model: str = "convnet-d3"
    epochs: int = Field(default=3000, ge=1)
    lr: float = Field(default=1e-2, gt=0, allow_inf_nan=False)
    batch_size: int = Field(default=256, ge=1)
    optimiser: Optimiser = Optimiser(momentum=0.9, weight_decay=5e-4)
    schedule: Schedule = Schedule(kind="step", factor=0.3)
    augmentation: Literal["dsa", "cutmix", "none"] = "dsa"
    resolution: int | None = Field(default=None, ge=4)
    evaluations: int = Field(default=15, ge=1)
    precision: Precision = "auto"

    def evaluation_epochs(self) -> list[int]:
        """The epochs after which a student is evaluated, evenly spread, the last one included."""
        count = min(self.evaluations, self.epochs)
        return [round(self.epochs * (i + 1) / count) for i in range(count)]


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """What a student's randomness comes from; each part can be varied alone."""

    subset_seed: int = 0
    init_seed: int = 0
    order_seed: int = 0
    augment_seed: int = 0
