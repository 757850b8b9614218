"""What fitted laws suggest for an IPC: the expert epoch at which the best form is highest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.analysis import Interval, LawFit, Optimum
from engine.errors import UsageError

SEARCH_BEYOND = 2.0
"""How many times beyond the measured expert epochs an optimum is searched."""

ABOUT_AS_WELL = 1.25
"""Forms whose held-out error is at most so many times the best one's are no worse for sure."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """What one form says of an IPC; epochs are whole numbers from 1 on.

    `accuracy`: of the law at its optimum. `beyond`: in what it extrapolates, in words. `by_forms`:
    the least and the greatest epoch that the forms suggest which predict about as well.
    `searched_beyond`: how many times beyond the measured epochs all forms were searched.
    """

    law: LawFit
    optimum: Optimum
    ipc: int
    accuracy: Interval
    beyond: tuple[str, ...]
    by_forms: tuple[int, int]
    searched_beyond: float

    @property
    def epoch(self) -> int:
        """The expert epoch to use."""
        return whole_epoch(self.optimum.knowledge)

    @property
    def epochs(self) -> tuple[int | None, int | None]:
        """Ends of its 95 % interval; None for an end that the search did not reach."""
        return interval_of(self.optimum)

    def loss_at(self, epoch: int) -> float:
        """Accuracy that another epoch costs, by the law."""
        return self.accuracy.mean - self.law.predict(self.ipc, epoch).mean


def suggest(laws: Sequence[LawFit], ipc: int) -> Suggestion:
    """By the first of these laws, best first, that knows of expert epochs at all.

    Raises:
        UsageError: none does.
    """
    searched_beyond = SEARCH_BEYOND
    knowing = _optima(laws, ipc, searched_beyond)
    if knowing:
        if knowing[0][1].at_edge:
            # No optimum anywhere near: what was measured is all that there is to go by.
            searched_beyond = 1.0
            knowing = _optima(laws, ipc, searched_beyond)
        law, optimum = knowing[0]
        alike = [whole_epoch(other.knowledge) for each, other in knowing if _as_well(each, law)]
        return Suggestion(
            law=law,
            optimum=optimum,
            ipc=ipc,
            accuracy=law.predict(ipc, optimum.knowledge),
            beyond=_beyond(law, ipc, whole_epoch(optimum.knowledge)),
            by_forms=(min(alike), max(alike)),
            searched_beyond=searched_beyond,
        )
    raise UsageError(
        "expected cells of several IPCs and expert epochs, found too few for a law: "
        "run engine sweep-students with --ipc 1,5,10 --expert-epochs 4,7,13,24"
    )


def _optima(laws: Sequence[LawFit], ipc: int, beyond: float) -> list[tuple[LawFit, Optimum]]:
    """The laws that know of epochs, with the best searched so many times beyond those measured."""
    found = [(law, law.best_knowledge(ipc, beyond=beyond)) for law in laws]
    return [(law, optimum) for law, optimum in found if optimum is not None]


def interval_of(optimum: Optimum) -> tuple[int | None, int | None]:
    """Whole epochs; None for an end that lies where the search ends, or beyond."""
    first, last = optimum.searched
    low = None if optimum.at_edge == "first" or optimum.low <= first else optimum.low
    high = None if optimum.at_edge == "last" or optimum.high >= last else optimum.high
    return (low and whole_epoch(low)), (high and whole_epoch(high))


def whole_epoch(knowledge: float) -> int:
    """The nearest epoch that an expert can be trained to."""
    return max(1, round(knowledge))


def _as_well(law: LawFit, best: LawFit) -> bool:
    if law.held_out_error is None or best.held_out_error is None:
        return law is best
    return law.held_out_error <= ABOUT_AS_WELL * best.held_out_error


def _beyond(law: LawFit, ipc: int, epoch: int) -> tuple[str, ...]:
    (least, most), (first, last) = law.ipc_range, law.knowledge_range
    beyond = []
    if not least <= ipc <= most:
        beyond.append(f"IPC {ipc} lies outside {least} to {most}, which were measured")
    if not first <= epoch <= last:
        beyond.append(f"epoch {epoch} lies outside {first:g} to {last:g}, which were measured")
    return tuple(beyond)
