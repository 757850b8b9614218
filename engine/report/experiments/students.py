"""Other students: CutMix instead of DSA, other architectures, optimisers and lengths.

Both ask the same of another setting: the same labels and images, with a student that differs from
the main one of its IPC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from engine.analysis.trials import Value
from engine.report import numbers
from engine.report.experiments.comparison import compared
from engine.report.experiments.conditions import Condition, Key, is_student_axis
from engine.report.experiments.dots import draw_dots
from engine.report.experiments.evidence import Evidence
from engine.report.experiments.finding import Experiment, Finding, Picture, cells_of
from engine.report.experiments.learning_rate import AXES as RATES
from engine.report.experiments.series import (
    Series,
    Variant,
    everything_of,
    measured_only,
    series_of,
)
from engine.report.experiments.words import at, change, taught_by, telling, uncompared

AUGMENTATION = "student.augmentation"
MAIN = "the main student"


def find_augmentations(evidence: Evidence) -> Finding | None:
    mixed = [each for each in _deviating(evidence) if AUGMENTATION in evidence.deviates(each)]
    return _find(
        evidence,
        mixed,
        lambda each: _with_usual_augmentation(evidence, each),
        _named_by_augmentation,
        name="cutmix",
        title="Other augmentations",
        heading="augmentation",
        baseline="the usual augmentation",
        axes=[AUGMENTATION],
    )


def find_students(evidence: Evidence) -> Finding | None:
    others = [
        each
        for each in _deviating(evidence)
        if not (differs := evidence.deviates(each)) <= {*RATES} and AUGMENTATION not in differs
    ]
    return _find(
        evidence,
        others,
        evidence.with_main_student,
        lambda conditions: _named_by_deviation(evidence, conditions),
        name="students",
        title="Other students",
        heading="student",
        baseline=MAIN,
        axes=sorted({axis for each in others for axis in each.axes if is_student_axis(axis)}),
    )


def _with_usual_augmentation(evidence: Evidence, condition: Condition) -> Condition | None:
    """The same student, whatever else is particular to it, augmented as the main one is."""
    main = dict(evidence.main_students.get(condition.ipc, ()))
    return evidence.with_axis(condition, AUGMENTATION, main.get(AUGMENTATION))


CUTMIX = Experiment(
    name="cutmix",
    title="Augmentation of the students",
    question="Do soft labels gain from images mixed as in the papers’ baseline?",
    source="paper, Table 1 (CutMix rows)",
    find=find_augmentations,
)

STUDENTS = Experiment(
    name="students",
    title="Students of other kinds",
    question="Does what holds for one student hold for other architectures, optimisers, lengths?",
    source="open question 3 of the paper",
    find=find_students,
)


def _deviating(evidence: Evidence) -> list[Condition]:
    return [
        each for each in evidence.conditions if evidence.is_plain(each) if evidence.deviates(each)
    ]


def _find(
    evidence: Evidence,
    deviating: Sequence[Condition],
    base_of: Callable[[Condition], Condition | None],
    texts_of: Callable[[Sequence[Condition]], Mapping[Key, str]],
    *,
    name: str,
    title: str,
    heading: str,
    baseline: str,
    axes: Sequence[str],
) -> Finding | None:
    if not deviating:
        return None
    bases = {base.key for base in map(base_of, deviating) if base is not None}
    wanted = {each.key for each in deviating} | bases
    conditions = [each for each in evidence.conditions if each.key in wanted]
    texts = texts_of(conditions)
    variants = [
        Variant(
            value=(each.key not in bases, texts[each.key], each.labels == "hard"),
            text=texts[each.key] + (", hard labels" if each.labels == "hard" else ""),
            condition=each,
            soft=None if each.key in bases else base_of(each),
            hard=evidence.hard_of(each) if each.labels == "soft" else None,
        )
        for each in conditions
    ]
    series = series_of(variants, varied=axes)
    drawn = series_of(measured_only(variants), varied=axes)
    others = [each for each in drawn if any(v.condition.key not in bases for v in each.variants)]
    soft = [each for each in others if each.epoch is not None]
    return Finding(
        sentences=tuple(_sentences(soft or others, evidence, baseline))
        or ("No such run is finished.",),
        tables=(
            compared(
                evidence,
                name,
                title,
                series,
                heading=heading,
                baselines=False,
                soft_name=baseline,
            ),
        ),
        pictures=(
            Picture(
                name=name,
                caption="Every student with its 95 % interval; dashed: " + baseline + ".",
                draw=lambda: draw_dots(
                    f"{evidence.results.dataset_name}: {title.lower()}",
                    soft,
                    evidence.of,
                    xlabel=f"{evidence.of[1]} accuracy (%)",
                    baseline=baseline,
                ),
            ),
        )
        if soft
        else (),
        shown=tuple(deviating),
        cells=cells_of(everything_of(series)),
    )


def _named_by_augmentation(conditions: Sequence[Condition]) -> dict[Key, str]:
    return {each.key: str(each.axes.get(AUGMENTATION) or "as usual") for each in conditions}


def _named_by_deviation(evidence: Evidence, conditions: Sequence[Condition]) -> dict[Key, str]:
    """What each student is called: the settings in which it differs from the main one of its IPC.

    What follows from other settings, or changes little, is named only where nothing else tells
    the students of an IPC apart.
    """
    deviating = {each.key: evidence.deviates(each) for each in conditions}
    short = {each.key: _described(each, _telling(deviating[each.key])) for each in conditions}
    called = {(each.ipc, each.student, short[each.key]) for each in conditions}
    if len({(ipc, text) for ipc, _, text in called}) == len(called):
        return short
    return {each.key: _described(each, deviating[each.key]) for each in conditions}


def _telling(names: set[str]) -> set[str]:
    minor = {"student.evaluations", "student.precision"}
    if "student.epochs" in names:
        minor |= {"student.schedule.every", "student.schedule.horizon"}
    return names - minor or names


def _described(condition: Condition, names: set[str]) -> str:
    if not names:
        return MAIN
    # Of a setting that another kind of student alone has, the kind says enough.
    own = {name for name in names if condition.axes.get(name) is not None} or names
    ordered = sorted(own, key=lambda name: (name not in _KINDS, name))
    return ", ".join(_setting(name, condition.axes.get(name)) for name in ordered)


_KINDS = ("student.model", AUGMENTATION, "student.optimiser.kind")
"""Settings whose value says what they are."""


def _setting(name: str, value: Value) -> str:
    if name in _KINDS and value is not None:
        return numbers.setting_value(value)
    return numbers.setting(name.removeprefix("student."), value)


def _sentences(series: Sequence[Series], evidence: Evidence, baseline: str) -> list[str]:
    sentences = []
    comparable = [s for s in series if any(v.soft for v in s.variants)]
    ipcs = {each.ipc for each in comparable}
    for each in telling([*comparable, *(s for s in series if s.ipc not in ipcs)]):
        others = [v for v in each.variants if v.soft is not None]
        if not others:
            lacking = f"run of {baseline} {taught_by(each)}"
            named = [(v.text, v.condition) for v in each.variants]
            sentences.append(uncompared(at(each, series), lacking, named, evidence.of))
            continue
        told = [f"{v.text} {change(v.minus(v.soft, evidence.of))}" for v in others[:3]]
        more = f" ({len(others) - 3} further ones are in the table)" if len(others) > 3 else ""
        sentences.append(f"{at(each, series)}, against {baseline}: {'; '.join(told)}{more}.")
    return sentences
