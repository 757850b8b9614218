"""Claims about budgets: soft against hard labels, and which expert epoch suits how many images."""

from __future__ import annotations

from engine.analysis.choice import choose_expert_epoch
from engine.analysis.statistics import difference
from engine.report.claims.cells import (
    against,
    best_of,
    by_epoch,
    epochs_compared,
    over_epochs,
    percent,
    place,
    plain_soft,
    renamed,
    series,
    values_of,
)
from engine.report.claims.registry import Said, claim
from engine.report.claims.verdict import Comparison, compare, subsets
from engine.report.experiments.conditions import Condition
from engine.report.experiments.evidence import Evidence, of_first_expert
from engine.report.published import Published

DISTILLED = "DM"
"""The published method of synthetic images that random ones with soft labels are to beat."""

LENGTH = ("lr", "student.lr", "student.epochs", "student.evaluations", "student.schedule.")
"""Settings, or what they begin with, in which students of different IPCs may differ."""


@claim("Soft labels beat hard labels on the same random images", "paper, key result 1")
def soft_beats_hard(evidence: Evidence) -> Said:
    for ipc in evidence.ipcs:
        best = evidence.best_soft(ipc)
        if best is None:
            continue
        soft, hard = values_of(best[0], evidence), values_of(evidence.hard_of(best[0]), evidence)
        at = f"IPC {ipc}, epoch {best[0].epoch}"
        for each in compare({at: soft, "hard": hard}, "hard", "greater"):
            yield renamed(each, f"{at}, less hard labels")
        if soft and hard:
            yield (
                f"{at}, chosen on {best[1].chosen_on}: {percent(soft, hard)} against "
                f"{percent(hard, soft)} with hard labels"
            )


@claim(
    "Random images with soft labels beat the distilled images of DM, trained as long",
    "paper, Table 2; reproduction, Table 1",
)
def random_beats_distilled(evidence: Evidence) -> Said:
    published = evidence.published
    theirs = published.rows.get(DISTILLED, {}) if published else {}
    for ipc, (level, _) in theirs.items():
        own = _as_published(evidence, ipc)
        values = own.cell.values("max_on_test") if own else {}
        gap = difference(values, dict.fromkeys(values, level / 100), subsets(values))
        if own is None or published is None or gap is None:
            continue
        what = f"{place(own)}, max on test, less the published {level:g} % of {DISTILLED}"
        yield Comparison(what=what, difference=gap, expected="greater")
        told = [f"{name} {row[ipc][0]:g} %" for name, row in published.rows.items() if ipc in row]
        yield f"{place(own)}, max on test: {percent(values)} here; published: {', '.join(told)}"


def _as_published(evidence: Evidence, ipc: int) -> Condition | None:
    """Plain soft labels of the first expert, students of the published kind and length."""
    published = evidence.published
    if published is None:
        return None
    same = of_first_expert(
        each
        for each in evidence.conditions
        if each.ipc == ipc and each.labels == "soft"
        if evidence.is_plain(each) and _is_published_student(each, published)
    )
    choice = choose_expert_epoch([each.cell for each in same])
    return next((each for each in same if choice and each.cell is choice.cell), None)


def _is_published_student(condition: Condition, published: Published) -> bool:
    model = str(condition.axes.get("student.model", "")).replace("-", "").lower()
    models = {name.replace("-", "").lower() for name in published.table7}
    return model in models and condition.axes.get("student.epochs") == published.student_epochs


@claim(
    "Expert knowledge replaces images: fewer with soft labels beat more with hard ones",
    "paper, key result 4",
)
def knowledge_replaces_images(evidence: Evidence) -> Said:
    hard = {
        ipc: plain
        for ipc in evidence.ipcs
        if (plain := evidence.plain_hard(ipc)) and values_of(plain, evidence)
    }
    for ipc in evidence.ipcs:
        best = evidence.best_soft(ipc)
        more = min((other for other in hard if other > ipc), default=None)
        if best is None or more is None or not _are_alike(best[0], hard[more]):
            continue
        name = f"IPC {more} with hard labels"
        soft = values_of(best[0], evidence)
        cells = {place(best[0]): soft, name: values_of(hard[more], evidence)}
        for each in compare(cells, name, "greater"):
            yield renamed(each, f"{each.what}, less {name}")


