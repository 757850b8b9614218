"""Verdicts for readers: rows for a console and a table, and a page of Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from engine.report.claims.claims import Judgement

OUTCOMES = {"holds": "holds", "contradicts": "the opposite", "open": "open"}

RULES = (
    "Accuracies are those of the final epoch where nothing else is said, ± the population standard "
    "deviation; differences in points of percent, paired by seeds (same images, order and initial "
    "weights), with 95 % intervals whose scatter is pooled over the cells that are compared; runs "
    "on the same images count as one. Where nothing else is said the intervals are about other "
    "seeds, with the same expert and the same test images. A best expert epoch is chosen on "
    "validation images where there are any, though of the same runs, which favours it a little. "
    "Confirmed: every comparison holds at 95 %. Refuted: every one shows the opposite. Otherwise "
    "only those count that hold, or show the opposite, with all comparisons of the claim judged "
    "together (Bonferroni): confirmed in part: some hold; mixed: some hold and some show the "
    "opposite; refuted: some show the opposite and none holds; not settled: none is sure. “No "
    "better” allows one point. Runs without any scatter between them leave a comparison open. "
    "The intervals shown hold one by one."
)


def verdict_rows(judgements: Sequence[Judgement]) -> list[dict[str, str]]:
    """A row a claim."""
    return [
        {"claim": each.claim, "source": each.source, "verdict": each.verdict} for each in judgements
    ]


def as_markdown(judgements: Sequence[Judgement], about: Sequence[str] = ()) -> str:
    """A table of all claims, then each with what it rests on; ``about``: paragraphs before."""
    lines = ["# The claims of both papers, one by one", ""]
    for paragraph in (*about, RULES):
        lines += [paragraph, ""]
    lines += ["| | claim | source | verdict |", "|---|---|---|---|"]
    lines += [
        f"| {number} | {_cell(each.claim)} | {_cell(each.source)} | **{each.verdict}** |"
        for number, each in enumerate(judgements, 1)
    ]
    for number, each in enumerate(judgements, 1):
        lines += ["", f"## {number}. {each.claim}", "", f"{each.source}: **{each.verdict}**.", ""]
        lines += [f"- {text}" for text in evidence_lines(each)]
    return "\n".join(lines) + "\n"


def evidence_lines(judgement: Judgement) -> list[str]:
    """What a verdict rests on: every comparison with its outcome, then the numbers."""
    if not judgement.comparisons:
        return [*judgement.numbers, "The runs that it needs are not among these."]
    return [
        *(f"{each.in_words()}: {OUTCOMES[each.outcome]}" for each in judgement.comparisons),
        *judgement.numbers,
    ]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
