"""Claims about what in a label counts."""

from __future__ import annotations

from engine.report.claims.cells import (
    against,
    families,
    percent,
    place,
    renamed,
    runs_of,
    shares,
    transformed,
)
from engine.report.claims.comparisons import compare
from engine.report.claims.registry import Said, claim
from engine.report.experiments.conditions import Condition
from engine.report.experiments.evidence import Evidence


@claim("swap")
def swapping_hurts(evidence: Evidence) -> Said:
    for soft, swapped in families(evidence, "swap-ith"):
        at = place(soft)
        cells = {f"{at}, {each.transform}": runs_of(each, evidence) for each in swapped}
        names = list(cells)
        whole = {names[0]: cells[names[0]], "soft": runs_of(soft, evidence)}
        for each in compare(whole, "soft", "less"):
            yield renamed(each, f"{each.what}, less soft labels", case=at)
        if len(names) > 1:
            ends = {names[-1]: cells[names[-1]], names[0]: cells[names[0]]}
            for each in compare(ends, names[0], "greater"):
                yield renamed(each, f"{each.what}, less {swapped[0].transform}", case=at)
        yield shares(at, swapped, soft, evidence)


@claim("shuffled-below-soft")
def shuffled_below_soft(evidence: Evidence) -> Said:
    for soft, shuffled in families(evidence, "shuffle-tail"):
        yield from against(evidence, shuffled, soft, "soft labels", "less")


@claim("shuffled-below-hard")
def shuffled_below_hard(evidence: Evidence) -> Said:
    for soft, shuffled in families(evidence, "shuffle-tail"):
        yield from against(evidence, shuffled, evidence.hard_of(soft), "hard labels", "less")


@claim("generated")
def generated_no_better(evidence: Evidence) -> Said:
    by_hard: dict[object, list[Condition]] = {}
    for each in transformed(evidence, "generated"):
        by_hard.setdefault((each.ipc, each.student), []).append(each)
    for generated in by_hard.values():
        hard = evidence.hard_of(generated[0])
        yield from against(evidence, generated, hard, "hard labels", "not greater")
        yield f"IPC {generated[0].ipc}: " + ", ".join(
            f"{each.transform} {percent(runs_of(each, evidence))}"
            for each in (*generated, hard)
            if each is not None
        )


@claim("invented-below-soft")
def invented_below_soft(evidence: Evidence) -> Said:
    for soft, invented in families(evidence, "uniform-noise", "class-imbalanced"):
        yield from against(evidence, invented, soft, "soft labels", "less")


@claim("noise-no-help")
def noise_does_not_help(evidence: Evidence) -> Said:
    for soft, noisy in families(evidence, "noise-lowest-entropy"):
        yield from against(evidence, noisy, soft, "soft labels", "not greater")


@claim("noise-costs")
def noise_costs(evidence: Evidence) -> Said:
    for soft, noisy in families(evidence, "noise-lowest-entropy"):
        yield from against(evidence, noisy, soft, "soft labels", "less")


@claim("tail-helps")
def tail_helps(evidence: Evidence) -> Said:
    for soft, truncated in families(evidence, "top-k"):
        first = [each for each in truncated if each.transform == "top-k:1"]
        yield from against(evidence, first, soft, "whole labels", "less")
        yield shares(place(soft), truncated, soft, evidence)
