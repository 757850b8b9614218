"""Labels learned without looking at an expert: which expert epoch they turn out to resemble."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from engine.report import numbers
from engine.report.entries import Entry, Table
from engine.report.experiments.curves import Curve, Plot, Point, draw_curves
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, NumberTable, Picture

if TYPE_CHECKING:
    from engine.report.sources import Learned

MEASURES = {
    "rank_correlation": "rank correlation",
    "kl_expert_learned": "KL(expert ‖ learned)",
    "kl_learned_expert": "KL(learned ‖ expert)",
    "similarity_cosine": "class similarity, cosine",
}


def find(evidence: Evidence) -> Finding | None:
    learned = sorted(evidence.learned, key=lambda each: (each.ipc, each.id))
    if not learned:
        return None
    compared = [(each, entry) for each in learned for entry in each.comparisons]
    return Finding(
        sentences=tuple(_sentences(learned, compared)),
        tables=(
            _learned_table(learned),
            *([_best_table(compared), _epochs_table(compared)] if compared else []),
        ),
        pictures=_pictures(evidence, learned, compared),
    )


EXPERIMENT = Experiment(
    name="learned-labels",
    title="Learned labels",
    question="Do labels learned through students’ training resemble an expert’s, and of which "
    "epoch?",
    source="paper, key result 5",
    find=find,
)

Compared = Sequence[tuple["Learned", Mapping[str, Any]]]


def _name(learned: Learned) -> str:
    return f"IPC {learned.ipc}, {learned.path.name}"


def _sentences(learned: Sequence[Learned], compared: Compared) -> list[str]:
    sentences = []
    for each, entry in compared:
        best = {row["measure"]: row for row in entry["best"]}
        told = []
        for measure in ("rank_correlation", "kl_expert_learned"):
            row = best.get(measure)
            if row and row["epoch"] is not None:
                told.append(
                    f"{row['epoch']} by {MEASURES[measure]} (95 % of the draws over images: "
                    f"{_span(row)})"
                )
        if told:
            sentences.append(
                f"At IPC {each.ipc} the learned labels are most like those of {entry['expert']} at "
                f"epoch {numbers.listed(told)}."
            )
    if not compared:
        sentences.append("They were not compared with an expert.")
    free = sum(each.knowledge_free for each in learned)
    sentences.append(f"{free} of {len(learned)} began without any expert’s labels.")
    return sentences


def _span(row: Mapping[str, Any]) -> str:
    low, high = row["low"], row["high"]
    return str(low) if low == high else f"{low} to {high}"


def _learned_table(learned: Sequence[Learned]) -> NumberTable:
    rows, flat = [], []
    for each in learned:
        first, last = _losses(each)
        measured = [row for row in each.history if row.get("validation_accuracy") is not None]
        accuracy = measured[-1]["validation_accuracy"] if measured else None
        epochs = measured[-1].get("student_epochs") if measured else None
        knowledge = str(each.manifest.get("knowledge", ""))
        rows.append(
            (
                Entry(text=each.path.name, style="words", title=f"id {each.id}"),
                Entry(text=str(each.ipc)),
                Entry(text=knowledge, style="words"),
                Entry(text=str(each.step)),
                Entry(text=numbers.NOT_MEASURED if first is None else numbers.signless(first, 3)),
                Entry(text=numbers.NOT_MEASURED if last is None else numbers.signless(last, 3)),
                Entry(text=numbers.percent(accuracy)),
                Entry(text=numbers.NOT_MEASURED if epochs is None else f"{epochs:,}"),
            )
        )
        flat.append(
            {
                "learned": each.path.name,
                "id": each.id,
                "ipc": each.ipc,
                "knowledge": knowledge,
                "steps": each.step,
                "outer_loss_first_tenth": first,
                "outer_loss_last_tenth": last,
                "validation_accuracy_last": accuracy,
                "student_epochs_last": epochs,
            }
        )
    return NumberTable(
        name="learned_labels",
        view=Table(
            title="Learned labels",
            columns=(
                "learned",
                "IPC",
                "knowledge",
                "outer steps",
                "outer loss, first tenth",
                "last tenth",
                "validation accuracy",
                "after epochs",
            ),
            rows=tuple(rows),
            legend=(
                "Outer loss: of students trained on the labels, on training images; the mean over "
                "the first and the last tenth of the outer steps, whose students train for random "
                "lengths. Validation accuracy: the last one measured while learning, in percent, "
                "after so many epochs of a student. How students of full length do on the labels "
                "says `engine evaluate`.",
            ),
        ),
        rows=tuple(flat),
    )


def _losses(learned: Learned) -> tuple[float | None, float | None]:
    """Means over the first and the last tenth of the steps: students of one differ in length."""
    found = [row["outer_loss"] for row in learned.history if row.get("outer_loss") is not None]
    if not found:
        return None, None
    tenth = max(1, len(found) // 10)
    return sum(found[:tenth]) / tenth, sum(found[-tenth:]) / tenth


def _best_table(compared: Compared) -> NumberTable:
    rows, flat = [], []
    for each, entry in compared:
        for row in entry["best"]:
            epoch = row["epoch"]
            rows.append(
                (
                    Entry(text=_name(each), style="words"),
                    Entry(text=str(entry["expert"]), style="words"),
                    Entry(text=MEASURES.get(row["measure"], row["measure"]), style="words"),
                    Entry(text=numbers.NOT_MEASURED if epoch is None else str(epoch), style="best"),
                    Entry(text=numbers.NOT_MEASURED if epoch is None else _span(row)),
                    Entry(text=numbers.percent(row["share"], 0)),
                )
            )
            flat.append({"learned": each.id, "ipc": each.ipc, "expert": entry["expert"], **row})
    return NumberTable(
        name="learned_labels_best_epoch",
        view=Table(
            title="The expert epoch they resemble most",
            columns=("learned", "expert", "measure", "best epoch", "95 %", "share of draws (%)"),
            rows=tuple(rows),
            legend=(
                "95 %: the epochs that 95 % of bootstrap draws over images choose. Rank "
                "correlation: Spearman’s, of the classes other than the true one.",
            ),
        ),
        rows=tuple(flat),
    )


def _epochs_table(compared: Compared) -> NumberTable:
    rows, flat = [], []
    for each, entry in compared:
        for row in entry["table"]:
            rows.append(
                (
                    Entry(text=_name(each), style="words"),
                    Entry(text=str(row["epoch"])),
                    *(
                        Entry(
                            text=numbers.NOT_MEASURED
                            if row.get(measure) is None
                            else numbers.signless(row[measure], 3)
                        )
                        for measure in MEASURES
                    ),
                    Entry(text=numbers.signless(row["expert_entropy"], 2)),
                    Entry(text=numbers.signless(row["learned_entropy"], 2)),
                )
            )
            kept = {name: value for name, value in row.items() if name != "intervals"}
            flat.append({"learned": each.id, "ipc": each.ipc, "expert": entry["expert"], **kept})
    return NumberTable(
        name="learned_labels_epochs",
        view=Table(
            title="Likeness by expert epoch",
            columns=(
                "learned",
                "expert epoch",
                *MEASURES.values(),
                "expert entropy",
                "learned entropy",
            ),
            rows=tuple(rows),
            legend=("Divergences and entropies in nats, means over images.",),
        ),
        rows=tuple(flat),
    )


def _pictures(
    evidence: Evidence, learned: Sequence[Learned], compared: Compared
) -> tuple[Picture, ...]:
    pictures = []
    if any(len(entry["table"]) > 1 for _, entry in compared):
        pictures.append(
            Picture(
                name="learned_labels_rank_correlation",
                caption="Likeness of learned labels and an expert’s, by its epoch: mean rank "
                "correlation of the classes other than the true one.",
                draw=lambda: _draw_likeness(evidence, compared),
            )
        )
    if any(len(each.history) > 1 for each in learned):
        pictures.append(
            Picture(
                name="learned_labels_loss",
                caption="The outer loss while labels are learned.",
                draw=lambda: _draw_losses(evidence, learned),
            )
        )
    return tuple(pictures)


def _line_names(learned: Sequence[Learned]) -> dict[str, str]:
    """By id, what tells a line from the others: the IPC, or the folder where two share an IPC."""
    folders = {each.id: each for each in learned}
    shared = Counter(each.ipc for each in folders.values())
    return {
        each.id: f"IPC {each.ipc}" if shared[each.ipc] == 1 else each.path.name
        for each in folders.values()
    }


def _draw_likeness(evidence: Evidence, compared: Compared) -> Figure:
    curves = []
    names = _line_names([each for each, _ in compared])
    experts = {entry["expert"] for _, entry in compared}
    for each, entry in compared:
        label = names[each.id] if len(experts) == 1 else f"{names[each.id]}, {entry['expert']}"
        points = tuple(
            Point(x=row["epoch"], y=row["rank_correlation"])
            for row in entry["table"]
            if row.get("rank_correlation") is not None and row["epoch"] > 0
        )
        if points:
            curves.append(Curve(label=label, gid=f"learned-{each.id}", points=points))
    return draw_curves(
        Plot(
            title=f"{evidence.results.dataset_name}: learned labels beside the expert’s",
            under="mean over images of Spearman’s rank correlation",
            xlabel="expert epoch",
            ylabel="rank correlation",
            from_zero=False,
        ),
        curves,
    )


def _draw_losses(evidence: Evidence, learned: Sequence[Learned]) -> Figure:
    curves = []
    names = _line_names(learned)
    for each in learned:
        points = tuple(
            Point(x=row["step"], y=row["outer_loss"])
            for row in each.history
            if row.get("outer_loss") is not None
        )
        if points:
            curves.append(Curve(label=names[each.id], gid=f"loss-{each.id}", points=points))
    return draw_curves(
        Plot(
            title=f"{evidence.results.dataset_name}: learning labels",
            under="loss on training images of students trained on the labels, at every step for "
            "another random length",
            xlabel="outer step",
            ylabel="outer loss (nats)",
            xscale="linear",
            from_zero=False,
            ticks=(),
        ),
        curves,
    )
