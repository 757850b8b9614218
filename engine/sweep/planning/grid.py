"""What a sweep explores, as one validated configuration: every axis, and what differs by IPC.

An axis is one value or a list of values, and lists multiply. A plan is one grid, or several
(``grids:``) whose trials are united, so that a table of a paper is one file.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    WrapValidator,
    field_validator,
    model_validator,
)

from engine.configuration import load_configurations
from engine.errors import UsageError
from engine.experiments import parse_label_transform, parse_selection
from engine.sweep.planning.epochs import EpochList, is_epochs
from engine.training import Seeds, StudentRecipe
from engine.training.optimise import Optimiser, Schedule, Strict
from engine.training.recipe import Precision

_STUDENT = StudentRecipe()


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple | None) else [value]


def _each_once(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise ValueError("the same value twice")
    return values


def _one_or_several(kind: Any) -> WrapValidator:
    """One value of a type or a list of them, each once; stays as it was written."""
    one: TypeAdapter[Any] = TypeAdapter(kind)
    several: TypeAdapter[Any] = TypeAdapter(
        Annotated[list[kind], Field(min_length=1), AfterValidator(_each_once)]
    )
    return WrapValidator(
        lambda value, _handler: (several if isinstance(value, list) else one).validate_python(value)
    )


def _of_student(field: str) -> WrapValidator:
    """One or several values that a student's recipe allows there."""
    info = StudentRecipe.model_fields[field]
    return _one_or_several(Annotated[info.annotation, Field(), *info.metadata])


def _optimiser(value: Any) -> Any:
    # A kind's name alone means that kind as students of the papers use it.
    if value == "adamw":
        return {"kind": "adamw"}
    return _STUDENT.optimiser if value == "sgd" else value


def values_of(axis: Any) -> list[Any]:
    """An axis as a list, whether one value or several were given."""
    return list(axis) if isinstance(axis, list) else [axis]


Several = (BeforeValidator(_as_list), AfterValidator(_each_once), Field(min_length=1))
"""A list of values, each once; one value alone is a list of one."""

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class StudentAxes(Strict):
    """The students of a grid: a `StudentRecipe` in which most settings may be lists.

    An optimiser may be given by its kind alone, ``sgd`` or ``adamw``: as the papers' students use
    it.
    """

    model: Annotated[str | list[str], _of_student("model")] = _STUDENT.model
    epochs: Annotated[int | list[int], _of_student("epochs")] = _STUDENT.epochs
    lr: Annotated[float | list[float], _of_student("lr")] = _STUDENT.lr
    batch_size: Annotated[int | list[int], _of_student("batch_size")] = _STUDENT.batch_size
    optimiser: Annotated[
        Optimiser | list[Optimiser],
        _one_or_several(Annotated[Optimiser, BeforeValidator(_optimiser)]),
    ] = _STUDENT.optimiser
    schedule: Annotated[Schedule | list[Schedule], _of_student("schedule")] = _STUDENT.schedule
    augmentation: Annotated[str | list[str], _of_student("augmentation")] = _STUDENT.augmentation
    resolution: int | None = Field(default=None, ge=4)
    evaluations: int = Field(default=_STUDENT.evaluations, ge=1)
    precision: Precision = _STUDENT.precision

    def recipes(self, resolution: int | None = None) -> list[StudentRecipe]:
        """Every student, with its schedule's lengths (and resolution) filled in."""
        names = list(StudentAxes.model_fields)
        combinations = itertools.product(*(values_of(getattr(self, name)) for name in names))
        recipes = []
        for values in combinations:
            recipe = StudentRecipe(**dict(zip(names, values, strict=True)))
            filled = {
                "schedule": recipe.schedule.resolved(recipe.epochs),
                "resolution": recipe.resolution or resolution,
            }
            recipes.append(recipe.model_copy(update=filled))
        return recipes


class IpcChange(Strict):
    """What differs from the rest of the grid at one IPC, as in the paper's Table 7."""

    expert_epochs: EpochList | None = None
    epochs: Annotated[int | list[int] | None, _of_student("epochs")] = None
    lr: Annotated[float | list[float] | None, _of_student("lr")] = None
    batch_size: Annotated[int | list[int] | None, _of_student("batch_size")] = None
    evaluations: int | None = Field(default=None, ge=1)


class EnsembleRule(Strict):
    """Checkpoints whose logits are averaged; ``None`` leaves epochs or experts to the grid's axis.

    Written as a mapping, as a list of epochs, or as a list of experts.
    """

    epochs: EpochList | None = None
    experts: Annotated[list[str], *Several] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list):
            if isinstance(value, int | float):
                raise ValueError(f"expected a list of epochs or of experts, such as [[{value}]]")
            return value
        are_epochs = {isinstance(each, int) or is_epochs(str(each)) for each in value}
        if len(are_epochs) != 1:
            raise ValueError(
                "expected epochs or experts; for both write {epochs: [4, 7], experts: [a, b]}"
            )
        return {"epochs" if are_epochs == {True} else "experts": value}

    @model_validator(mode="after")
    def _of_something(self) -> EnsembleRule:
        if self.epochs is None and self.experts is None:
            raise ValueError("an ensemble needs epochs, experts or both")
        return self


