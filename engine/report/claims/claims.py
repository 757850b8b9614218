"""The claims of both papers, one by one, held against a report's trials.

A claim is a generator of comparisons whose outcome it predicts, and of sentences with the numbers
behind them. Epochs are chosen on validation where there is a choice, and all comparisons are on
test. Adding a claim is one decorated function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from engine.analysis.choice import choose_expert_epoch
from engine.analysis.statistics import Difference, difference, summarise
from engine.analysis.trials import Seeds
from engine.report.claims.verdict import (
    Comparison,
    Expected,
    Values,
    Verdict,
    compare,
    verdict,
)
from engine.report.experiments.conditions import Condition, only_step
from engine.report.experiments.evidence import Evidence


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A claim and what became of it. ``numbers``: what it rests on, in words."""

    claim: str
    source: str
    verdict: Verdict
    comparisons: tuple[Comparison, ...]
    numbers: tuple[str, ...]


Said = Iterator[Comparison | str]
Test = Callable[[Evidence], Said]
_CLAIMS: list[tuple[str, str, Test]] = []


def claim(text: str, source: str) -> Callable[[Test], Test]:
    """Register the test of a claim, in the order of the papers."""

    def register(test: Test) -> Test:
        _CLAIMS.append((text, source, test))
        return test

    return register


def judge(evidence: Evidence) -> list[Judgement]:
    """Every claim with its verdict."""
    judgements = []
    for text, source, test in _CLAIMS:
        said = list(test(evidence))
        comparisons = tuple(each for each in said if isinstance(each, Comparison))
        judgements.append(
            Judgement(
                claim=text,
                source=source,
                verdict=verdict(comparisons),
                comparisons=comparisons,
                numbers=tuple(each for each in said if isinstance(each, str)),
            )
        )
    return judgements


@claim("Soft labels beat hard labels on the same random images", "paper, Tables 1 and 2")
def soft_beats_hard(evidence: Evidence) -> Said:
    for ipc in evidence.ipcs:
        best = evidence.best_soft(ipc)
        if best is None:
            continue
        soft, hard = _values(best[0], evidence), _values(evidence.hard_of(best[0]), evidence)
        at = f"IPC {ipc}, epoch {best[0].epoch}"
        for each in compare({at: soft, "hard": hard}, "hard", "greater"):
            yield _renamed(each, f"{at}, less hard labels")
        if soft and hard:
            yield f"{at}: {_percent(soft)} against {_percent(hard)} with hard labels"


@claim("Labels of an early-stopped expert beat those of a longer trained one", "paper, Figure 1")
def early_beats_late(evidence: Evidence) -> Said:
    for ipc in evidence.ipcs[:1]:
        cells = _over_epochs(evidence, ipc)
        early, late = _best_before_last(evidence, ipc), max(cells, default=None)
        if early is None or late is None:
            continue
        named = {f"IPC {ipc}, epoch {epoch}": cells[epoch] for epoch in (early, late)}
        for each in compare(named, f"IPC {ipc}, epoch {late}", "greater"):
            yield _renamed(each, f"{each.what}, less epoch {late}")
        yield _series(f"IPC {ipc}", cells)


@claim(
    "Student accuracy rises with the expert’s and then falls",
    "paper, Figure 1; reproduction, Figure 1",
)
def rises_then_falls(evidence: Evidence) -> Said:
    for ipc in evidence.ipcs:
        cells = _over_epochs(evidence, ipc)
        middle = _best_before_last(evidence, ipc)
        if middle is None or middle == min(cells):
            continue
        for end in (min(cells), max(cells)):
            named = {f"IPC {ipc}, epoch {e}": cells[e] for e in (middle, end)}
            for each in compare(named, f"IPC {ipc}, epoch {end}", "greater"):
                yield _renamed(each, f"{each.what}, less epoch {end}")


