"""Claims about what in a label counts, about images, and about labels learned without an expert."""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.statistics import Difference, difference
from engine.report.claims.cells import (
    against,
    families,
    percent,
    place,
    renamed,
    shares,
    transformed,
    values_of,
)
from engine.report.claims.registry import Said, claim
from engine.report.claims.verdict import Comparison, compare, subsets
from engine.report.experiments.conditions import Condition, only_step
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.zero_shot import class_name, of_class


@claim(
    "Structure counts: exchanging a top label with the last hurts, the more the higher it stands",
    "paper, key result 2; reproduction, Figure 2a",
)
def swapping_hurts(evidence: Evidence) -> Said:
    for soft, swapped in families(evidence, "swap-ith"):
        at = place(soft)
        cells = {f"{at}, {each.transform}": values_of(each, evidence) for each in swapped}
        names = list(cells)
        whole = {names[0]: cells[names[0]], "soft": values_of(soft, evidence)}
        for each in compare(whole, "soft", "less"):
            yield renamed(each, f"{each.what}, less soft labels")
        if len(names) > 1:
            ends = {names[-1]: cells[names[-1]], names[0]: cells[names[0]]}
            for each in compare(ends, names[0], "greater"):
                yield renamed(each, f"{each.what}, less {swapped[0].transform}")
        yield shares(at, swapped, soft, evidence)


@claim("Labels whose tail is shuffled are worse than soft ones", "reproduction, Figure 2b")
def shuffled_below_soft(evidence: Evidence) -> Said:
    for soft, shuffled in families(evidence, "shuffle-tail"):
        yield from against(evidence, shuffled, soft, "soft labels", "less")


@claim("Labels whose tail is shuffled are worse than hard ones", "reproduction, Figure 2b")
def shuffled_below_hard(evidence: Evidence) -> Said:
    for soft, shuffled in families(evidence, "shuffle-tail"):
        yield from against(evidence, shuffled, evidence.hard_of(soft), "hard labels", "less")


@claim("Uncertainty without structure is no better than hard labels", "reproduction, Figure 3a")
def generated_no_better(evidence: Evidence) -> Said:
    by_hard: dict[object, list[Condition]] = {}
    for each in transformed(evidence, "generated"):
        by_hard.setdefault((each.ipc, each.student), []).append(each)
    for generated in by_hard.values():
        hard = evidence.hard_of(generated[0])
        yield from against(evidence, generated, hard, "hard labels", "not greater")
        yield f"IPC {generated[0].ipc}: " + ", ".join(
            f"{each.transform} {percent(values_of(each, evidence))}"
            for each in (*generated, hard)
            if each is not None
        )


@claim(
    "An expert’s labels beat the same with noise, and labels whose tail means nothing",
    "paper, next check 2",
)
def invented_below_soft(evidence: Evidence) -> Said:
    for soft, invented in families(evidence, "uniform-noise", "class-imbalanced"):
        yield from against(evidence, invented, soft, "soft labels", "less")


@claim("Noise in the most confident labels does not help", "reproduction, Figure 4")
def noise_does_not_help(evidence: Evidence) -> Said:
    for soft, noisy in families(evidence, "noise-lowest-entropy"):
        yield from against(evidence, noisy, soft, "soft labels", "not greater")


@claim("Noise in the most confident labels costs accuracy", "reproduction, Figure 4")
def noise_costs(evidence: Evidence) -> Said:
    for soft, noisy in families(evidence, "noise-lowest-entropy"):
        yield from against(evidence, noisy, soft, "soft labels", "less")


@claim(
    "More than the first class of a label carries knowledge: top-1 labels are worse",
    "paper, key result 4 (knowledge as top-k labels)",
)
def tail_helps(evidence: Evidence) -> Said:
    for soft, truncated in families(evidence, "top-k"):
        first = [each for each in truncated if each.transform == "top-k:1"]
        yield from against(evidence, first, soft, "whole labels", "less")
        yield shares(place(soft), truncated, soft, evidence)


@claim("A student recognises a class of which it never saw an image", "paper, zero-shot")
def zero_shot(evidence: Evidence) -> Said:
    for each in evidence.conditions:
        name, _, argument = str(each.axes["selection"]).partition(":")
        # With hard labels nothing could tell a student of that class.
        if name != "drop-class" or each.labels != "soft":
            continue
        if not evidence.is_plain(each, but=("selection",)):
            continue
        number = int(argument.partition("@")[0])
        own = of_class(each, number)
        classes = evidence.results.num_classes
        gap = difference(own, dict.fromkeys(own, 1 / classes), subsets(own)) if classes else None
        if gap is not None:
            named = class_name(evidence, number)
            what = f"{place(each)}, {named} never shown: accuracy on it, less chance"
            yield Comparison(what=what, difference=gap, expected="greater")


@claim(
    "What other classes’ labels say of a class teaches it: without its column it is missed more",
    "paper, zero-shot",
)
def column_teaches(evidence: Evidence) -> Said:
    for soft, dropped in families(evidence, "drop-class-column"):
        for each in dropped:
            number = int((only_step(each, "drop-class-column") or ("",))[0])
            own = of_class(each, number)
            gap = difference(own, of_class(soft, number), subsets(own))
            if gap is not None:
                named = class_name(evidence, number)
                what = f"{place(each)}, accuracy on {named} without its column, less with it"
                yield Comparison(what=what, difference=gap, expected="less")


@claim("No choice of images beats random ones", "paper, image selection")
def no_selection_beats_random(evidence: Evidence) -> Said:
    for random, chosen in _selections(evidence):
        yield from against(evidence, chosen, random, "random images", "not greater")


def _selections(evidence: Evidence) -> Iterator[tuple[Condition, list[Condition]]]:
    """Random images, and others with the same labels and student."""
    found: dict[tuple[object, ...], tuple[Condition, list[Condition]]] = {}
    for each in evidence.conditions:
        plain = evidence.is_plain(each, but=("selection",)) and not evidence.deviates(each)
        other = not str(each.axes["selection"]).startswith(("random", "drop-class"))
        if each.labels == "soft" and each.is_measured and plain and other:
            random = evidence.soft_of(each, same_images=False)
            if random is not None:
                found.setdefault(random.key, (random, []))[1].append(each)
    yield from found.values()


@claim(
    "Labels learned without an expert order the other classes as an expert’s do, not at random",
    "paper, key result 5",
)
def learned_resemble(evidence: Evidence) -> Said:
    for each in evidence.learned:
        if not each.knowledge_free:
            continue
        for entry in each.comparisons:
            best = next((r for r in entry["best"] if r["measure"] == "rank_correlation"), None)
            row = next((r for r in entry["table"] if best and r["epoch"] == best["epoch"]), None)
            if best is None or row is None or row["intervals"].get("rank_correlation") is None:
                continue
            low, high = row["intervals"]["rank_correlation"]
            yield Comparison(
                what=f"{each.path.name}, beside the most alike of {len(entry['table'])} epochs, "
                f"{best['epoch']}; n and interval over images",
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
