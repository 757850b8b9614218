"""How a number is written: one place decides on decimals, signs and what an absence looks like.

Accuracies come in as fractions 0..1 and are shown in percent, differences in percentage points,
both to one decimal as in the paper; the tooltip has two, the CSV all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.analysis.statistics import NO_WIDTH, Difference, Summary
from engine.analysis.trials import MEASURES, Value

NOT_MEASURED = "—"
NOT_RUN = "not run"
NOT_ASKED = "·"
FAILED = "failed"
NO_SCATTER = "n/a, no scatter"
"""In place of an interval without width: equal runs say nothing of chance, so it is not known."""

MEASURE_NAMES: Mapping[str, str] = dict(
    zip(
        MEASURES,
        ("final epoch", "selected on validation", "max on test (the papers’ optimistic measure)"),
        strict=True,
    )
)


def percent(fraction: float | None, decimals: int = 1) -> str:
    """0.158 → "15.8"."""
    return NOT_MEASURED if fraction is None else signless(100 * fraction, decimals)


def accuracy(summary: Summary | None) -> str:
    """Mean ± population standard deviation in percent: "15.8 ± 0.2", or "15.8" for one run."""
    if summary is None:
        return NOT_MEASURED
    if summary.std is None:
        return percent(summary.mean)
    return f"{percent(summary.mean)} ± {percent(summary.std)}"


def accuracy_in_full(summary: Summary) -> str:
    """The tooltip of an accuracy: two decimals, n and the 95 % interval."""
    text = f"mean {percent(summary.mean, 2)} %"
    if summary.std is not None:
        text += f", std {percent(summary.std, 2)}"
    if summary.std_within is not None and summary.std_between is not None:
        text += f" ({percent(summary.std_within, 2)} within subsets, "
        text += f"{percent(summary.std_between, 2)} between {summary.units})"
    text += f", n = {summary.n}"
    ends = interval_of(summary)
    if is_without_scatter(summary):
        text += f", 95 % CI {NO_SCATTER}"
    elif ends is not None:
        text += f", 95 % CI {percent(ends[0], 2)} to {percent(ends[1], 2)}"
        if summary.units != summary.n:
            text += f" from {summary.units} subsets"
    return text


def gain(found: Difference | None) -> str:
    """A difference in percentage points, signed: "+10.5"."""
    return NOT_MEASURED if found is None else signed(100 * found.mean)


def gain_with_interval(found: Difference) -> str:
    """A difference with its 95 % interval, in points: "+10.5 (9.8 to 11.2)"."""
    if is_without_scatter(found):
        return f"{gain(found)} ({NO_SCATTER})"
    ends = interval_of(found)
    return gain(found) + (f" ({signed(100 * ends[0])} to {signed(100 * ends[1])})" if ends else "")


def gain_in_full(found: Difference) -> str:
    """The tooltip of a difference: two decimals, the interval and whether runs were paired."""
    text = f"{signed(100 * found.mean, 2)} percentage points"
    ends = interval_of(found)
    if is_without_scatter(found):
        text += f", 95 % CI {NO_SCATTER}"
    elif ends is not None:
        text += f", 95 % CI {signed(100 * ends[0], 2)} to {signed(100 * ends[1], 2)}"
    pairs = "1 pair" if found.n == 1 else f"{found.n} pairs"
    return text + (f", {pairs} of equal seeds" if found.paired else ", no shared seeds")


def interval_of(found: Summary | Difference | None) -> tuple[float, float] | None:
    """The ends of an interval that says something: there is one, and it has a width."""
    return None if found is None else ends_of(found.ci_low, found.ci_high)


def is_without_scatter(found: Summary | Difference) -> bool:
    """Whether several runs agree to the last digit, which leaves their interval no width."""
    return has_no_width(found.ci_low, found.ci_high)


def ends_of(low: float | None, high: float | None) -> tuple[float, float] | None:
    """Both ends of an interval that is known and has a width; None of any other."""
    if low is None or high is None or has_no_width(low, high):
        return None
    return low, high


def has_no_width(low: float | None, high: float | None) -> bool:
    """Whether both ends are known and the same."""
    return low is not None and high is not None and high - low < NO_WIDTH


def interval_in_words(low: float | None, high: float | None) -> str:
    """The interval of an accuracy in percent: "14.1–14.9", or why there is none."""
    if has_no_width(low, high):
        return NO_SCATTER
    ends = ends_of(low, high)
    return NOT_MEASURED if ends is None else f"{percent(ends[0])}–{percent(ends[1])}"


def signless(value: float, decimals: int = 1) -> str:
    """A plain decimal with a typographic minus and without a negative zero."""
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def signed(value: float, decimals: int = 1) -> str:
    """A decimal that shows its sign, except for zero."""
    text = signless(value, decimals)
    return text if text.startswith("−") or float(text) == 0 else f"+{text}"


def setting(name: str, value: Value) -> str:
    """One setting in words: ("student.epochs", 3000) → "student epochs 3000"."""
    return f"{setting_name(name)} {setting_value(value)}"


def setting_name(name: str) -> str:
    """ "student.batch_size" → "student batch size"."""
    return name.replace(".", " ").replace("_", " ")


def setting_value(value: Value) -> str:
    """Numbers in their shortest form, null as "none"."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def settings(axes: Mapping[str, Value]) -> str:
    """Several settings in words, in their own order: "lr 0.01, temperature 2"."""
    return ", ".join(setting(name, value) for name, value in axes.items())


def listed(words: Sequence[str]) -> str:
    """ "1, 10 and 50"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def duration(seconds: float) -> str:
    """ "2 h 05 min", "3 min 10 s" or "12 s"."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
