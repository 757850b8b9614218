"""`claims.md`: what was run, the main numbers, and the papers' claims one by one, in Markdown.

It is made to be read by itself, from top to bottom, where figures/ and tables/ lie beside it. Every
text from the runs is escaped; every comparison names its trials.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from engine.report.claims.claims import Judgement
from engine.report.claims.comparisons import Comparison
from engine.report.claims.experiment import OUTCOMES
from engine.report.claims.papers import PAPER, REPRODUCTION
from engine.report.claims.reasons import because, few_seeds, missing
from engine.report.claims.runs import Side
from engine.report.claims.setting import (
    experts_in_words,
    lengths,
    lengths_in_words,
    steps_in_words,
    worth_caveat,
)
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding
from engine.report.headline import Card
from engine.report.textual import escaped
from engine.report.without_test_split import caveat

RULES = (
    "Accuracies are those of the final epoch where nothing else is said, ± the population standard "
    "deviation over runs.",
    "Differences are in points of percent, paired by seeds (same images, order and initial "
    "weights), with 95 % intervals whose scatter is pooled over the cells that are compared. Runs "
    "on the same images count as one. The intervals hold one by one, for other seeds of the "
    "students, with the same expert and the same images to measure accuracy on.",
    "A best expert epoch is chosen on validation images where there are any, though of the same "
    "runs, which favours it a little.",
    "**Confirmed**: every comparison of the claim holds at 95 %. **Refuted**: every one shows the "
    "opposite.",
    "Otherwise only those count that hold, or show the opposite, with all comparisons of the claim "
    "judged together (Bonferroni). **Confirmed in part**: some hold; of a claim with several "
    "parts, such as a rise and a fall, all parts at the same IPC. **Mixed**: some hold and some "
    "show the opposite. **Refuted**: some show the opposite and none holds. **Not decided**: "
    "anything else. **Not testable at this scale**: the runs that it takes are not there.",
    "That the best expert epoch grows is judged by the epochs that may be the best at either IPC, "
    "which must not overlap (table best_epoch), not by comparisons of single epochs.",
    "“No better” and “as good” allow one point. Runs without any scatter between them say nothing "
    "of chance and leave a comparison open.",
)

COVERED = (
    *("claims", "worth", "expert-quality", "swap-ith", "shuffle-tail", "generated"),
    *("noise-lowest-entropy", "top-k", "zero-shot", "temperature", "learning-rate", "selection"),
)
"""Experiments whose whole question is a claim; the others are told after the claims."""

OVER_EPOCH = (
    "Accuracy of the students over the epoch of the expert that labelled their images, a line for "
    "each number of images per class (IPC), with 95 % intervals. A ring marks the epoch that "
    "validation images choose, or test images where there are none. The points of a line share "
    "their seeds, so that epochs can differ more surely than bars that overlap suggest."
)
OVER_IPC = "Accuracy of the students over images per class (IPC), mean ± standard deviation."


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the page shows beside the verdicts.

    facts: how the numbers were made, (term, text). figures, tables: names of those that lie in
    figures/ and tables/. main_figure: the name of the figure to begin with. not_run: runs that were
    asked for and are missing; failed: those that failed.
    """

    facts: Sequence[tuple[str, str]]
    cards: Sequence[Card]
    findings: Sequence[tuple[Experiment, Finding]]
    figures: Collection[str]
    tables: Collection[str]
    main_figure: str | None
    not_run: int
    failed: int


def verdict_rows(judgements: Sequence[Judgement]) -> list[dict[str, str]]:
    """A row a claim."""
    return [
        {"claim": each.claim, "source": each.source, "verdict": each.verdict} for each in judgements
    ]


