"""Claims beside published numbers, and about other experts and other students."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.analysis.choice import choose_expert_epoch
from engine.report import numbers
from engine.report.claims.cells import against, percent, place, renamed, runs_of
from engine.report.claims.comparisons import Comparison, Expected
from engine.report.claims.published_students import (
    AUGMENTATION,
    BASELINES,
    DISTILLED,
    MODEL,
    RATE,
    SRE2L,
    is_published_student,
    published_rates,
)
from engine.report.claims.registry import Said, claim
from engine.report.claims.runs import Side
from engine.report.experiments.conditions import Condition
from engine.report.experiments.evidence import Evidence, of_first_expert
from engine.report.published import Published

PAPERS_MEASURE = ("max_on_test", "test")


@claim("as-published")
def as_published(evidence: Evidence) -> Said:
    for name in BASELINES:
        yield from _less_published(evidence, name, "not less")
    yield from _unlike(evidence)


@claim("beats-dm")
def random_beats_distilled(evidence: Evidence) -> Said:
    yield from _less_published(evidence, DISTILLED, "greater")
    published = evidence.published
    for ipc in _row(published, DISTILLED):
        own = _as_published(evidence, ipc)
        if own is not None and published is not None:
            told = [f"{name} {of[ipc][0]:g} %" for name, of in published.rows.items() if ipc in of]
            here = percent(runs_of(own, evidence, PAPERS_MEASURE))
            yield f"{place(own)}, max on test: {here} here; published: {', '.join(told)}"
    yield from _unlike(evidence)


@claim("random-under-cutmix")
def random_as_good_under_cutmix(evidence: Evidence) -> Said:
    yield from _less_published(evidence, SRE2L, "not less", augmentation="cutmix")


def _less_published(
    evidence: Evidence, name: str, expected: Expected, *, augmentation: str | None = None
) -> Iterator[Comparison]:
    """Students like the published ones, less the accuracy published under a name."""
    for ipc, (level, _) in _row(evidence.published, name).items():
        own = _as_published(evidence, ipc, augmentation)
        runs = runs_of(own, evidence, PAPERS_MEASURE)
        gap = runs.less_level(level / 100)
        if own is not None and gap is not None:
            yield Comparison(
                what=f"{place(own)}, max on test, less the published {level:g} % of {name}",
                difference=gap,
                expected=expected,
                own=runs.side(runs.values),
                other=Side(of="published"),
            )


def _row(published: Published | None, name: str) -> dict[int, tuple[float, float]]:
    return dict(published.rows.get(name, {})) if published else {}


def _as_published(
    evidence: Evidence, ipc: int, augmentation: str | None = None
) -> Condition | None:
    """Plain soft labels of the first expert, students like the published ones.

    augmentation: another than the usual one; None for the main student's.
    """
    published = evidence.published
    if published is None:
        return None
    main = dict(evidence.main_students.get(ipc, ()))
    wanted = augmentation or main.get(AUGMENTATION)
    same = of_first_expert(
        each
        for each in evidence.conditions
        if each.ipc == ipc and each.labels == "soft" and evidence.is_plain(each)
        if each.axes.get(AUGMENTATION) == wanted and is_published_student(each, published)
    )
    return _best(same)


def _unlike(evidence: Evidence) -> Iterator[str]:
    """What students of another length or rate reach where something was published: no test."""
    published = evidence.published
    for ipc in sorted({ipc for name in BASELINES for ipc in _row(published, name)}):
        best = evidence.best_soft(ipc)
        if best is None or published is None or is_published_student(best[0], published):
            continue
        length, rate = best[0].axes.get("student.epochs"), best[0].learning_rate
        theirs = published_rates(published, best[0].axes.get(MODEL, ""), ipc)
        at = f" at lr {numbers.listed([f'{each:g}' for each in sorted(theirs)])}" if theirs else ""
        here = percent(runs_of(best[0], evidence, PAPERS_MEASURE))
        yield (
            f"{place(best[0])}, max on test: {here} here after {length} epochs of the student"
            + (f" at lr {rate:g}" if rate is not None else "")
            + f", which is no test: the published ones train for {published.student_epochs:,}{at}"
        )


@claim("published-rate")
def published_rate_is_best(evidence: Evidence) -> Said:
    published = evidence.published
    for ipc in evidence.ipcs:
        rates = _rates(evidence, ipc)
        theirs = _published_rate(published, rates.values(), ipc)
        base = next((each for rate, each in rates.items() if rate == theirs), None)
        if len(rates) < 2 or published is None or base is None or theirs is None:
            continue
        at, length = place(base), base.axes.get("student.epochs")
        others = [each for rate, each in rates.items() if rate != theirs]
        if length == published.student_epochs:
            for each in others:
                rate = f"lr {each.learning_rate:g}"
                for one in against(evidence, [each], base, f"lr {theirs:g}", "not greater"):
                    yield renamed(one, f"{at}, {rate}, less the published {theirs:g}")
        told = [f"lr {rate:g} {percent(runs_of(c, evidence))}" for rate, c in rates.items()]
        yield f"{at}, students of {length} epochs: {', '.join(told)}"


def _rates(evidence: Evidence, ipc: int) -> dict[float, Condition]:
    """The main student with each learning rate, at the epoch at which most of them were tried."""
    at: dict[int, dict[float, Condition]] = {}
    soft = [c for c in evidence.conditions if c.ipc == ipc and c.labels == "soft"]
    for each in of_first_expert(soft):
        same = evidence.is_plain(each) and evidence.deviates(each) <= {RATE, "lr"}
        if same and each.learning_rate is not None:
            at.setdefault(each.epoch or 0, {})[each.learning_rate] = each
    most = max(at.values(), key=len, default={})
    return dict(sorted(most.items()))


def _published_rate(
    published: Published | None, conditions: Iterable[Condition], ipc: int
) -> float | None:
    """Table 7's learning rate for the model of these students."""
    models = {each.axes.get(MODEL, "") for each in conditions}
    found = [published_rates(published, model, ipc) for model in models] if published else []
    return next((rate for rates in found for rate in rates), None)


@claim("another-expert")
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
            best = _best(of_expert)
            if best is not None:
                hard = evidence.hard_of(best)
                for found in against(evidence, [best], hard, "hard labels", "greater"):
                    yield renamed(found, f"{expert}, {found.what}")


@claim("another-student")
def another_student(evidence: Evidence) -> Said:
    for ipc in evidence.ipcs:
        by_student: dict[object, list[Condition]] = {}
        for each in evidence.conditions:
            plain = each.labels == "soft" and evidence.is_plain(each) and each.is_measured
            if each.ipc == ipc and plain and MODEL in evidence.deviates(each):
                by_student.setdefault(each.student, []).append(each)
        for own in by_student.values():
            best = _best(of_first_expert(own))
            if best is None:
                continue
            at = f"{place(best)}, {best.axes.get(MODEL)}"
            hard = evidence.hard_of(best)
            for found in against(evidence, [best], hard, "hard labels", "greater"):
                yield renamed(found, f"{at}, less hard labels")
            beside = percent(runs_of(hard, evidence))
            yield f"{at}: {percent(runs_of(best, evidence))}; with hard labels {beside}"


def _best(conditions: list[Condition]) -> Condition | None:
    """Of the best expert epoch, chosen on validation where there is any."""
    choice = choose_expert_epoch([each.cell for each in conditions])
    return next((each for each in conditions if choice and each.cell is choice.cell), None)
