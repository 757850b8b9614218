"""What a reproduction consists of at one scale, before it meets a dataset.

A scale is a YAML file: the experts, the students' length and, by name, the experiments. An
experiment says what it varies; whatever it does not name is the scale's own. Lengths are in steps
of SGD, so that one plan fits any number of classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from engine.configuration import load_configuration, preset_names
from engine.errors import ConfigurationError, UsageError
from engine.experiments import parse_label_transform, parse_selection
from engine.training.optimise import Strict

FOLDER = "reproduce/"

Held = TypeVar("Held")


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | None) else [value]


Ipcs = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
Epochs = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
SeedList = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
Texts = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]


class Experts(Strict):
    """How many experts, and how they are trained: by a preset, ``recipe``, for ``epochs``."""

    recipe: str = "expert-small"
    epochs: int = Field(default=41, ge=1)
    seeds: SeedList = Field(default=[0])


class Students(Strict):
    """Students of a scale or of one experiment; what is None is as the scale (or recipe) has it.

    ``steps``: of SGD; an epoch of n images makes ⌈n / batch size⌉ of them. ``epochs`` instead is
    the papers' way: the same number at every IPC.
    """

    steps: int | None = Field(default=None, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    evaluations: int | None = Field(default=None, ge=1)
    lr: Any = None
    model: Any = None
    optimiser: Any = None
    schedule: Any = None
    augmentation: Any = None
    resolution: int | None = Field(default=None, ge=4)

    @model_validator(mode="after")
    def _one_length(self) -> Students:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("a student's length is given in steps or in epochs, not in both")
        return self

    def over(self, other: Students) -> Students:
        """These settings, and the other's where nothing is said."""
        own = {k: v for k, v in self.model_dump().items() if v is not None}
        length = {"steps", "epochs"}
        inherited = {
            name: value
            for name, value in other.model_dump().items()
            if value is not None and not (name in length and length & own.keys())
        }
        return Students.model_validate(inherited | own)


class Experiment(Strict):
    """What one experiment varies. ``experts``: positions among the scale's experts.

    ``expert_epochs`` None: the scale's ``expert_epoch`` of each IPC.
    """

    ipc: Ipcs
    expert_epochs: Epochs | None = None
    labels: Texts = Field(default=["soft"])
    temperature: list[float] | None = None
    selection: Texts = Field(default=["random"])
    experts: list[Annotated[int, Field(ge=0)]] = Field(default=[0])
    seeds: SeedList | None = None
    subset_seed: SeedList | None = None
    student: Students = Students()

    @model_validator(mode="after")
    def _names_are_known(self) -> Experiment:
        try:
            for text in self.labels:
                parse_label_transform(text)
            for text in self.selection:
                parse_selection(text)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def epochs_asked(self) -> set[int]:
        """Expert epochs that it names, for labels and for choosing images."""
        scored = (parse_selection(text).epoch for text in self.selection)
        return {*(self.expert_epochs or []), *(epoch for epoch in scored if epoch is not None)}


class LearnedLabels(Strict):
    """Labels optimised through truncated student training, at each IPC from each start.

    ``settings``: of the recipe (`engine.experiments.learned_labels`), by dotted keys.
    """

    ipc: Ipcs = Field(default=[1])
    initial: list[Literal["hard", "uniform", "expert"]] = Field(default=["hard"])
    settings: dict[str, Any] = Field(default_factory=dict)
    seeds: SeedList = Field(default=[0, 1, 2])


class DerivedLabels(Strict):
    """Labels that know of no expert, from distances to the classes' mean images (`derive_labels`).

    ``entropies``: their mean entropy over that of even labels, ln k, so that one plan fits any
    number of classes.
    """

    ipc: Ipcs = Field(default=[1])
    entropies: list[Annotated[float, Field(gt=0, le=0.95)]] = Field(default=[0.7], min_length=1)
    seeds: SeedList = Field(default=[0, 1, 2])


class Scale(Strict):
    """A whole reproduction.

    ``label_epochs``: those stored. ``expert_epoch``: of experiments that vary something else, by
    the IPC from which on it holds. ``lr_by_ipc``: of students whose experiment says none, likewise;
    else ``student.lr``. ``table7``: on the papers' datasets, take theirs (`as_published`).
    """

    table7: bool = False

    expert: Experts = Experts()
    label_epochs: Epochs | Literal["all"] = "all"
    expert_epoch: dict[int, int] = Field(default={1: 10})
    lr_by_ipc: dict[int, float] = Field(default_factory=dict)
    seeds: SeedList = Field(default=[0, 1, 2])
    student: Students = Students()
    experiments: dict[str, Experiment] = Field(default_factory=dict)
    learned: LearnedLabels | None = None
    derived: DerivedLabels | None = None

    @model_validator(mode="after")
    def _epochs_are_trained(self) -> Scale:
        asked = {*self.expert_epoch.values()}
        for each in self.experiments.values():
            asked |= each.epochs_asked
        stored = None if self.label_epochs == "all" else {*self.label_epochs}
        if beyond := sorted(e for e in asked if e > self.expert.epochs):
            raise ValueError(f"experts are trained for {self.expert.epochs} epochs, not {beyond}")
        if stored is not None and (lacking := sorted(asked - stored)):
            raise ValueError(f"label_epochs lacks {lacking}, which experiments ask for")
        wanting = [each.ipc for each in self.experiments.values() if each.expert_epochs is None]
        if self.learned is not None and "expert" in self.learned.initial:
            wanting.append(self.learned.ipc)
        lowest = min(itertools.chain.from_iterable(wanting), default=None)
        if lowest is not None and not any(start <= lowest for start in self.expert_epoch):
            raise ValueError(
                f"expert_epoch has none for IPC {lowest}, which experiments ask for: add "
                f"{lowest}: EPOCH"
            )
        known = range(len(self.expert.seeds))
        if any(e not in known for each in self.experiments.values() for e in each.experts):
            raise ValueError(f"an experiment asks for more than the {len(known)} experts there are")
        return self

    def expert_epoch_at(self, ipc: int) -> int:
        """The expert epoch of experiments that vary something else."""
        epoch = holding_at(self.expert_epoch, ipc)
        assert epoch is not None
        return epoch


def holding_at(by_ipc: Mapping[int, Held], ipc: int) -> Held | None:
    """Of values by the IPC from which on they hold, the one at an IPC; None before the first."""
    began = [start for start in by_ipc if start <= ipc]
    return by_ipc[max(began)] if began else None


def scale_names() -> list[str]:
    """The scales that come with the package."""
    found = (name.removeprefix(FOLDER) for name in preset_names() if name.startswith(FOLDER))
    return sorted(found)


def load_scale(name: str | Path) -> Scale:
    """A scale by its name, or from a YAML file. Raises ConfigurationError."""
    known = scale_names()
    if str(name) in known:
        return load_configuration(Scale, f"{FOLDER}{name}")
    if not Path(name).is_file():
        raise ConfigurationError(
            f"no scale and no file called {name}: expected {', '.join(known)} or a YAML file"
        )
    return load_configuration(Scale, name)
