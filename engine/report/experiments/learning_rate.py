"""Table 7: the students' learning rate, chosen per IPC on validation, beside the published one."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from engine.report import numbers
from engine.report.entries import Entry, Table, accuracy_entry
from engine.report.experiments.comparison import compared
from engine.report.experiments.curves import Plot, curves_of, draw_curves, under
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, NumberTable, Picture, cells_of
from engine.report.experiments.series import (
    Series,
    Variant,
    everything_of,
    measured_only,
    ranked,
    series_of,
)
from engine.report.experiments.words import at, taught_by, telling, uncompared
from engine.report.tables import Row, summary_columns, trial_ids

AXES = ("lr", "student.lr")


def find(evidence: Evidence) -> Finding | None:
    deviating = [
        each
        for each in evidence.conditions
        if evidence.is_plain(each) and (differs := evidence.deviates(each)) and differs <= {*AXES}
    ]
    if not deviating:
        return None
    # With the main students at the same places, which have the usual rate.
    bases = {each.key for each in map(evidence.with_main_student, deviating) if each is not None}
    wanted = {each.key for each in deviating} | bases
    variants = [
        Variant(
            value=each.learning_rate,
            text=f"{each.learning_rate:g}",
            condition=each,
            soft=evidence.with_main_student(each) if each.labels == "soft" else None,
            hard=evidence.hard_of(each) if each.labels == "soft" else None,
        )
        for each in evidence.conditions
        if each.key in wanted and each.learning_rate is not None
    ]
    series = _of_kinds(variants)
    drawn = _of_kinds(measured_only(variants))
    best = _best_table(evidence, drawn)
    return Finding(
        sentences=tuple(_sentences(drawn, evidence)) or ("No such run is finished.",),
        tables=(
            *([best] if best else []),
            compared(
                evidence,
                "learning_rate",
                "Every learning rate",
                series,
                heading="student lr",
                baselines=False,
                soft_name="the usual rate",
            ),
        ),
        pictures=(
            Picture(
                name="learning_rate",
                caption="Accuracy by the students’ learning rate.",
                draw=lambda: _draw(evidence, drawn),
            ),
        )
        if any(len(each.variants) > 1 for each in drawn)
        else (),
        shown=tuple(deviating),
        cells=cells_of(everything_of(series)),
    )


EXPERIMENT = Experiment(
    name="learning-rate",
    title="Learning rate",
    question="Which learning rate do the students need?",
    source="paper, Table 7",
    find=find,
)


def _of_kinds(variants: Sequence[Variant]) -> list[Series]:
    """Series of soft and, apart from them, of hard labels."""
    return [
        each
        for kind in ("soft", "hard")
        for each in series_of([v for v in variants if v.condition.labels == kind], varied=AXES)
    ]


def _chosen(series: Series) -> tuple[Variant, str] | None:
    """The best variant by validation if all have one, else by test, and which it was.

    Rates are often tried on fewer seeds than the usual one: over the seeds that all have, if any.
    """
    ranking = ranked(series.variants, ("final", "test"))
    return None if ranking is None else (ranking.best, ranking.split)


def _sentences(series: Sequence[Series], evidence: Evidence) -> list[str]:
    sentences = []
    several = [each for each in series if len(each.variants) > 1]
    ipcs = {each.ipc for each in several}
    alone = [
        each
        for each in series
        if each.ipc not in ipcs and evidence.deviates(each.variants[0].condition)
    ]
    for each in telling([*several, *alone]):
        if len(each.variants) < 2:
            lacking = f"run at another rate {taught_by(each)}"
            named = [(f"rate {v.text}", v.condition) for v in each.variants]
            sentences.append(uncompared(at(each, series), lacking, named, evidence.of))
            continue
        chosen = _chosen(each)
        if chosen is None:
            continue
        best, split = chosen
        rates = [v.text for v in each.variants]
        labels = "" if each.epoch is not None else " with hard labels"
        text = (
            f"{at(each, series)}{labels} the best of the rates {numbers.listed(rates)} is "
            f"{best.text}, by {split} accuracy"
        )
        edge = {each.variants[0].text: "smallest", each.variants[-1].text: "largest"}.get(best.text)
        more = f"; it is the {edge} one tried, so a better one may lie beyond" if edge else ""
        sentences.append(f"{text}{more}.")
    return sentences


def _best_table(evidence: Evidence, series: Sequence[Series]) -> NumberTable | None:
    theirs = evidence.published.table7 if evidence.published else {}
    rows, flat = [], []
    for each in series:
        chosen = _chosen(each) if each.epoch is not None else None
        if chosen is None or len(each.variants) < 2:
            continue
        best, split = chosen
        row: list[Entry] = [
            Entry(text=str(each.ipc)),
            Entry(text=str(each.epoch)),
            Entry(text=best.text, style="best", title=f"chosen on {split}"),
            accuracy_entry(best.condition.cell, evidence.of[0], split=evidence.of[1]),
        ]
        line: Row = {
            "ipc": each.ipc,
            "expert_epoch": each.epoch,
            "student_lr": best.value,
            "chosen_on": split,
            **summary_columns("final", best.condition.cell.summary("final")),
            "trials": trial_ids(best.condition.cell.trials),
        }
        for model, by_ipc in theirs.items():
            fields = (numbers.NOT_MEASURED,) * 4
            if each.ipc in by_ipc:
                expert_lr, lr, epoch, accuracy = by_ipc[each.ipc]
                fields = (f"{lr:g}", str(epoch), f"{expert_lr:g}", f"{accuracy:g}")
                line |= {
                    f"published_{model}_student_lr": lr,
                    f"published_{model}_expert_epoch": epoch,
                    f"published_{model}_expert_test": accuracy,
                }
            row += [Entry(text=text, style="muted", title="published") for text in fields]
        rows.append(tuple(row))
        flat.append(line)
    if not rows:
        return None
    columns = ("student lr", "expert epoch", "expert lr", "expert test")
    return NumberTable(
        name="learning_rate_best",
        view=Table(
            title="Best learning rate",
            groups=(("", 2), ("Ours", 2), *((f"Published, {m}", 4) for m in theirs)),
            columns=("IPC", "expert epoch", "student lr", "accuracy", *columns * len(theirs)),
            rows=tuple(rows),
            legend=(
                "Ours: chosen on validation images where there are any. Published: Table 7 of the "
                "paper, chosen on test."
                if theirs
                else "Chosen on validation images where there are any.",
            ),
        ),
        rows=tuple(flat),
    )


def _draw(evidence: Evidence, series: Sequence[Series]) -> Figure:
    soft = [each for each in series if each.epoch is not None] or list(series)
    return draw_curves(
        Plot(
            title=f"{evidence.results.dataset_name}: learning rate of the students",
            under=under(soft),
            xlabel="learning rate",
            ylabel=f"{evidence.of[1]} accuracy (%)",
        ),
        curves_of(soft, evidence.of),
    )