def _are_alike(first: Condition, second: Condition) -> bool:
    """Whether students of two IPCs differ in nothing but their length and learning rate."""
    one, other = dict(first.student), dict(second.student)
    names = {name for name in {*one, *other} if one.get(name) != other.get(name)}
    return all(name.startswith(LENGTH) for name in names)


@claim(
    "As an expert trains, its accuracy rises and the entropy of its labels falls",
    "reproduction, section 2.2",
)
def entropy_falls(evidence: Evidence) -> Said:
    known: dict[str, dict[int, tuple[float, float]]] = {}
    for each in evidence.results.experts:
        if each.epoch > 0 and each.test is not None and each.label_entropy is not None:
            known.setdefault(each.expert, {})[each.epoch] = each.test, each.label_entropy
    shared = set.intersection(*(set(epochs) for epochs in known.values())) if known else set()
    if len(shared) < 2:
        return
    first, last = min(shared), max(shared)
    at = f"over experts, epoch {last}, less epoch {first}"
    accuracy, entropy = (
        difference(*({e: of[epoch][i] for e, of in known.items()} for epoch in (last, first)))
        for i in (0, 1)
    )
    if accuracy is not None and entropy is not None:
        yield Comparison(what=f"test accuracy {at}", difference=accuracy, expected="greater")
        what = f"mean entropy of the labels {at}"
        yield Comparison(what=what, difference=entropy, expected="less", unit="nats")


@claim(
    "At the fewest images, labels of an early-stopped expert beat those of a longer trained one",
    "paper, why it works; reproduction, Figure 1",
)
def early_beats_late(evidence: Evidence) -> Said:
    over = {i: cells for i in evidence.ipcs if len(cells := over_epochs(evidence, i)) > 1}
    if not over:
        return
    ipc, late = min(over), max(over[min(over)])
    early = best_of(evidence, ipc, over[ipc].keys() - {late})
    yield from epochs_compared(evidence, ipc, early, late)
    yield series(f"IPC {ipc}", over[ipc])


@claim(
    "Student accuracy rises with the expert’s and then falls",
    "paper, Figure 2; reproduction, Figure 1",
)
def rises_then_falls(evidence: Evidence) -> Said:
    for ipc in evidence.ipcs:
        epochs = over_epochs(evidence, ipc).keys()
        if len(epochs) < 3:
            continue
        ends = min(epochs), max(epochs)
        middle = best_of(evidence, ipc, epochs - {*ends})
        for end in ends:
            yield from epochs_compared(evidence, ipc, middle, end)


@claim(
    "The best expert epoch grows with the images per class",
    "paper, Table 7; reproduction, Figure 3b",
)
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
            values = values_of(best[0], evidence)
            yield f"IPC {ipc}: best on {on} is epoch {best[0].epoch}, {percent(values)}"


@claim("A higher temperature does not replace stopping early", "paper, temperature")
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
            f"IPC {ipc}, epoch {each.epoch} at temperature {each.axes['temperature']}": values_of(
                each, evidence
            )
            for each in softened
        }
        baseline = f"epoch {early}"
        for one in compare(
            {**cells, baseline: values_of(plain[early], evidence)}, baseline, "not greater"
        ):
            yield renamed(one, f"{one.what}, less {baseline} as it is")


def _temperature(condition: Condition) -> float:
    value = condition.axes["temperature"]
    return float(value) if isinstance(value, int | float) else 1.0


@claim("Soft labels of another expert beat hard labels, too", "paper, method")
def another_expert(evidence: Evidence) -> Said:
    for ipc in evidence.ipcs:
        first = evidence.best_soft(ipc)
        if first is None:
            continue
        own = first[0].axes.get("expert")
        others: dict[str, list[Condition]] = {}
        for each in evidence.plain_soft(ipc):
            if each.is_measured and each.axes.get("expert") != own:
                others.setdefault(str(each.axes.get("expert")), []).append(each)
        for expert, of_expert in sorted(others.items()):
            choice = choose_expert_epoch([each.cell for each in of_expert])
            best = [each for each in of_expert if choice and each.cell is choice.cell]
            for one in best:
                for found in against(
                    evidence, [one], evidence.hard_of(one), "hard labels", "greater"
                ):
                    yield renamed(found, f"{expert}, {found.what}")
