"""Tables 1 and 2: random images with soft labels, beside the published methods, and beside sets
made elsewhere whose students were trained here.

Published numbers are maxima over test evaluations, with the expert epoch chosen on test too, so it
is our number of the same kind (†) that stands beside them; the honest one stands next to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.analysis.choice import choose_as_the_papers
from engine.analysis.statistics import summarise
from engine.report import numbers
from engine.report.experiments.baseline_figure import draw_baseline
from engine.report.experiments.baseline_tables import OURS, evaluated_table, published_table
from engine.report.experiments.conditions import Condition
from engine.report.experiments.evidence import Evidence, of_first_expert
from engine.report.experiments.finding import Experiment, Finding, Picture, cells_of

EPOCHS, MODEL, AUGMENTATION = "student.epochs", "student.model", "student.augmentation"


def find(evidence: Evidence) -> Finding | None:
    papers = {ipc: _as_the_papers(_candidates(evidence, ipc)) for ipc in evidence.ipcs}
    soft = {ipc: each for ipc, each in papers.items() if each and each.cell.summary(OURS)}
    hard = {
        ipc: each
        for ipc in evidence.ipcs
        if (each := evidence.plain_hard(ipc)) and each.cell.summary(OURS)
    }
    if evidence.published is None and not evidence.evaluated:
        return None
    if not soft and not hard and not evidence.evaluated:
        return None
    best = {ipc: found[0] for ipc in evidence.ipcs if (found := evidence.best_soft(ipc))}
    as_long = _as_long_as_published(evidence)
    tables = []
    if evidence.published is not None:
        tables.append(published_table(evidence, soft, hard, best, as_long))
    if evidence.evaluated:
        tables.append(evaluated_table(evidence, best))
    return Finding(
        sentences=tuple(_sentences(evidence, soft, as_long)),
        tables=tuple(tables),
        pictures=(
            Picture(
                name="baseline",
                caption="Random images with soft and with hard labels, beside published methods "
                "(open, grey) and sets made elsewhere; all max on test †."
                + (" Diamonds: students as long as the published ones." if as_long else ""),
                draw=lambda: draw_baseline(evidence, soft, hard, as_long),
            ),
        )
        if soft or hard or any(each.accuracies.get(OURS) for each in evidence.evaluated)
        else (),
        cells=cells_of([*soft.values(), *hard.values(), *best.values(), *as_long.values()]),
    )


EXPERIMENT = Experiment(
    name="baseline",
    title="Beside the published numbers",
    question="How do random images with an expert’s labels compare with distilled ones?",
    source="paper, Tables 1 and 2",
    find=find,
)


def _as_the_papers(candidates: Sequence[Condition]) -> Condition | None:
    """Soft labels of the expert epoch with the greatest max on test, as the papers choose."""
    choice = choose_as_the_papers([each.cell for each in candidates])
    return next((each for each in candidates if choice and each.cell is choice.cell), None)


def _candidates(evidence: Evidence, ipc: int) -> list[Condition]:
    return of_first_expert(evidence.plain_soft(ipc))


def _as_long_as_published(evidence: Evidence) -> dict[int, Condition]:
    """Soft labels of students as long as the published ones where the main students are not.

    By IPC: of the main student's architecture and augmentation, the best as the papers choose.
    """
    if evidence.published is None:
        return {}
    long = [
        each
        for each in evidence.conditions
        if each.labels == "soft" and evidence.is_plain(each)
        if _epochs_of(each) == evidence.published.student_epochs
        if (differs := evidence.deviates(each)) >= {EPOCHS} and not differs & {MODEL, AUGMENTATION}
    ]
    by_ipc = {ipc: [each for each in long if each.ipc == ipc] for ipc in evidence.ipcs}
    best = {ipc: _as_the_papers(of_first_expert(some)) for ipc, some in by_ipc.items()}
    return {ipc: each for ipc, each in best.items() if each is not None}


def _epochs_of(condition: Condition) -> int | None:
    value = condition.axes.get(EPOCHS)
    return int(value) if isinstance(value, int) else None


def _sentences(
    evidence: Evidence, soft: Mapping[int, Condition], as_long: Mapping[int, Condition]
) -> list[str]:
    published = evidence.published
    sentences = []
    if published is not None:
        rows = {name: row for name, row in published.rows.items() if name.startswith("soft labels")}
        for ipc, condition in soft.items():
            own = condition.cell.summary(OURS)
            told = [
                f"{numbers.signless(row[ipc][0])} ± {numbers.signless(row[ipc][1])} % "
                f"({name.removeprefix('soft labels ').strip('()')})"
                for name, row in rows.items()
                if ipc in row
            ]
            if own is None or not told:
                continue
            among = [each for each in _candidates(evidence, ipc) if each.cell.summary(OURS)]
            chosen = f"epoch {condition.epoch}" + (" chosen on test too" if len(among) > 1 else "")
            sentences.append(
                f"At IPC {ipc} soft labels reach {numbers.accuracy(own)} % here (max on test, "
                f"{chosen}), {numbers.listed(told)} as published."
            )
        sentences += _lengths(evidence, list(soft.values()), published.student_epochs)
        for ipc, condition in as_long.items():
            own = condition.cell.summary(OURS)
            assert own is not None  # it was chosen by this measure
            sentences.append(
                f"Students of {published.student_epochs:,} epochs at IPC {ipc} reach "
                f"{numbers.accuracy(own)} % here (max on test, expert epoch {condition.epoch}, "
                f"n = {own.n})."
            )
    for each in evidence.evaluated:
        values = each.accuracies.get(OURS, ())
        summary = summarise(list(values))
        if summary is not None:
            sentences.append(
                f"The set “{each.name}” (IPC {each.ipc:g}) reaches {numbers.accuracy(summary)} % "
                f"here (max on test, n = {summary.n})."
            )
    return sentences or ["No IPC of these sweeps was published for this dataset."]


def _lengths(evidence: Evidence, soft: Sequence[Condition], theirs: int) -> list[str]:
    """Whether our students trained as long as the published ones, which alone moves numbers."""
    shorter = sorted(
        {(each.ipc, epochs) for each in soft if (epochs := _epochs_of(each)) and epochs != theirs}
    )
    if not shorter:
        return []
    told = [f"{epochs:,} at IPC {ipc}" for ipc, epochs in shorter]
    return [
        f"Not the same students: the published ones train for {theirs:,} epochs, these for "
        f"{numbers.listed(told)}."
    ]
