"""Claims about the expert epoch: how labels change with it, and which suits how many images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.analysis.best_epoch import BestEpoch, judge_growth
from engine.analysis.statistics import difference
from engine.report.best_epoch import best_epochs_of, established, plausible_epochs
from engine.report.claims.cells import (
    best_of,
    by_epoch,
    epochs_compared,
    over_epochs,
    percent,
    plain_soft,
    renamed,
    runs_of,
    series,
)
from engine.report.claims.comparisons import Comparison, compare
from engine.report.claims.registry import Said, claim
from engine.report.claims.runs import Side
from engine.report.claims.verdict import Ruling
from engine.report.experiments.conditions import Condition
from engine.report.experiments.evidence import Evidence


@claim("entropy-falls")
def entropy_falls(evidence: Evidence) -> Said:
    known: dict[str, dict[int, tuple[float, float]]] = {}
    runs: dict[str, str] = {}
    for each in evidence.results.experts:
        if each.epoch > 0 and each.test is not None and each.label_entropy is not None:
            known.setdefault(each.expert, {})[each.epoch] = each.test, each.label_entropy
            runs[each.expert] = each.run_id
    shared = set.intersection(*(set(epochs) for epochs in known.values())) if known else set()
    if len(shared) < 2:
        return
    first, last = min(shared), max(shared)
    accuracy, entropy = (
        difference(*({e: of[epoch][i] for e, of in known.items()} for epoch in (last, first)))
        for i in (0, 1)
    )
    own, other = (
        Side(of="experts", ids=tuple(f"{run}@{epoch}" for run in runs.values()))
        for epoch in (last, first)
    )
    assert accuracy is not None
    assert entropy is not None
    at = f"epoch {last}, less epoch {first}"
    yield Comparison(
        what=f"test accuracy over experts, {at}",
        difference=accuracy,
        expected="greater",
        own=own,
        other=other,
        over="experts",
        case="experts",
    )
    yield Comparison(
        what=f"mean entropy of the labels over experts, {at}",
        difference=entropy,
        expected="less",
        own=own,
        other=other,
        unit="nats",
        over="experts",
        case="experts",
    )
    for expert, of in known.items():
        course = " → ".join(f"{100 * of[e][0]:.1f} %, {of[e][1]:.2f} nats" for e in (first, last))
        yield f"{expert}, epoch {first} → {last}: {course}"


@claim("early-beats-late")
def early_beats_late(evidence: Evidence) -> Said:
    over = {i: cells for i in evidence.ipcs if len(cells := over_epochs(evidence, i)) > 1}
    if not over:
        return
    ipc, late = min(over), max(over[min(over)])
    early = best_of(evidence, ipc, over[ipc].keys() - {late})
    yield from epochs_compared(evidence, ipc, early, late)
    yield series(f"IPC {ipc}", over[ipc])


@claim("rises-then-falls")
def rises_then_falls(evidence: Evidence) -> Said:
    for ipc in evidence.ipcs:
        epochs = over_epochs(evidence, ipc).keys()
        if len(epochs) < 3:
            continue
        ends = min(epochs), max(epochs)
        middle = best_of(evidence, ipc, epochs - {*ends})
        for end in ends:
            yield from epochs_compared(evidence, ipc, middle, end, case=f"IPC {ipc}")


@claim("best-epoch-grows")
def best_epoch_grows(evidence: Evidence) -> Said:
    found = best_epochs_of(evidence)
    if len(found) < 2:
        return
    fewest, most = found[0], found[-1]
    crossing = list(_crossing(evidence, fewest.ipc, most.ipc))
    if not crossing:
        return
    yield from crossing
    yield _growth(found, crossed=[each.outcome for each in crossing] == ["holds", "holds"])
    for each in found:
        values = over_epochs(evidence, each.ipc).get(each.epoch)
        if values is not None:
            on = each.choice.chosen_on
            yield f"IPC {each.ipc}: best on {on} is epoch {each.epoch}, {percent(values)}"


def _crossing(evidence: Evidence, fewest: int, most: int) -> Iterator[Comparison]:
    """An early epoch against a late one: it has to win at few images, and to lose at many."""
    epochs = over_epochs(evidence, fewest).keys() & over_epochs(evidence, most).keys()
    first, last = (best_of(evidence, ipc, epochs) for ipc in (fewest, most))
    if first is None or last is None:
        return
    if first == last:
        # One epoch is the best at both: those before it and after it may still cross.
        earlier = best_of(evidence, fewest, {each for each in epochs if each < first})
        later = best_of(evidence, most, {each for each in epochs if each > last})
        first, last = (
            one if other is None else other for one, other in ((first, earlier), (last, later))
        )
    early, late = sorted((first, last))
    yield from epochs_compared(evidence, fewest, early, late)
    yield from epochs_compared(evidence, most, late, early)


def _growth(found: Sequence[BestEpoch], *, crossed: bool) -> Ruling:
    """What the epochs that may be the best say; that two epochs cross locates no best one."""
    growth = judge_growth(found)
    assert growth is not None
    fewest, most = found[0], found[-1]
    pair = fewest.ipc, most.ipc
    if pair in growth.rises:
        return Ruling(verdict="confirmed", why=established(fewest, most, "rise"))
    if pair in growth.falls:
        return Ruling(verdict="refuted", why=established(fewest, most, "fall"))
    if fewest.compared != most.compared:
        lack = "the two had different epochs to choose from"
    elif fewest.contest.plausible is None or most.contest.plausible is None:
        lack = "the epochs share fewer than two seeds"
    else:
        lack = " and ".join(f"at IPC {e.ipc} {plausible_epochs(e)}" for e in (fewest, most))
        lack += " may be"
    if crossed:
        return Ruling(
            verdict="confirmed in part",
            why=f"That an early epoch beats a late one at IPC {fewest.ipc}, and the late one the "
            f"early one at IPC {most.ipc}, is established at 95 %; which epochs are the best is "
            f"not: {lack}.",
        )
    return Ruling(
        verdict="not decided",
        why=f"It is not established at 95 % which epochs are the best at IPC {fewest.ipc} and at "
        f"IPC {most.ipc}: {lack}.",
    )


@claim("temperature")
def temperature_is_no_substitute(evidence: Evidence) -> Said:
    for ipc in evidence.ipcs:
        plain = by_epoch(plain_soft(evidence, ipc))
        early = best_of(evidence, ipc, plain)
        # Where the last epoch is the best, there is nothing to replace.
        if early is None or early == max(plain):
            continue
        last = plain[max(plain)]
        softened = [
            each
            for each in evidence.conditions
            if each.ipc == ipc and each.labels == "soft" and each.epoch == last.epoch
            if each.axes.get("expert") == last.axes.get("expert")
            if _temperature(each) > _temperature(last)
            if evidence.is_plain(each, but=("temperature",)) and not evidence.deviates(each)
        ]
        cells = {
            f"IPC {ipc}, epoch {each.epoch} at temperature {each.axes['temperature']}": runs_of(
                each, evidence
            )
            for each in softened
        }
        baseline = f"epoch {early}"
        for one in compare(
            {**cells, baseline: runs_of(plain[early], evidence)}, baseline, "not greater"
        ):
            yield renamed(one, f"{one.what}, less {baseline} as it is")


def _temperature(condition: Condition) -> float:
    value = condition.axes["temperature"]
    return float(value) if isinstance(value, int | float) else 1.0
