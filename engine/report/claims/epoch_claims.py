"""Claims about the expert epoch: how labels change with it, and which suits how many images."""

from __future__ import annotations

from engine.analysis.statistics import difference
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
    )
    yield Comparison(
        what=f"mean entropy of the labels over experts, {at}",
        difference=entropy,
        expected="less",
        own=own,
        other=other,
        unit="nats",
        over="experts",
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
            yield from epochs_compared(evidence, ipc, middle, end)


@claim("best-epoch-grows")
def best_epoch_grows(evidence: Evidence) -> Said:
    over = {i: cells for i in evidence.ipcs if len(cells := over_epochs(evidence, i)) > 1}
    if len(over) < 2:
        return
    fewest, most = min(over), max(over)
    epochs = over[fewest].keys() & over[most].keys()
    first, last = (best_of(evidence, ipc, epochs) for ipc in (fewest, most))
    if first is None or last is None:
        return
    if first != last:
        # An earlier epoch has to win at few images, and a later one at many.
        early, late = sorted((first, last))
        yield from epochs_compared(evidence, fewest, early, late)
        yield from epochs_compared(evidence, most, late, early)
    else:
        earlier = best_of(evidence, fewest, {each for each in epochs if each < first})
        later = best_of(evidence, most, {each for each in epochs if each > last})
        yield from epochs_compared(evidence, fewest, earlier, first)
        yield from epochs_compared(evidence, most, later, last)
    for ipc in over:
        best = evidence.best_soft(ipc)
        if best is not None:
            on = best[1].chosen_on
            values = runs_of(best[0], evidence)
            yield f"IPC {ipc}: best on {on} is epoch {best[0].epoch}, {percent(values)}"


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
