"""Label transforms by name: what registers them, and what a composition knows of each."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.errors import UsageError
from engine.experiments.label_transforms.samples import Probabilities


@dataclass(frozen=True, kw_only=True)
class Known:
    """One transform: its function, what that asks for, and the parameters it is written with."""

    function: Callable[..., Probabilities]
    needs_expert: bool
    needs_population: bool
    needs_superclasses: bool
    parameters: dict[str, type]
    defaults: dict[str, Any]


KNOWN: dict[str, Known] = {}
_READERS = {"int": int, "float": float, "str": str, "bool": bool}


def label_transform(
    *,
    needs_expert: bool = True,
    needs_population: bool = False,
    needs_superclasses: bool = False,
) -> Callable[[Any], Any]:
    """Register a pure function ``(probabilities_nk, samples, *parameters) -> probabilities_nk``.

    Args:
        needs_expert: False where the result depends on the samples alone, not on probabilities.
        needs_population: whether it reads ``samples.population``; then nothing but a temperature
            may stand before it, since the population is that of the expert's own labels.
        needs_superclasses: whether it reads ``samples.superclass_of``.

    A parameter annotated bool is written as its own name, or left out. The function must be able to
    transform no rows, (0, k): that is how its parameters are checked before anything starts. It
    raises UsageError for parameters that can't be meant.
    """

    def register(function: Callable[..., Probabilities]) -> Callable[..., Probabilities]:
        given = list(inspect.signature(function).parameters.values())[2:]
        KNOWN[function.__name__.replace("_", "-")] = Known(
            function=function,
            needs_expert=needs_expert,
            needs_population=needs_population,
            needs_superclasses=needs_superclasses,
            parameters={each.name: _READERS[str(each.annotation)] for each in given},
            defaults={p.name: p.default for p in given if p.default is not inspect.Parameter.empty},
        )
        return function

    return register


def label_transform_forms() -> dict[str, str]:
    """How each transform is written, by its name: ``top-k`` → ``top-k:k[,keep]``."""
    return {name: _form(name, known) for name, known in sorted(KNOWN.items())}


def _form(name: str, known: Known) -> str:
    parameters = [
        f"[,{each}]" if each in known.defaults else f",{each}" for each in known.parameters
    ]
    return name + "".join(parameters).replace(",", ":", 1)


def require_share(written: str, value: float) -> None:
    """Raise UsageError unless a parameter is a share: from 0 to 1."""
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise UsageError(f"{written}: expected a number from 0 to 1, found {value:g}")


def require_whole(written: str, value: int, lowest: int, highest: int, why: str) -> None:
    """Raise UsageError unless a parameter lies between two whole numbers, both allowed."""
    if not lowest <= value <= highest:
        expected = f"a number from {lowest} to {highest}" if lowest <= highest else "more classes"
        raise UsageError(f"{written}: expected {expected}, found {value} ({why})")
