"""Optimisers and learning-rate schedules of the papers, as configuration and pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    import torch


class Strict(BaseModel):
    """A configuration: frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Optimiser(Strict):
    """``sgd`` (momentum, weight decay coupled) or ``adamw`` (decoupled, by default 0.01)."""

    kind: Literal["sgd", "adamw"] = "sgd"
    momentum: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _papers_weight_decay(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("kind") == "adamw":
            return {"weight_decay": 0.01, **values}
        return values

    @model_validator(mode="after")
    def _only_what_is_read(self) -> Optimiser:
        if self.kind == "adamw" and self.momentum:
            raise ValueError("momentum belongs to kind sgd, not to adamw")
        return self


class Schedule(Strict):
    """Learning rate by epoch: ``constant``; ``step`` every so many epochs; ``cosine`` to zero.

    ``every`` (step) and ``horizon`` (cosine) are epochs. A student may leave them out: a quarter
    of its epochs and all of them. An expert may not, since its epochs can grow later.
    """

    kind: Literal["constant", "step", "cosine"] = "constant"
    every: int | None = Field(default=None, ge=1)
    factor: float = Field(default=0.1, gt=0, le=1)
    horizon: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _only_what_is_read(self) -> Schedule:
        if self.every is not None and self.kind != "step":
            raise ValueError(f"every belongs to kind step, not to {self.kind}")
        if self.horizon is not None and self.kind != "cosine":
            raise ValueError(f"horizon belongs to kind cosine, not to {self.kind}")
        return self

    def resolved(self, epochs: int) -> Schedule:
        """The schedule with its lengths filled in for a run of ``epochs`` epochs."""
        if self.kind == "step" and self.every is None:
            return self.model_copy(update={"every": max(1, epochs // 4)})
        if self.kind == "cosine" and self.horizon is None:
            return self.model_copy(update={"horizon": epochs})
        return self

    def learning_rate(self, base: float, epoch: int) -> float:
        """The learning rate during epoch ``epoch``, counted from 0, of a resolved schedule."""
        if self.kind == "step":
            assert self.every is not None
            return base * self.factor ** (epoch // self.every)
        if self.kind == "cosine":
            assert self.horizon is not None
            return base * 0.5 * (1 + math.cos(math.pi * min(epoch, self.horizon) / self.horizon))
        return base


def make_optimiser(
    parameters: Iterable[torch.nn.Parameter], config: Optimiser, lr: float
) -> torch.optim.Optimizer:
    """torch's own optimiser in its fused form (one kernel for all parameters)."""
    import torch

    if config.kind == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=config.weight_decay, fused=True)
    return torch.optim.SGD(
        parameters, lr=lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
    )


def set_learning_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Use ``lr`` from the next step on."""
    for group in optimiser.param_groups:
        group["lr"] = lr
