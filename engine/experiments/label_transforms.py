"""What becomes of an expert's labels before a student sees them: pure functions by name.

In: probabilities, the samples they describe and a seed. Out: probabilities of the same shape. A
transform is written as its name with parameters (`temperature:2.0`), several in the order in which
they are applied (`temperature:2.0+hard`). Adding one is one decorated function; its parameters are
those of the function, and their annotations (int, float, str) say how they are read.

Temperature belongs to the logits. At the head of a composition it is handed to whoever turns
logits into probabilities (:attr:`LabelTransform.temperature`), which loses nothing to rounding;
further on it takes the probabilities to the power 1 / T, which is the same function.

n samples, k classes.
"""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import UsageError
from engine.experiments.targets import hard_targets

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What the rows of probabilities describe.

    labels: (n,) int64, the true class of each. ids: (n,) int64, positions in the train split; what
    a transform draws for a sample is keyed on its id, so that it does not depend on the others.
    seed: of everything that is drawn.
    """

    labels: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
    seed: int


@dataclass(frozen=True, kw_only=True)
class _Known:
    function: Callable[..., Probabilities]
    needs_expert: bool
    parameters: dict[str, type]
    defaults: dict[str, Any]


_KNOWN: dict[str, _Known] = {}
_READERS = {"int": int, "float": float, "str": str}


def label_transform(*, needs_expert: bool = True) -> Callable[[Any], Any]:
    """Register a pure function ``(probabilities_nk, samples, *parameters) -> probabilities_nk``.

    Args:
        needs_expert: False where the result depends on the samples alone, not on probabilities.

    The function must be able to transform no rows, (0, k): that is how its parameters are checked
    before anything starts. It raises UsageError for parameters that can't be meant.
    """

    def register(function: Callable[..., Probabilities]) -> Callable[..., Probabilities]:
        given = list(inspect.signature(function).parameters.values())[2:]
        _KNOWN[function.__name__.replace("_", "-")] = _Known(
            function=function,
            needs_expert=needs_expert,
            parameters={each.name: _READERS[str(each.annotation)] for each in given},
            defaults={p.name: p.default for p in given if p.default is not inspect.Parameter.empty},
        )
        return function

    return register


@label_transform()
def soft(probabilities_nk: Probabilities, samples: Samples) -> Probabilities:
    """The expert's labels as they are."""
    return probabilities_nk


@label_transform(needs_expert=False)
def hard(probabilities_nk: Probabilities, samples: Samples) -> Probabilities:
    """The true class alone, one-hot."""
    return hard_targets(samples.labels, probabilities_nk.shape[1])


@label_transform()
def temperature(probabilities_nk: Probabilities, samples: Samples, value: float) -> Probabilities:
    """Flatter (value > 1) or sharper (value < 1): softmax(logits / value), from probabilities."""
    _require_temperature(value)
    with np.errstate(divide="ignore"):  # log 0 = -inf, which comes out as 0 again
        logits_nk = np.log(probabilities_nk.astype(np.float64)) / value
    powers_nk = np.exp(logits_nk - logits_nk.max(axis=1, keepdims=True))
    return (powers_nk / powers_nk.sum(axis=1, keepdims=True)).astype(np.float32)


def _require_temperature(value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"temperature:{value:g}: expected a finite number above 0")


def label_transform_names() -> list[str]:
    """Names that a composition may use."""
    return sorted(_KNOWN)


@dataclass(frozen=True)
class _Step:
    name: str
    arguments: tuple[Any, ...]

    def __str__(self) -> str:
        return self.name + (":" + ",".join(map(str, self.arguments)) if self.arguments else "")


@dataclass(frozen=True)
class LabelTransform:
    """A composition of transforms in its one spelling: equal functions of labels compare equal.

    Made by :func:`parse_label_transform`. ``soft`` is left out wherever something else remains, and
    what stands before a transform that needs no expert has no influence and is left out too.
    """

    steps: tuple[_Step, ...]

    @cached_property
    def needs_expert(self) -> bool:
        """Whether probabilities of an expert are read at all."""
        return all(_KNOWN[step.name].needs_expert for step in self.steps)

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
        return _canonical((_Step("temperature", (float(value),)), *self.steps))

    def check(self, num_classes: int) -> None:
        """Raise UsageError unless every parameter can be meant for so many classes."""
        nobody = np.zeros(0, dtype=np.int64)
        self(np.zeros((0, num_classes), np.float32), Samples(labels=nobody, ids=nobody, seed=0))

    def __call__(self, probabilities_nk: Probabilities, samples: Samples) -> Probabilities:
        """Apply every step, in order: float32 (n, k) → float32 (n, k), rows sum to 1."""
        for step in self.steps:
            known = _KNOWN[step.name]
            probabilities_nk = known.function(probabilities_nk, samples, *step.arguments)
        return probabilities_nk

    def __str__(self) -> str:
        return "+".join(map(str, self.steps)) or "soft"


def parse_label_transform(text: str) -> LabelTransform:
    """``"temperature:2.0+hard"`` → the composition of both.

    Raises:
        UsageError: an unknown name (the nearest is named), or parameters it does not have.
    """
    return _canonical(tuple(_parse_step(part.strip(), text) for part in str(text).split("+")))


def _parse_step(part: str, text: str) -> _Step:
    name, _, rest = part.partition(":")
    known = _KNOWN.get(name)
    if known is None:
        near = difflib.get_close_matches(name, _KNOWN, n=1)
        hint = (
            f"did you mean {near[0]}?" if near else f"known: {', '.join(label_transform_names())}"
        )
        raise UsageError(f"unknown label transform {name!r} in {text!r}; {hint}")
    given = [each.strip() for each in rest.split(",")] if rest else []
    form = name + (":" + ",".join(known.parameters) if known.parameters else "")
    if not len(known.parameters) - len(known.defaults) <= len(given) <= len(known.parameters):
        raise UsageError(
            f"label transform {part!r} in {text!r}: expected {form}, found {len(given)} values"
        )
    values = dict(known.defaults)
    try:
        for (parameter, kind), each in zip(known.parameters.items(), given, strict=False):
            values[parameter] = kind(each)
    except ValueError as error:
        message = f"label transform {part!r} in {text!r}: {error}; expected {form}"
        raise UsageError(message) from error
    return _Step(name, tuple(values[parameter] for parameter in known.parameters))


def _canonical(steps: tuple[_Step, ...]) -> LabelTransform:
    alone = [i for i, step in enumerate(steps) if not _KNOWN[step.name].needs_expert]
    kept = [step for step in steps[alone[-1] if alone else 0 :] if step.name != "soft"]
    if not alone:
        softened = 1.0
        while kept and kept[0].name == "temperature":
            (value,) = kept.pop(0).arguments
            _require_temperature(value)
            softened *= value
        if softened != 1.0:
            kept.insert(0, _Step("temperature", (softened,)))
    return LabelTransform(tuple(kept))
