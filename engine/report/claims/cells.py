"""What claims are tested on: accuracies of conditions, side by side, and words for them.

Epochs are chosen on validation where there is a choice; all comparisons are on test.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from engine.analysis.choice import choose_expert_epoch
from engine.analysis.statistics import summarise
from engine.report import numbers
from engine.report.claims.comparisons import Comparison, Expected, compare
from engine.report.claims.runs import Runs
from engine.report.experiments.conditions import Condition, only_step
from engine.report.experiments.evidence import Evidence, of_first_expert


def against(
    evidence: Evidence,
    conditions: Sequence[Condition],
    baseline: Condition | None,
    name: str,
    expected: Expected,
) -> Iterator[Comparison]:
    """Each condition less the baseline."""
    cells = {in_words(each): runs_of(each, evidence) for each in conditions}
    for each in compare({**cells, name: runs_of(baseline, evidence)}, name, expected):
        yield renamed(each, f"{each.what}, less {name}")


def families(evidence: Evidence, *names: str) -> Iterator[tuple[Condition, list[Condition]]]:
    """Plain soft labels, and the same with one of these transforms alone, by its parameters."""
    found: dict[tuple[object, ...], tuple[Condition, list[Condition]]] = {}
    for each in transformed(evidence, *names):
        soft = evidence.soft_of(each)
        if soft is not None and soft.is_measured:
            found.setdefault(soft.key, (soft, []))[1].append(each)
    yield from found.values()


def transformed(evidence: Evidence, *names: str) -> list[Condition]:
    """Conditions that have runs and in which nothing is done but one of these transforms."""
    found = [
        (names.index(name), _numbers(arguments), each)
        for each in evidence.conditions
        for name in names
        if (arguments := only_step(each, name)) is not None
        if each.is_measured and evidence.is_plain(each, but=("transform",))
    ]
    return [each for *_, each in sorted(found, key=lambda one: one[:2])]


def plain_soft(evidence: Evidence, ipc: int) -> list[Condition]:
    """The first expert's plain soft labels of the main student, those that have runs."""
    return of_first_expert(evidence.plain_soft(ipc))


def by_epoch(conditions: Iterable[Condition]) -> dict[int, Condition]:
    """Soft-label conditions by their expert epoch."""
    return {each.epoch: each for each in conditions if each.epoch is not None}


def over_epochs(evidence: Evidence, ipc: int) -> dict[int, Runs]:
    """The first expert's plain soft labels by epoch."""
    return {
        epoch: runs
        for epoch, each in sorted(by_epoch(plain_soft(evidence, ipc)).items())
        if (runs := runs_of(each, evidence))
    }


def best_of(evidence: Evidence, ipc: int, epochs: Collection[int]) -> int | None:
    """The best of these epochs, on validation where that was measured; None where none was."""
    plain = by_epoch(plain_soft(evidence, ipc))
    choice = choose_expert_epoch([plain[epoch].cell for epoch in sorted(epochs) if epoch in plain])
    return choice.cell.expert_epoch if choice else None


def epochs_compared(
    evidence: Evidence, ipc: int, better: int | None, worse: int | None, *, case: str = ""
) -> Iterator[Comparison]:
    """One expert epoch less another; the claim has the first one ahead."""
    cells = over_epochs(evidence, ipc)
    if better is None or worse is None or better == worse or not {better, worse} <= cells.keys():
        return
    named = {f"IPC {ipc}, epoch {epoch}": cells[epoch] for epoch in (better, worse)}
    for each in compare(named, f"IPC {ipc}, epoch {worse}", "greater"):
        yield renamed(each, f"{each.what}, less epoch {worse}", case=case)


def runs_of(
    condition: Condition | None, evidence: Evidence, of: tuple[str, str] | None = None
) -> Runs:
    """A condition's runs with the accuracy that the report is about, or with another measure's."""
    if condition is None:
        return Runs(values={}, cell=None)
    return Runs(values=condition.cell.values(*(of or evidence.of)), cell=condition.cell)


def in_words(condition: Condition) -> str:
    """`IPC 10, epoch 24, swap-ith:2`."""
    words = [place(condition)]
    if condition.transform not in ("soft", "hard"):
        words.append(condition.transform)
    if condition.axes["selection"] != "random":
        words.append(str(condition.axes["selection"]))
    return ", ".join(words)


def place(condition: Condition) -> str:
    """`IPC 10, epoch 24`."""
    epoch = "" if condition.epoch is None else f", epoch {condition.epoch}"
    return f"IPC {condition.ipc}{epoch}"


def renamed(comparison: Comparison, what: str, *, case: str = "") -> Comparison:
    """The same comparison under another name, perhaps as a part of a case."""
    return replace(comparison, what=what, case=case)


def percent(runs: Runs, like: Runs | None = None) -> str:
    """`14.3 ± 0.4 %`; of the seeds that are in `like` too, where any is."""
    kept = [v for seeds, v in runs.values.items() if like is None or seeds in like.values]
    found = summarise(kept or list(runs.values.values()))
    return "not run" if found is None else f"{numbers.accuracy(found)} %"


def series(at: str, cells: dict[int, Runs]) -> str:
    """`IPC 1: epoch 4 9.2 ± 0.3 %, epoch 7 …`."""
    return f"{at}: " + ", ".join(f"epoch {epoch} {percent(of)}" for epoch, of in cells.items())


def shares(at: str, conditions: Iterable[Condition], whole: Condition, evidence: Evidence) -> str:
    """How much of the whole labels' accuracy each condition reaches, over shared seeds."""
    base, parts = runs_of(whole, evidence).values, []
    for each in conditions:
        own = runs_of(each, evidence).values
        shared = [seeds for seeds in own if base.get(seeds)]
        if shared:
            share = sum(own[s] for s in shared) / sum(base[s] for s in shared)
            parts.append(f"{each.transform} {share:.2f}")
    return f"{at}, share of the soft labels’ accuracy: {', '.join(parts)}"


def _numbers(arguments: Sequence[str]) -> list[float]:
    return [float(each) for each in arguments if _is_number(each)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