@claim("The best expert epoch grows with the images per class", "paper, Table 7; Figure 3b")
def best_epoch_grows(evidence: Evidence) -> Said:
    over = {i: cells for i in evidence.ipcs if len(cells := _over_epochs(evidence, i)) > 1}
    if len(over) < 2:
        return
    smallest, largest = min(over), max(over)
    early, late = _best_before_last(evidence, smallest), max(over[smallest])
    if early is not None and {early, late} <= over[largest].keys():
        gains = [_minus(over[ipc][late], over[ipc][early]) for ipc in (largest, smallest)]
        between = difference(*gains)
        if between is not None:
            what = f"what epoch {late} gains over {early}, at IPC {largest} less at IPC {smallest}"
            yield Comparison(what=what, difference=between, expected="greater")
    for ipc in over:
        best = evidence.best_soft(ipc)
        if best is not None:
            on = best[1].chosen_on
            values = _values(best[0], evidence)
            yield f"IPC {ipc}: best on {on} is epoch {best[0].epoch}, {_percent(values)}"


@claim(
    "Structure counts: exchanging a top label with the last hurts, the more the higher it stands",
    "paper, Figure 5; reproduction, Figure 2a",
)
def swapping_hurts(evidence: Evidence) -> Said:
    for soft, swapped in _families(evidence, "swap-ith"):
        at = _at(soft)
        cells = {f"{at}, {each.transform}": _values(each, evidence) for each in swapped}
        names = list(cells)
        whole = {names[0]: cells[names[0]], "soft": _values(soft, evidence)}
        for each in compare(whole, "soft", "less"):
            yield _renamed(each, f"{each.what}, less soft labels")
        if len(names) > 1:
            ends = {names[-1]: cells[names[-1]], names[0]: cells[names[0]]}
            for each in compare(ends, names[0], "greater"):
                yield _renamed(each, f"{each.what}, less {swapped[0].transform}")
        yield _relative(at, swapped, soft, evidence)


@claim("Labels whose tail is shuffled are worse than soft ones", "reproduction, Figure 2b")
def shuffled_below_soft(evidence: Evidence) -> Said:
    for soft, shuffled in _families(evidence, "shuffle-tail"):
        yield from _against(evidence, shuffled, soft, "soft labels", "less")


@claim("Labels whose tail is shuffled are worse than hard ones", "reproduction, Figure 2b")
def shuffled_below_hard(evidence: Evidence) -> Said:
    for soft, shuffled in _families(evidence, "shuffle-tail"):
        yield from _against(evidence, shuffled, evidence.hard_of(soft), "hard labels", "less")


@claim("Uncertainty without structure is no better than hard labels", "reproduction, Figure 3a")
def generated_no_better(evidence: Evidence) -> Said:
    by_hard: dict[int, list[Condition]] = {}
    for each in evidence.conditions:
        if only_step(each, "generated") is not None and each.is_measured:
            by_hard.setdefault(each.ipc, []).append(each)
    for ipc, generated in sorted(by_hard.items()):
        hard = evidence.hard_of(generated[0])
        yield from _against(evidence, generated, hard, "hard labels", "not greater")
        yield f"IPC {ipc}: " + ", ".join(
            f"{each.transform} {_percent(_values(each, evidence))}"
            for each in (*generated, hard)
            if each is not None
        )


@claim("Noise in the most confident labels does not help", "reproduction, Figure 4")
def noise_does_not_help(evidence: Evidence) -> Said:
    for soft, noisy in _families(evidence, "noise-lowest-entropy"):
        yield from _against(evidence, noisy, soft, "soft labels", "not greater")


@claim("The tail of the labels carries knowledge: top-1 labels are worse", "paper, Figure 6")
def tail_helps(evidence: Evidence) -> Said:
    for soft, truncated in _families(evidence, "top-k"):
        first = [each for each in truncated if each.transform == "top-k:1"]
        yield from _against(evidence, first, soft, "whole labels", "less")
        yield _relative(_at(soft), truncated, soft, evidence)


