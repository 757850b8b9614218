"""Several label transforms one after the other, in their one spelling."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from engine.errors import UsageError
from engine.experiments.label_transforms.registry import KNOWN, label_transform_forms
from engine.experiments.label_transforms.samples import Population, Probabilities, Samples
from engine.experiments.label_transforms.softness import require_temperature


@dataclass(frozen=True)
class Step:
    """One transform with its values, defaults filled in."""

    name: str
    arguments: tuple[Any, ...]

    def __str__(self) -> str:
        given = zip(KNOWN[self.name].parameters, self.arguments, strict=True)
        written = [
            name if value is True else str(value) for name, value in given if value is not False
        ]
        return self.name + (":" + ",".join(written) if written else "")


@dataclass(frozen=True)
class LabelTransform:
    """A composition of transforms in one spelling, which is part of a trial's id.

    What is spelt alike compares equal; ``generated:1`` and ``hard``, or ``smoothing:0`` and
    ``soft``, give equal labels and stay two.

    Made by :func:`parse_label_transform`. ``soft`` is left out wherever something else remains, and
    what stands before a transform that needs no expert has no influence and is left out too.
    """

    steps: tuple[Step, ...]

    @cached_property
    def needs_expert(self) -> bool:
        """Whether probabilities of an expert are read at all."""
        return all(KNOWN[step.name].needs_expert for step in self.steps)

    @cached_property
    def needs_population(self) -> bool:
        """Whether what the expert's labels have in common must be given (`Samples.population`)."""
        return any(KNOWN[step.name].needs_population for step in self.steps)

    @cached_property
    def needs_superclasses(self) -> bool:
        """Whether the classes' superclasses must be given (`Samples.superclass_of`)."""
        return any(KNOWN[step.name].needs_superclasses for step in self.steps)

    @property
    def temperature(self) -> float:
        """The temperature at the head, to be applied to the logits; 1.0 if there is none."""
        head = self.steps[0] if self.steps else None
        return head.arguments[0] if head and head.name == "temperature" else 1.0

    @property
    def after_softmax(self) -> LabelTransform:
        """The composition without the temperature at its head."""
        return LabelTransform(self.steps[1:]) if self.temperature != 1.0 else self

    def at_temperature(self, value: float) -> LabelTransform:
        """This composition on labels that were softened first."""
        return _canonical((Step("temperature", (float(value),)), *self.steps))

    def check(self, num_classes: int) -> None:
        """Raise UsageError unless every parameter can be meant for so many classes."""
        nobody = np.zeros(0, dtype=np.int64)
        nothing = np.zeros((num_classes, num_classes), np.float32)
        self(
            nothing[:0],
            Samples(
                labels=nobody,
                ids=nobody,
                seed=0,
                superclass_of=np.zeros(num_classes, dtype=np.int64),
                population=Population(class_means_kk=nothing, co_occurrence_kk=nothing),
            ),
        )

    def __call__(self, probabilities_nk: Probabilities, samples: Samples) -> Probabilities:
        """Apply every step, in order: float32 (n, k) → float32 (n, k), rows sum to 1.

        Raises:
            UsageError: superclasses or a population are needed and not there.
        """
        for step in self.steps:
            known = KNOWN[step.name]
            if known.needs_superclasses and samples.superclass_of is None:
                raise UsageError(
                    f"{step}: expected a dataset whose classes have superclasses, found none; "
                    "build it from a source that has them (CIFAR-100, say), or leave it out"
                )
            if known.needs_population and samples.population is None:
                raise UsageError(
                    f"{step}: expected what all labels of one expert have in common "
                    "(Samples.population), found nothing"
                )
            probabilities_nk = known.function(probabilities_nk, samples, *step.arguments)
        return probabilities_nk

    def __str__(self) -> str:
        return "+".join(map(str, self.steps)) or "soft"


def parse_label_transform(text: str) -> LabelTransform:
    """``"temperature:2.0+hard"`` → the composition of both.

    Raises:
        UsageError: an unknown name (the nearest is named), parameters it does not have, or an order
            that can't be meant.
    """
    return _canonical(tuple(_parse_step(part.strip(), text) for part in str(text).split("+")))


def _parse_step(part: str, text: str) -> Step:
    name, _, rest = part.partition(":")
    known = KNOWN.get(name)
    if known is None:
        forms = label_transform_forms()
        near = difflib.get_close_matches(name, KNOWN, n=1)
        hint = f"did you mean {forms[near[0]]}? " if near else ""
        raise UsageError(
            f"unknown label transform {name!r} in {text!r}; {hint}known: "
            f"{', '.join(forms.values())} (described in docs/plans.md)"
        )
    given = [each.strip() for each in rest.split(",")] if rest else []
    form = label_transform_forms()[name]
    if not len(known.parameters) - len(known.defaults) <= len(given) <= len(known.parameters):
        raise UsageError(
            f"label transform {part!r} in {text!r}: expected {form}, found {len(given)} values"
        )
    values = dict(known.defaults)
    try:
        for (parameter, kind), each in zip(known.parameters.items(), given, strict=False):
            values[parameter] = _read(parameter, kind, each)
    except ValueError as error:
        message = f"label transform {part!r} in {text!r}: {error}; expected {form}"
        raise UsageError(message) from error
    return Step(name, tuple(values[parameter] for parameter in known.parameters))


def _read(parameter: str, kind: type, text: str) -> Any:
    if kind is not bool:
        return kind(text)
    if text != parameter:
        raise ValueError(f"{text!r} is not {parameter!r}, which may be left out")
    return True


def _canonical(steps: tuple[Step, ...]) -> LabelTransform:
    alone = [i for i, step in enumerate(steps) if not KNOWN[step.name].needs_expert]
    kept = [step for step in steps[alone[-1] if alone else 0 :] if step.name != "soft"]
    if not alone:
        softened = 1.0
        while kept and kept[0].name == "temperature":
            (value,) = kept.pop(0).arguments
            require_temperature(value)
            softened *= value
        if softened != 1.0:
            kept.insert(0, Step("temperature", (softened,)))
    _require_population_first(kept)
    return LabelTransform(tuple(kept))


def _require_population_first(steps: list[Step]) -> None:
    first = 1 if steps and steps[0].name == "temperature" else 0
    for step in steps[first + 1 :]:
        if KNOWN[step.name].needs_population:
            raise UsageError(
                f"{step} after {steps[first]}: expected nothing but a temperature before it, since "
                f"it describes the expert's own labels; write {step} first"
            )
