"""Selections by name: registering, parsing, and saying what cannot work before anything starts."""

from __future__ import annotations

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from engine.errors import UsageError
from engine.experiments.selection.pool import Pool

Needs = Literal["difficulty", "features"]
Counts = npt.NDArray[np.int64]
Function = Callable[..., npt.NDArray[np.int64]]
"""(pool, images per class, subset seed, *parameters) → sample ids."""

SPELLING = re.compile(r"(?P<name>[^:@]*)(:(?P<arguments>[^@]*))?(@(?P<epoch>.*))?")
_READERS = {"int": int, "float": float, "str": str}


def every_image(counts_k: Counts, *_parameters: Any) -> dict[int, int]:
    """All candidates of all classes may be chosen."""
    return dict(enumerate(counts_k.tolist()))


@dataclass(frozen=True, kw_only=True)
class _Known:
    function: Function
    needs: Needs | None
    seeded: bool
    offers: Callable[..., Mapping[int, int]]
    parameters: dict[str, type]
    defaults: dict[str, Any]


_KNOWN: dict[str, _Known] = {}


def selection(
    *,
    needs: Needs | None = None,
    seeded: bool = True,
    offers: Callable[..., Mapping[int, int]] = every_image,
) -> Callable[[Function], Function]:
    """Register a way to choose images under its function's name, with dashes.

    The function gets (pool, images per class, subset seed, *parameters); its parameters are read
    by their annotations (int, float, str).

    Args:
        needs: what an expert must say of the images: their ``difficulty`` or their ``features``.
        seeded: False where the seed has no influence.
        offers: (candidates of each class (k,), *parameters) → class to how many of them can be
            chosen. A class that isn't in it is left out of the subset. Raises UsageError for
            parameters that can't be meant; with no parameter to check, all is offered.
    """

    def register(function: Function) -> Function:
        given = list(inspect.signature(function).parameters.values())[3:]
        _KNOWN[function.__name__.replace("_", "-")] = _Known(
            function=function,
            needs=needs,
            seeded=seeded,
            offers=offers,
            parameters={each.name: _READERS[str(each.annotation)] for each in given},
            defaults={p.name: p.default for p in given if p.default is not inspect.Parameter.empty},
        )
        return function

    return register


def selection_forms() -> dict[str, str]:
    """How each selection is written, by its name: ``herding`` → ``herding[@EPOCH]``."""
    return {name: _form(name, known) for name, known in sorted(_KNOWN.items())}


def _form(name: str, known: _Known) -> str:
    parameters = [
        f"[,{each}]" if each in known.defaults else f",{each}" for each in known.parameters
    ]
    epoch = "[@EPOCH]" if known.needs else ""
    return name + "".join(parameters).replace(",", ":", 1) + epoch


@dataclass(frozen=True)
class Selection:
    """A way to choose images, with its parameters, in its one spelling.

    Made by :func:`parse_selection`. epoch: of the expert that scores the images; None where the
    teacher of the trial does, or where nobody is asked.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    epoch: int | None = None

    @property
    def needs(self) -> Needs | None:
        """What an expert must say of the images, if anything."""
        return _KNOWN[self.name].needs

    @property
    def seeded(self) -> bool:
        """Whether subsets of two seeds differ."""
        return _KNOWN[self.name].seeded

    def at_epoch(self, epoch: int | str) -> str:
        """How to write it with another epoch of the expert."""
        return f"{replace(self, epoch=None)}@{epoch}"

    def num_classes(self, of: int) -> int:
        """How many of so many classes have images in the subset. Raises UsageError."""
        return _num_classes(self, of)

    def check(self, pool: Pool, images_per_class: int) -> None:
        """Raise UsageError unless every class has so many images to choose from.

        What an expert says of the images is not looked at, and need not be there.
        """
        if images_per_class < 1:
            raise UsageError(f"images per class must be at least 1, not {images_per_class}")
        counts_k = pool.counts
        offered = _KNOWN[self.name].offers(counts_k, *self.arguments)
        smallest = min(offered, key=lambda number: offered[number])
        if offered[smallest] >= images_per_class:
            return
        name, most, all_of_it = pool.classes[smallest], offered[smallest], int(counts_k[smallest])
        than, there = "the smallest class", f"{most} images"
        if most != all_of_it:
            than = f"what {self} chooses from in the smallest class"
            there = f"{most} of {all_of_it} images"
        hint = f"Choose an --ipc up to {most}" if most else "Choose another selection"
        raise UsageError(
            f"IPC {images_per_class} is larger than {than}: {name!r} has {there} to choose from "
            f"(validation images excluded). {hint}."
        )

    def __call__(
        self, pool: Pool, images_per_class: int, subset_seed: int
    ) -> npt.NDArray[np.int64]:
        """Choose: (classes × images_per_class,) int64 sample ids, by class, then in their order.

        Subsets of one seed are nested over images per class.

        Raises:
            UsageError: as :meth:`check`, or the expert's scores are not finite.
        """
        self.check(pool, images_per_class)
        assert self.needs is None or getattr(pool, self.needs) is not None
        function = _KNOWN[self.name].function
        return function(pool, images_per_class, subset_seed, *self.arguments)

    def __str__(self) -> str:
        parameters = ":" + ",".join(map(str, self.arguments)) if self.arguments else ""
        return self.name + parameters + ("" if self.epoch is None else f"@{self.epoch}")


@functools.lru_cache(maxsize=256)
def _num_classes(chosen: Selection, of: int) -> int:
    return len(_KNOWN[chosen.name].offers(np.zeros(of, np.int64), *chosen.arguments))


def parse_selection(text: str) -> Selection:
    """``"difficulty:3@41"`` → that selection.

    Raises:
        UsageError: an unknown name (the nearest is named), parameters it does not have, or an
            epoch where no expert is asked.
    """
    match = SPELLING.fullmatch(str(text).strip())
    name = match["name"].strip() if match else str(text)
    known = _KNOWN.get(name)
    if match is None or known is None:
        forms = selection_forms()
        near = difflib.get_close_matches(name, _KNOWN, n=1)
        hint = f"did you mean {forms[near[0]]}? " if near else ""
        raise UsageError(
            f"unknown selection {text!r}; {hint}known: {', '.join(forms.values())} "
            "(described in docs/plans.md)"
        )
    form = _form(name, known)
    return Selection(name, _arguments(known, match, form), _epoch(known, match, form))


def _arguments(known: _Known, match: re.Match[str], form: str) -> tuple[Any, ...]:
    given = [each.strip() for each in (match["arguments"] or "").split(",") if each.strip()]
    if not len(known.parameters) - len(known.defaults) <= len(given) <= len(known.parameters):
        raise UsageError(
            f"selection {match[0]!r}: expected {form}, found {len(given)} "
            f"value{'' if len(given) == 1 else 's'}"
        )
    values = dict(known.defaults)
    try:
        for (parameter, kind), each in zip(known.parameters.items(), given, strict=False):
            values[parameter] = kind(each)
    except ValueError as error:
        raise UsageError(f"selection {match[0]!r}: {error}; expected {form}") from error
    return tuple(values[parameter] for parameter in known.parameters)


def _epoch(known: _Known, match: re.Match[str], form: str) -> int | None:
    written = match["epoch"]
    if written is None:
        return None
    if known.needs is None:
        raise UsageError(f"selection {match[0]!r}: no expert is asked; expected {form}")
    if not written.strip().isdecimal():
        raise UsageError(f"selection {match[0]!r}: {written!r} is no epoch; expected {form}")
    return int(written)