def as_markdown(evidence: Evidence, judgements: Sequence[Judgement], around: Surroundings) -> str:
    """The page."""
    shown: dict[str, str] = {}
    sections = [
        _top(evidence, around),
        _setting(evidence, around),
        _headline(evidence, judgements, around),
        _overview(judgements),
        _section("How the verdicts are made", _rules(evidence, judgements)),
        "## The claims one by one",
        *(_claim(number, each, around, shown) for number, each in enumerate(judgements, 1)),
        _others([each for each in around.findings if each[0].name not in COVERED], around, shown),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _top(evidence: Evidence, around: Surroundings) -> str:
    if "comparisons" in around.tables:
        told = (
            "Every comparison names the trials that it rests on; [all comparisons]"
            "(tables/comparisons.csv) and [all trials](tables/trials.csv) are in the tables."
        )
    else:
        told = "They test hardly a claim. [All trials](tables/trials.csv) are in the tables."
    return "\n\n".join(
        [
            f"# Soft labels on {escaped(evidence.results.dataset_name)}: the claims of both "
            "papers, one by one",
            f"The paper is {PAPER}; the reproduction, {REPRODUCTION}. What they claim is held "
            "against the runs of this report: numbers with intervals, a verdict, and why. " + told,
        ]
    )


def _setting(evidence: Evidence, around: Surroundings) -> str:
    published = evidence.published.student_epochs if evidence.published else None
    of = lengths(evidence)
    lines = [f"- **{term}**: {escaped(text)}" for term, text in around.facts]
    more = {
        "Experts": experts_in_words(evidence),
        "Student length": " ".join(
            filter(None, [f"{lengths_in_words(of)}." if of else "", steps_in_words(of, published)])
        ),
    }
    lines += [f"- **{term}**: {escaped(text)}" for term, text in more.items() if text]
    lacking = [
        f"{count} {'run' if count == 1 else 'runs'} {what}"
        for count, what in (
            (around.not_run, "asked for and not there yet"),
            (around.failed, "failed"),
        )
        if count
    ]
    if lacking:
        told = " and ".join(lacking)
        lines.append(f"- **Missing**: {told}; listed in [problems.csv](tables/problems.csv).")
    return _section("What was run", lines)


def _headline(evidence: Evidence, judgements: Sequence[Judgement], around: Surroundings) -> str:
    lines = [
        f"- **{escaped(card.number)}** {escaped(card.what)}. {escaped(_sentence(card.note))}"
        for card in around.cards
    ]
    counts: dict[str, int] = {}
    for each in judgements:
        counts[each.verdict] = counts.get(each.verdict, 0) + 1
    told = ", ".join(f"{number} {name}" for name, number in counts.items())
    lines.append(f"- **Of {len(judgements)} claims**: {told}.")
    if any(card.anchor == "worth" for card in around.cards):
        lines += ["", escaped(worth_caveat(lengths(evidence)))]
    if around.main_figure is not None:
        over_epoch = around.main_figure.startswith("accuracy_over_expert_epoch")
        caption = OVER_EPOCH if over_epoch else OVER_IPC
        lines += ["", *_picture(around.main_figure, "Accuracy of the students"), "", caption]
    return _section("In short", lines)


def _sentence(note: str) -> str:
    text = note[:1].upper() + note[1:]
    return text if text.endswith(".") else text + "."


def _rules(evidence: Evidence, judgements: Sequence[Judgement]) -> list[str]:
    said = [escaped(caveat(evidence.results)), *RULES, _bootstrapped(judgements)]
    return [f"- {rule}" for rule in said if rule]


def _bootstrapped(judgements: Sequence[Judgement]) -> str:
    """How many comparisons hold without the pooling, too."""
    every = [one for each in judgements for one in each.comparisons if one.bootstrap is not None]
    sure = [each for each in every if each.outcome != "open"]
    if not sure:
        return ""
    agree = sum(each.outcome_by_bootstrap == each.outcome for each in sure)
    return (
        "As a check, comparisons.csv has a bootstrap interval beside each difference of two cells: "
        "paired by the same seeds and subsets, from these two cells alone, without the pooling. Of "
        f"{len(sure)} of these that are sure at 95 % {agree} are so by it, too."
    )


def _overview(judgements: Sequence[Judgement]) -> str:
    lines = ["| | claim | source | verdict |", "|--:|:--|:--|:--|"]
    lines += [
        f"| {number} | [{escaped(each.claim)}](#{each.key}) | {escaped(each.source)} | "
        f"**{each.verdict}** |"
        for number, each in enumerate(judgements, 1)
    ]
    return _section("The claims", lines)


def _claim(number: int, each: Judgement, around: Surroundings, shown: dict[str, str]) -> str:
    statement = each.statement
    verdict = f"**{each.verdict[0].upper()}{each.verdict[1:]}.** {escaped(because(each))}"
    published = (
        escaped(each.published) if each.published else "no numbers on this dataset are at hand"
    )
    parts = [
        f'<a id="{each.key}"></a>\n\n### {number}. {escaped(each.claim)}',
        f"*{_sentence(escaped(each.source))}* {escaped(statement.stated)}",
        f"Published: {published}.",
        verdict + "".join(f" {escaped(text)}" for text in (few_seeds(each), missing(each)) if text),
    ]
    lines = [f"- {escaped(c.in_words())}: **{OUTCOMES[c.outcome]}**" for c in each.comparisons]
    lines += [f"- {escaped(text)}" for text in each.numbers]
    if lines:
        parts.append("\n".join(lines))
    parts += _figures(statement.figures, each.key, each.claim, around, shown)
    links = [
        f"[{name}.csv](tables/{name}.csv)" for name in statement.tables if name in around.tables
    ]
    if links:
        parts.append(f"Tables: {', '.join(links)}.")
    if each.comparisons:
        parts.append(_trials(each.comparisons))
    return "\n\n".join(parts)


def _figures(
    names: Sequence[str], key: str, caption: str, around: Surroundings, shown: dict[str, str]
) -> list[str]:
    """The first of these figures that exists; where it was shown already, the way there."""
    stems = (stem for name in names for stem in (name, f"{name}_1"))  # _1: of several panels
    name = next((stem for stem in stems if stem in around.figures), None)
    if name is None:
        return []
    if name in shown:
        return [f"Its figure is [above](#{shown[name]})."]
    shown[name] = key
    return _picture(name, caption)


def _picture(name: str, caption: str) -> list[str]:
    return [f"![{escaped(caption)}](figures/{name}.svg)"]


def _trials(comparisons: Sequence[Comparison]) -> str:
    """The ids of both sides of every comparison, folded away."""
    lines = [
        f"- {escaped(each.what)}: {_ids(each.own)}; less {_ids(each.other)}" for each in comparisons
    ]
    return "\n".join(
        ["<details><summary>What each comparison rests on</summary>", "", *lines, "", "</details>"]
    )


def _ids(side: Side) -> str:
    return f"{side.of} {' '.join(f'`{each}`' for each in side.ids)}".rstrip()


def _others(
    findings: Sequence[tuple[Experiment, Finding]], around: Surroundings, shown: dict[str, str]
) -> str:
    """Questions that are no claim of the papers, or open ones of theirs."""
    parts = []
    for experiment, finding in findings:
        parts.append(f"### {escaped(experiment.title)}")
        said = " ".join(finding.sentences)
        parts.append(f"*{escaped(experiment.question)}* {escaped(said)}")
        names = [picture.name for picture in finding.pictures]
        parts += _figures(names, "other-questions", experiment.title, around, shown)
        tables = [table.name for table in finding.tables if table.name in around.tables]
        if tables:
            links = ", ".join(f"[{name}.csv](tables/{name}.csv)" for name in tables)
            parts.append(f"Tables: {links}.")
    if not parts:
        return ""
    top = '<a id="other-questions"></a>\n\n## What else these runs say'
    return "\n\n".join([top, *parts])


def _section(heading: str, lines: Sequence[str]) -> str:
    return "\n".join([f"## {heading}", "", *lines])