class Grid(Strict):
    """What a sweep explores. Every axis takes one value or a list of them, and lists multiply.

    Labels: ``labels`` are label transforms (`engine.experiments.label_transforms`): ``soft``,
    ``hard``, ``temperature:2+…``; ``temperature`` softens an expert's labels before them.
    ``expert`` (names of the store, or ``all``; needed only where it holds several), ``view``,
    ``codec`` (needed only where there are several and dense is not meant) and ``expert_epochs``
    say whose labels: numbers, ranges ``4-10`` or ``0-40:4``, ``all``, or ``best``, the epoch at
    which the expert was most accurate on validation images that it was not trained on
    (``best-on-test``: on the test images, as the papers chose). ``ensemble`` averages the logits of
    lists of epochs or of experts; null among them means single checkpoints.

    Images: ``ipc``, ``selection`` (`engine.experiments.selection`): ``random``, ``drop-class:7``,
    ``difficulty:3``, ``stratified``, ``k-centre``, ``herding``. Those that ask an expert have the
    student's own teacher score the images, or its expert at another epoch: ``difficulty:3@41``,
    which hard labels need. Students: ``student``.

    Seeds: ``seeds`` set subset, initial weights, order and augmentation together; ``subset_seed``,
    ``init_seed``, ``order_seed`` and ``augment_seed``, where given, take that part out of it and
    multiply. ``subset_seed: 0`` keeps all students on one subset, which is what the papers' ±
    means.

    ``by_ipc`` changes expert epochs and the student at some IPCs; an entry for an IPC that is not
    explored waits until it is.
    """

    ipc: Annotated[list[Annotated[int, Field(ge=1)]], *Several] = Field(default=[1, 10, 50])
    expert_epochs: EpochList = Field(default=["all"])
    labels: Annotated[list[str], *Several] = Field(default=["soft", "hard"])
    temperature: Annotated[list[Positive], *Several] = Field(default=[1.0])
    selection: Annotated[list[str], *Several] = Field(default=["random"])
    ensemble: Annotated[list[EnsembleRule | None], Field(min_length=1)] = Field(default=[None])
    expert: Annotated[str | list[str] | None, _one_or_several(str | None)] = None
    view: Annotated[str | list[str], _one_or_several(str)] = "plain"
    codec: Annotated[str | list[str] | None, _one_or_several(str | None)] = None
    seeds: Annotated[list[Seed], *Several] = Field(default=[0, 1, 2])
    subset_seed: Annotated[int | list[int] | None, _one_or_several(Seed | None)] = None
    init_seed: Annotated[int | list[int] | None, _one_or_several(Seed | None)] = None
    order_seed: Annotated[int | list[int] | None, _one_or_several(Seed | None)] = None
    augment_seed: Annotated[int | list[int] | None, _one_or_several(Seed | None)] = None
    student: StudentAxes = StudentAxes()
    by_ipc: dict[int, IpcChange] = Field(default_factory=dict)

    @field_validator("labels")
    @classmethod
    def _known_transforms(cls, values: list[str]) -> list[str]:
        return _checked(values, parse_label_transform)

    @field_validator("selection")
    @classmethod
    def _known_selections(cls, values: list[str]) -> list[str]:
        return _checked(values, parse_selection)

    def expert_epochs_at(self, ipc: int) -> list[int | str]:
        """Expert epochs of one IPC, as they were written."""
        change = self.by_ipc.get(ipc)
        return (change and change.expert_epochs) or self.expert_epochs

    def students_at(self, ipc: int, resolution: int | None = None) -> list[StudentRecipe]:
        """The students of one IPC."""
        change = self.by_ipc.get(ipc, IpcChange())
        given = {
            name: getattr(change, name) for name in change.model_fields_set - {"expert_epochs"}
        }
        given = {name: value for name, value in given.items() if value is not None}
        return self.student.model_copy(update=given).recipes(resolution)

    def alike_at_every_ipc(self, names: Set[str]) -> Grid:
        """The grid in which IPCs don't differ in these fields of `IpcChange`."""
        by_ipc = {
            ipc: change.model_copy(update=dict.fromkeys(names & change.model_fields_set))
            for ipc, change in self.by_ipc.items()
        }
        return self.model_copy(update={"by_ipc": by_ipc})

    def seed_sets(self) -> list[Seeds]:
        """The seeds of every repeat of a cell."""
        parts = ("subset_seed", "init_seed", "order_seed", "augment_seed")
        apart = {p: values_of(getattr(self, p)) for p in parts if getattr(self, p) is not None}
        together = self.seeds if len(apart) < len(parts) else [0]
        return [
            Seeds(**{**dict.fromkeys(parts, seed), **dict(zip(apart, values, strict=True))})
            for seed in together
            for values in itertools.product(*apart.values())
        ]


def _checked(values: list[str], parse: Callable[[str], Any]) -> list[str]:
    for value in values:
        try:
            parse(value)
        except UsageError as error:
            raise ValueError(str(error)) from error
    return values


def load_grids(
    source: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> list[Grid]:
    """The grids of a plan: one, or as many as its ``grids:`` has blocks.

    Args:
        source: a preset's name, a YAML file, or None for the defaults. What stands beside
            ``grids:`` is shared by its blocks.
        overrides: dotted keys to values, for every block. Expert epochs and settings of the student
            given here hold at every IPC, whatever ``by_ipc`` of the source says of them.

    Raises:
        ConfigurationError: unknown preset, unreadable file, unknown key (the nearest is named) or
            a value that does not fit.
    """
    grids = load_configurations(Grid, source, overrides, blocks="grids")
    given = set(overrides or {})
    if any(key.partition(".")[0] == "by_ipc" for key in given):
        return grids
    everywhere = {key.removeprefix("student.") for key in given if key.startswith("student.")}
    return [grid.alike_at_every_ipc(everywhere | (given & {"expert_epochs"})) for grid in grids]
