"""Several cells against one baseline, over the same seeds, with the scatter of all of them pooled.

In: accuracies of a baseline and of other cells by seeds. Out: a `Difference` for each other cell.
Runs of one seed share images, order and initial weights: accuracy = cell + seed + residual, a
randomised block design. Pooling the residual over all cells is what lets two or three seeds say
anything: eight cells on three seeds leave 14 degrees of freedom, one pair of them 2 (Student's t
2.1 instead of 4.3). It assumes that cells scatter alike. Each interval holds at 95 % by itself, not
all of them together.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

from engine.analysis.best import difference_error, shared_blocks
from engine.analysis.statistics import CONFIDENCE, Difference, t_quantile

Name = TypeVar("Name", bound=Hashable)
Key = TypeVar("Key", bound=Hashable)


def contrasts(
    cells: Mapping[Name, Mapping[Key, float]],
    baseline: Name,
    group_of: Mapping[Key, Hashable] | None = None,
) -> dict[Name, Difference]:
    """Every cell minus the baseline: mean over the seeds that both have, with an interval.

    Args:
        cells: accuracies by seeds, the baseline's among them. A cell without runs is left out.
        baseline: which of them the others are compared with.
        group_of: the group of a key, as in `summarise`: runs on one subset are one block.

    Returns:
        One `Difference` a cell that shares a seed with the baseline, without interval where fewer
        than two blocks are shared. The scatter is pooled over the cells that have the same seeds
        and perhaps more, so a run that one cell lacks costs the others nothing.
    """
    measured = {name: values for name, values in cells.items() if values}
    if baseline not in measured:
        return {}
    own = measured.pop(baseline)
    shared = {name: own.keys() & values.keys() for name, values in measured.items()}
    groups: Mapping[Key, Hashable] = {key: key for key in own} if group_of is None else group_of
    found = {}
    for name, keys in shared.items():
        if not keys:
            continue
        pooled = [other for other in measured if keys <= shared[other]]
        table = shared_blocks([own, *(measured[other] for other in pooled)], groups)
        mean = float((table[1 + pooled.index(name)] - table[0]).mean())
        error, degrees = difference_error(table) or (None, None)
        half = None
        if error is not None and degrees is not None:
            half = t_quantile(0.5 + CONFIDENCE / 2, degrees) * error
        found[name] = Difference(
            mean=mean,
            ci_low=None if half is None else mean - half,
            ci_high=None if half is None else mean + half,
            n=len(keys),
            paired=True,
            degrees=degrees,
            units=table.shape[1],
        )
    return found