@claim("A student recognises a class of which it never saw an image", "paper, zero-shot")
def zero_shot(evidence: Evidence) -> Said:
    for each in evidence.conditions:
        name, _, number = str(each.axes["selection"]).partition(":")
        if name != "drop-class" or not evidence.is_plain(each, but=("selection",)):
            continue
        dropped = int(number)
        own = {
            t.seeds: t.test_per_class[dropped]
            for t in each.cell.trials
            if t.test_per_class is not None
        }
        classes = evidence.results.num_classes
        gap = difference(own, dict.fromkeys(own, 1 / classes)) if classes else None
        if gap is not None:
            what = f"{_at(each)}, class {dropped} never shown: accuracy on it, less chance"
            yield Comparison(what=what, difference=gap, expected="greater")


@claim("Which images are chosen matters little: no selection beats random", "paper, selection")
def selection_matters_little(evidence: Evidence) -> Said:
    for ipc in evidence.ipcs:
        chosen: dict[int | None, list[Condition]] = {}
        for each in evidence.conditions:
            plain = evidence.is_plain(each, but=("selection",)) and not evidence.deviates(each)
            other = not str(each.axes["selection"]).startswith(("random", "drop-class"))
            if each.ipc == ipc and each.labels == "soft" and plain and other:
                chosen.setdefault(each.epoch, []).append(each)
        for same in chosen.values():
            random = evidence.soft_of(same[0], same_images=False)
            yield from _against(evidence, same, random, "random images", "not greater")


@claim("A higher temperature does not replace stopping early", "paper, temperature")
def temperature_is_no_substitute(evidence: Evidence) -> Said:
    for ipc in evidence.ipcs[:1]:
        early = _best_before_last(evidence, ipc)
        plain = by_epoch(_plain_soft(evidence, ipc))
        if early is None:
            continue
        softened = [
            each
            for each in evidence.conditions
            if each.ipc == ipc and each.labels == "soft" and each.epoch == max(plain)
            if each.axes["temperature"] != evidence.plain["temperature"]
            if evidence.is_plain(each, but=("temperature",)) and not evidence.deviates(each)
        ]
        cells = {
            f"IPC {ipc}, epoch {each.epoch} at temperature {each.axes['temperature']}": _values(
                each, evidence
            )
            for each in softened
        }
        baseline = f"epoch {early}"
        for one in compare(
            {**cells, baseline: _values(plain[early], evidence)}, baseline, "not greater"
        ):
            yield _renamed(one, f"{one.what}, less {baseline} as it is")


@claim("Soft labels of another expert help as well", "paper, robustness")
def another_expert(evidence: Evidence) -> Said:
    for ipc in evidence.ipcs:
        first = evidence.best_soft(ipc)
        if first is None:
            continue
        own = first[0].axes.get("expert")
        others = [
            each
            for each in evidence.plain_soft(ipc)
            if each.axes.get("expert") != own and each.is_measured
        ]
        choice = choose_expert_epoch([each.cell for each in others])
        best = [each for each in others if choice and each.cell is choice.cell]
        if best:
            yield from _against(evidence, best, evidence.hard_of(best[0]), "hard labels", "greater")


@claim("Labels learned without an expert resemble an expert’s", "paper, key result 5")
def learned_resemble(evidence: Evidence) -> Said:
    for each in evidence.learned:
        if not each.knowledge_free:
            continue
        for entry in each.comparisons:
            best = next(row for row in entry["best"] if row["measure"] == "rank_correlation")
            row = next((r for r in entry["table"] if r["epoch"] == best["epoch"]), None)
            if row is None or row["intervals"].get("rank_correlation") is None:
                continue
            low, high = row["intervals"]["rank_correlation"]
            yield Comparison(
                what=f"{each.path.name}, classes in the order of epoch {best['epoch']}",
                difference=Difference(
                    mean=row["rank_correlation"],
                    ci_low=low,
                    ci_high=high,
                    n=entry["images"],
                    paired=True,
                ),
                expected="greater",
                unit="rank correlation",
            )
            yield (
                f"{each.path.name}: most alike is epoch {best['epoch']} "
                f"({best['low']} to {best['high']} in 95 % of the draws over images)"
            )


