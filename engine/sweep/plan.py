"""From a grid to trials: which students to train, and what identifies each.

A trial's id is a hash of everything that decides its result (DESIGN.md, identity): dataset,
checkpoints and view of its labels, the resolved student, the seeds and the protocol's version.
Growing a grid therefore adds trials and changes none.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

import beton_builder
import labelstore
from engine.errors import UsageError
from engine.records import content_id
from engine.training import Seeds, StudentRecipe
from engine.training.optimise import Strict

PROTOCOL_VERSION = 1

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class StudentChange(Strict):
    """What differs from the grid's student at one IPC, as in the paper's Table 7."""

    epochs: int | None = Field(default=None, ge=1)
    lr: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    evaluations: int | None = Field(default=None, ge=1)


class Grid(Strict):
    """What a sweep explores.

    ``seeds`` sets subset, initial weights, order and augmentation together; ``subset_seed`` keeps
    all students on one subset, which is what the papers' ± means. ``expert_epochs`` may be
    ``all``. ``expert`` is needed only where a store holds several, ``codec`` where it holds labels
    in several and not the dense ones are meant. ``by_ipc`` changes the student
    at some IPCs; an entry for an IPC that is not explored waits until it is.
    """

    ipc: list[Annotated[int, Field(ge=1)]] = Field(default=[1, 10, 50], min_length=1)
    expert_epochs: list[int] | Literal["all"] = "all"
    labels: list[Literal["soft", "hard"]] = Field(default=["soft", "hard"], min_length=1)
    temperature: list[float] = Field(default=[1.0], min_length=1)
    seeds: list[Seed] = Field(default=[0, 1, 2], min_length=1)
    subset_seed: Seed | None = None
    expert: str | None = None
    view: str = "plain"
    codec: str | None = None
    student: StudentRecipe = StudentRecipe()
    by_ipc: dict[int, StudentChange] = Field(default_factory=dict)

    def student_at(self, ipc: int) -> StudentRecipe:
        """The student of one IPC, with its schedule's lengths filled in."""
        change = self.by_ipc.get(ipc, StudentChange()).model_dump(exclude_none=True)
        student = self.student.model_copy(update=change)
        schedule = student.schedule.resolved(student.epochs)
        return student.model_copy(update={"schedule": schedule})

    @field_validator("ipc", "seeds", "temperature", "labels", "expert_epochs")
    @classmethod
    def _no_duplicates(cls, values: Any) -> Any:
        if isinstance(values, list) and len(set(values)) != len(values):
            raise ValueError("the same value twice")
        return values

    @field_validator("temperature")
    @classmethod
    def _positive(cls, values: list[float]) -> list[float]:
        if any(value <= 0 for value in values):
            raise ValueError("temperatures must be above 0")
        return values


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One student to train. ``cell`` names its place in the grid; seeds tell repeats apart."""

    cell: dict[str, Any]
    seeds: Seeds
    student: StudentRecipe
    parents: dict[str, Any]

    @property
    def id(self) -> str:
        """16 hex digits; equal for equal results."""
        return content_id(
            {
                "protocol": PROTOCOL_VERSION,
                "cell": {key: value for key, value in self.cell.items() if key != "expert"},
                "seeds": asdict(self.seeds),
                "student": self.student.model_dump(mode="json"),
                "parents": {key: value for key, value in self.parents.items() if key != "store"},
            }
        )

    def identity(self) -> dict[str, Any]:
        """The part of the trial's record that is known before it runs."""
        return {
            "kind": "trial",
            "id": self.id,
            "protocol": PROTOCOL_VERSION,
            "cell": self.cell,
            "seeds": asdict(self.seeds),
            "student": self.student.model_dump(mode="json"),
            "parents": self.parents,
        }


def plan_trials(
    grid: Grid, dataset: beton_builder.Dataset, view: labelstore.LabelView | None, store_id: str
) -> list[Trial]:
    """Every trial of a grid, those of one shape next to each other.

    Args:
        grid: what to explore, with a resolved student.
        dataset: where images and hard labels come from.
        view: the soft labels; None allows hard labels only.
        store_id: id of the label store, recorded in the trials.

    Raises:
        UsageError: soft labels without a store, or an epoch that is not in it.
    """
    trials = []
    for ipc, labels in itertools.product(sorted(grid.ipc), grid.labels):
        if labels == "hard":
            cells = [_cell(ipc, "hard")]
        else:
            if view is None:
                raise UsageError(
                    "soft labels need a label store: pass --labels STORE "
                    "(or --set labels=[hard] for hard labels alone)"
                )
            epochs = _expert_epochs(grid, view)
            cells = [
                _cell(ipc, "soft", view.expert, epoch, view.name, temperature)
                for epoch, temperature in itertools.product(epochs, grid.temperature)
            ]
        for cell, seed in itertools.product(cells, grid.seeds):
            subset_seed = seed if grid.subset_seed is None else grid.subset_seed
            trials.append(
                Trial(
                    cell=cell,
                    seeds=Seeds(
                        subset_seed=subset_seed,
                        init_seed=seed,
                        order_seed=seed,
                        augment_seed=seed,
                    ),
                    student=grid.student_at(ipc),
                    parents=_parents(cell, dataset, view, store_id),
                )
            )
    return trials


def _cell(
    ipc: int,
    labels: str,
    expert: str | None = None,
    expert_epoch: int | None = None,
    view: str | None = None,
    temperature: float | None = None,
) -> dict[str, Any]:
    return {
        "ipc": ipc,
        "labels": labels,
        "expert": expert,
        "expert_epoch": expert_epoch,
        "view": view,
        "temperature": temperature,
    }


def _parents(
    cell: dict[str, Any],
    dataset: beton_builder.Dataset,
    view: labelstore.LabelView | None,
    store_id: str,
) -> dict[str, Any]:
    normalisation = {"mean": list(dataset.mean), "std": list(dataset.std)}
    images = {"dataset": dataset.id, "normalisation": normalisation}
    if cell["labels"] == "hard" or view is None:
        return {**images, "store": None, "view": None, "checkpoints": []}
    return {
        **images,
        "store": store_id,
        "view": view.id,
        "codec": view.codec,
        "checkpoints": [view.checkpoint_id(cell["expert_epoch"])],
    }


def _expert_epochs(grid: Grid, view: labelstore.LabelView) -> list[int]:
    have = list(view.epochs)
    if grid.expert_epochs == "all":
        return have
    for epoch in grid.expert_epochs:
        if epoch not in have:
            raise UsageError(
                f"expert epoch {epoch} is not in the label store (it has "
                f"{', '.join(map(str, have)) or 'none'}): write it with "
                f"`{view.dump_command([epoch])}`"
            )
    return sorted(grid.expert_epochs)
