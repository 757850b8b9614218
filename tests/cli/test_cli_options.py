"""Lists, `--set` and names are understood as typed, or refused in words."""

from collections.abc import Callable

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from cli.options import one_of, parse_numbers, parse_settings

NUMBER = st.integers(0, 5_000)
PIECE = st.one_of(
    NUMBER.map(lambda n: (str(n), [n])),
    st.tuples(NUMBER, st.integers(0, 30)).map(
        lambda pair: (f"{pair[0]}-{pair[0] + pair[1]}", list(range(pair[0], pair[0] + pair[1] + 1)))
    ),
    st.tuples(NUMBER, st.integers(0, 30), st.integers(1, 9)).map(
        lambda r: (f"{r[0]}-{r[0] + r[1]}:{r[2]}", list(range(r[0], r[0] + r[1] + 1, r[2])))
    ),
)


@given(st.lists(PIECE, min_size=1, max_size=8))
def test_numbers_and_ranges_mean_what_a_person_reads(pieces: list[tuple[str, list[int]]]) -> None:
    expected: list[int] = []
    for _, numbers in pieces:
        expected += [n for n in numbers if n not in expected]
    assert parse_numbers(", ".join(text for text, _ in pieces), "--x") == expected


@given(st.text(max_size=12))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        numbers = parse_numbers(text, "--x")
    except typer.BadParameter:
        return
    assert numbers
    assert all(n >= 0 for n in numbers)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no whole number"),
        ("1,,2", "no whole number"),
        ("1;2", "no whole number"),
        ("-1", "no whole number"),
        ("1.5", "no whole number"),
        ("five", "'five' is no whole number"),
        ("٣", "no whole number"),
        ("9-3", "write 3-9"),
        ("3-9:0", "never moves"),
        ("1-999999999", "more than 100,000"),
        ("1,0", "0 is too small; the smallest that makes sense is 1"),
    ],
)
def test_a_bad_list_names_option_and_cause(engine: Callable, text: str, complaint: str) -> None:
    outcome = engine("sweep-students", "--data", "d", "--out", "s", f"--ipc={text}")
    assert outcome.code == 2
    assert outcome.stdout == ""
    assert "--ipc" in outcome.stderr
    assert complaint in outcome.stderr


def test_settings_keep_everything_after_the_first_equals_sign() -> None:
    assert parse_settings(["a.b=c", "x= 1=2 ", "a.b=d"]) == {"a.b": "d", "x": "1=2"}
    assert parse_settings(None) == {}


@pytest.mark.parametrize("assignment", ["", "a", "=1", "a..b=1", ".=1", "a.=1"])
def test_a_setting_without_name_or_value_is_refused(engine: Callable, assignment: str) -> None:
    outcome = engine("train-expert", "--data", "d", "--out", "r", "--set", assignment)
    assert outcome.code == 2
    assert "--set" in outcome.stderr


def test_unknown_names_are_refused_with_the_known_and_the_nearest() -> None:
    with pytest.raises(typer.BadParameter, match=r"known: fail, skip\. Did you mean skip\?"):
        one_of("skp", ("fail", "skip"), "--on-error")


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("sweep-students --data d --out s --executor slurm", "known: local, ray"),
        ("build-beton --source s --out d --on-error ignore", "known: fail, skip"),
    ],
)
def test_executor_and_on_error_say_what_they_know(engine: Callable, line: str, known: str) -> None:
    outcome = engine(*line.split())
    assert outcome.code == 2
    assert known in outcome.stderr


def test_events_do_not_go_where_the_result_goes(engine: Callable) -> None:
    outcome = engine("sweep-students", "--data", "d", "--out", "s", "--events", "-")
    assert outcome.code == 2
    assert "stdout is for the result; name a file" in outcome.stderr


@pytest.mark.parametrize("epochs", ["", "--all-epochs --epochs 1"])
def test_dump_labels_wants_its_epochs_said_once(engine: Callable, epochs: str) -> None:
    outcome = engine(*f"dump-labels --data d --expert r --out l {epochs}".split())
    assert outcome.code == 2
    assert "either --all-epochs or --epochs" in outcome.stderr