def _against(
    evidence: Evidence,
    conditions: Sequence[Condition],
    baseline: Condition | None,
    name: str,
    expected: Expected,
) -> Said:
    """Each condition less the baseline."""
    cells = {_in_words(each): _values(each, evidence) for each in conditions}
    for each in compare({**cells, name: _values(baseline, evidence)}, name, expected):
        yield _renamed(each, f"{each.what}, less {name}")


def _families(evidence: Evidence, name: str) -> Iterator[tuple[Condition, list[Condition]]]:
    """Plain soft labels, and the same with one transform alone, in order of its parameters."""
    found: dict[tuple[object, ...], tuple[Condition, list[Condition]]] = {}
    for each in evidence.conditions:
        soft = evidence.soft_of(each) if only_step(each, name) is not None else None
        if soft is not None and each.is_measured and soft.is_measured:
            found.setdefault(soft.key, (soft, []))[1].append(each)
    for soft, own in found.values():
        yield soft, sorted(own, key=lambda each: _numbers(only_step(each, name) or ()))


def _plain_soft(evidence: Evidence, ipc: int) -> list[Condition]:
    """The first expert's plain soft labels of the main student, those that have runs."""
    best = evidence.best_soft(ipc)
    expert = best[0].axes.get("expert") if best else None
    return [
        each
        for each in evidence.plain_soft(ipc)
        if each.is_measured and each.axes.get("expert") == expert
    ]


def by_epoch(conditions: Iterable[Condition]) -> dict[int, Condition]:
    """Soft-label conditions by their expert epoch."""
    return {each.epoch: each for each in conditions if each.epoch is not None}


def _over_epochs(evidence: Evidence, ipc: int) -> dict[int, Values]:
    return {
        epoch: values
        for epoch, each in sorted(by_epoch(_plain_soft(evidence, ipc)).items())
        if (values := _values(each, evidence))
    }


def _best_before_last(evidence: Evidence, ipc: int) -> int | None:
    """The best epoch but the last one, on validation where that was measured."""
    plain = by_epoch(_plain_soft(evidence, ipc))
    earlier = [plain[epoch] for epoch in sorted(plain)[:-1]]
    choice = choose_expert_epoch([each.cell for each in earlier])
    return choice.cell.expert_epoch if choice else None


def _values(condition: Condition | None, evidence: Evidence) -> Values:
    return {} if condition is None else condition.cell.values(*evidence.of)


def _in_words(condition: Condition) -> str:
    words = [_at(condition)]
    if condition.transform not in ("soft", "hard"):
        words.append(condition.transform)
    if condition.axes["selection"] != "random":
        words.append(str(condition.axes["selection"]))
    return ", ".join(words)


def _at(condition: Condition) -> str:
    epoch = "" if condition.epoch is None else f", epoch {condition.epoch}"
    return f"IPC {condition.ipc}{epoch}"


def _renamed(comparison: Comparison, what: str) -> Comparison:
    return Comparison(what=what, difference=comparison.difference, expected=comparison.expected)


def _percent(values: Values) -> str:
    found = summarise(list(values.values()))
    if found is None:
        return "not run"
    spread = "" if found.std is None else f" ± {100 * found.std:.1f}"
    return f"{100 * found.mean:.1f}{spread} %"


def _series(at: str, cells: dict[int, Values]) -> str:
    return f"{at}: " + ", ".join(f"epoch {e} {_percent(values)}" for e, values in cells.items())


def _relative(
    at: str, conditions: Iterable[Condition], whole: Condition, evidence: Evidence
) -> str:
    base, parts = _values(whole, evidence), []
    for each in conditions:
        own = _values(each, evidence)
        shared = [seeds for seeds in own if base.get(seeds)]
        if shared:
            share = sum(own[s] for s in shared) / sum(base[s] for s in shared)
            parts.append(f"{each.transform} {share:.2f}")
    return f"{at}, share of the soft labels’ accuracy: {', '.join(parts)}"


def _minus(first: Values, second: Values) -> dict[Seeds, float]:
    return {seeds: first[seeds] - second[seeds] for seeds in first if seeds in second}


def _numbers(arguments: Sequence[str]) -> list[float]:
    return [float(each) for each in arguments if _is_number(each)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
