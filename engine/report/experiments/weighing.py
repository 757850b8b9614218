"""What each IPC's soft labels are worth: what the section, the headline and a claim rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.analysis.worth import Worth, worth_in_images
from engine.report.experiments.conditions import Condition


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """The soft labels of one IPC and what they are worth."""

    soft: Condition
    worth: Worth


def weigh(
    soft: Mapping[int, Condition], hard: Mapping[int, Condition], of: tuple[str, str]
) -> list[Weighed]:
    """The worth of soft labels, read off the hard ones; both by IPC and measured in `of`.

    A report asks for it once, as `Evidence.weighed`.
    """
    if not hard or not soft:
        return []
    every = [*hard.values(), *soft.values()]
    subset_of = {trial.seeds: trial.subset_seed for each in every for trial in each.cell.trials}
    found = worth_in_images(
        {ipc: each.cell.values(*of) for ipc, each in soft.items()},
        {ipc: each.cell.values(*of) for ipc, each in hard.items()},
        group_of=subset_of,
        extrapolate=True,
    )
    return [Weighed(soft=soft[worth.ipc], worth=worth) for worth in found]
