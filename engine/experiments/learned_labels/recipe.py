"""How labels are learned: the students inside, the optimiser outside, and how it is watched."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from engine.training.optimise import Strict


class Inner(Strict):
    """The students through whose training labels are learned: SGD at a constant learning rate.

    Every outer step trains a new student. Of its at most ``horizon`` steps the last ``window`` are
    differentiated; how many come before them is drawn anew each time (truncated back-propagation
    with a random start, as in Ra-BPTT).
    """

    horizon: int = Field(default=80, ge=1)
    window: int = Field(default=20, ge=1)
    lr: float = Field(default=1e-2, gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0, allow_inf_nan=False)
    batch_size: int = Field(default=256, ge=1)
    augmentation: Literal["dsa", "none"] = "dsa"

    @model_validator(mode="after")
    def _window_fits(self) -> Inner:
        if self.window > self.horizon:
            raise ValueError(f"window {self.window} is longer than horizon {self.horizon}")
        return self


class Outer(Strict):
    """Adam on the labels' logits: real training images with hard labels measure the student.

    ``clip``: the gradient's largest norm.
    """

    lr: float = Field(default=0.05, gt=0, allow_inf_nan=False)
    batch_size: int = Field(default=512, ge=1)
    clip: float = Field(default=1.0, gt=0, allow_inf_nan=False)


class HeldOut(Strict):
    """Now and then a new student is trained on the labels as they are, and asked of validation.

    ``every``: outer steps between two of them, 0 for none. ``epochs``, ``lr``: of that student,
    whose other options are the papers' (docs/protocol.md §1, students).
    """

    every: int = Field(default=50, ge=0)
    epochs: int = Field(default=300, ge=1)
    lr: float = Field(default=1e-2, gt=0, allow_inf_nan=False)


class LearnedRecipe(Strict):
    """What is learned and how. ``steps``, ``checkpoint_every`` and ``held_out`` can change later.

    ``initial``: labels to begin with: ``hard`` (the true class has 1 - ``smoothing``, the others
    share the rest), ``uniform``, or ``expert`` (an epoch of a label store). Nothing but ``expert``
    knows of an expert at any point.
    """

    ipc: int = Field(default=1, ge=1)
    subset_seed: int = Field(default=0, ge=0, lt=2**32)
    steps: int = Field(default=300, ge=0)
    model: str = "convnet-d3"
    resolution: int | None = Field(default=None, ge=4)
    initial: Literal["hard", "uniform", "expert"] = "hard"
    smoothing: float = Field(default=0.1, gt=0, lt=1)
    inner: Inner = Inner()
    outer: Outer = Outer()
    held_out: HeldOut = HeldOut()
    checkpoint_every: int = Field(default=25, ge=1)

    @property
    def knowledge_free(self) -> bool:
        """Whether no expert has any part in these labels."""
        return self.initial != "expert"

    def identity(self) -> dict[str, Any]:
        """What the labels' id is made of: everything that decides which labels come out when."""
        return self.model_dump(mode="json", exclude={"steps", "checkpoint_every", "held_out"})
