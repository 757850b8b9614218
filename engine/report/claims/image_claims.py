"""Claims about images: classes never shown, other selections, labels learned without an expert."""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.statistics import Difference
from engine.report.claims.cells import against, families, place
from engine.report.claims.comparisons import Comparison
from engine.report.claims.registry import Said, claim
from engine.report.claims.runs import Runs, Side
from engine.report.experiments.conditions import Condition, only_step
from engine.report.experiments.dropped import class_name, of_class
from engine.report.experiments.evidence import Evidence


@claim("zero-shot")
def zero_shot(evidence: Evidence) -> Said:
    for each in evidence.conditions:
        name, _, argument = str(each.axes["selection"]).partition(":")
        # With hard labels nothing could tell a student of that class.
        if name != "drop-class" or each.labels != "soft":
            continue
        if not evidence.is_plain(each, but=("selection",)):
            continue
        number = int(argument.partition("@")[0])
        own = Runs(values=of_class(each, number), cell=each.cell)
        classes = evidence.results.num_classes
        gap = own.less_level(1 / classes) if classes else None
        if gap is not None:
            named = class_name(evidence, number)
            yield Comparison(
                what=f"{place(each)}, {named} never shown: accuracy on it, less chance",
                difference=gap,
                expected="greater",
                own=own.side(own.values),
                other=Side(of="chance"),
            )


@claim("column-teaches")
def column_teaches(evidence: Evidence) -> Said:
    for soft, dropped in families(evidence, "drop-class-column"):
        for each in dropped:
            number = int((only_step(each, "drop-class-column") or ("",))[0])
            own, whole = (Runs(values=of_class(one, number), cell=one.cell) for one in (each, soft))
            gap = own.less(whole)
            if gap is not None:
                named = class_name(evidence, number)
                shared = own.values.keys() & whole.values.keys() if gap.paired else None
                yield Comparison(
                    what=f"{place(each)}, accuracy on {named} without its column, less with it",
                    difference=gap,
                    expected="less",
                    own=own.side(own.values if shared is None else shared),
                    other=whole.side(whole.values if shared is None else shared),
                )


@claim("no-selection")
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


@claim("learned-resemble")
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
                f"{best['epoch']}: rank correlation, less 0",
                difference=Difference(
                    mean=row["rank_correlation"],
                    ci_low=low,
                    ci_high=high,
                    n=entry["images"],
                    paired=True,
                ),
                expected="greater",
                own=Side(of="learned labels", ids=(each.id,)),
                other=Side(of="chance"),
                unit="rank correlation",
                over="images",
            )
            yield (
                f"{each.path.name}: most alike is epoch {best['epoch']} "
                f"({best['low']} to {best['high']} in 95 % of the draws over images)"
            )
