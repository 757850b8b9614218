"""How a grid names expert epochs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.sweep.planning.epochs import choose_epochs, parse_epochs

STORED = list(range(0, 61))

numbers = st.integers(0, 60)
ranges = st.tuples(numbers, numbers, st.integers(1, 9)).map(lambda r: (*sorted(r[:2]), r[2]))


def spelt(part: int | tuple[int, int, int]) -> str:
    if isinstance(part, int):
        return str(part)
    first, last, step = part
    return f"{first}-{last}" + (f":{step}" if step > 1 else "")


BEST = {"best": 13, "best-on-test": 15}


def chosen(given_epochs: object, there: list[int] = STORED) -> list[int]:
    return choose_epochs(
        parse_epochs(given_epochs),
        there,
        best=BEST.__getitem__,
        dump_command=lambda epochs: f"engine dump-labels --epochs {','.join(map(str, epochs))}",
    )


@given(st.lists(st.one_of(numbers, ranges), min_size=1, max_size=6, unique_by=spelt))
def test_numbers_and_ranges_mean_what_python_means(parts) -> None:
    expected = set()
    for part in parts:
        is_range = isinstance(part, tuple)
        expected |= set(range(part[0], part[1] + 1, part[2])) if is_range else {part}
    assert chosen([spelt(part) for part in parts]) == sorted(expected)
    assert chosen(",".join(map(spelt, parts))) == sorted(expected)


def test_all_is_what_the_store_has_and_best_is_the_experts_best() -> None:
    assert chosen("all", there=[3, 5]) == [3, 5]
    assert chosen(["best", 4]) == [4, 13]
    assert chosen("best-on-test") == [15]
    assert chosen("0-40:20, best") == [0, 13, 20, 40]


@pytest.mark.parametrize(
    ("given_epochs", "message"),
    [
        ("9-4", "runs backwards; write 4-9"),
        ("4-9:0", "never moves"),
        ("latest", "'latest' names no expert epochs"),
        ([1.5], "names no expert epochs"),
        ([True], "names no expert epochs"),
        ([-1], "names no expert epochs"),
        ("", "names no expert epochs"),
        ("3,3", "same value twice"),
        ("0-999999999", "more than 100,000 numbers"),
    ],
)
def test_what_names_no_epochs_is_refused(given_epochs: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_epochs(given_epochs)


def test_missing_epochs_are_named_with_the_command_that_writes_them() -> None:
    with pytest.raises(UsageError, match=r"epochs 6, 7 are not .*it has 4, 5\).*--epochs 6,7"):
        chosen("4-7", there=[4, 5])
    with pytest.raises(UsageError, match=r"epoch 6 is not .*it has none\).*write it with"):
        chosen([6], there=[])
    with pytest.raises(UsageError, match=r"no complete epoch.*--all-epochs"):
        chosen("all", there=[])
    imported = "engine import-labels --source FILE --epoch 0"
    with pytest.raises(UsageError, match=f"no complete epoch.*`{imported}`$"):
        choose_epochs(["all"], [], best=BEST.__getitem__, dump_command=lambda _: imported)
