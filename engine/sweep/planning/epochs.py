"""How a grid names expert epochs: `13`, `4-10`, `0-40:4`, `all`, `best`, lists of them.

Parsing knows no label store; choosing among the epochs of one comes after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from engine.errors import UsageError
from engine.number_ranges import parse_range

BEST, BEST_ON_TEST = "best", "best-on-test"
CHOSEN_BY = {BEST: "validation_accuracy", BEST_ON_TEST: "test_accuracy"}
"""Words for one epoch: what a label store notes of every epoch that it is greatest in."""

WORDS = ("all", *CHOSEN_BY)


def parse_epochs(given: Any) -> list[int | str]:
    """Epochs as typed, alone or in a list, with commas or without, to a list of canonical parts.

    Returns numbers, ranges ``first-last`` or ``first-last:step`` (both ends included) and the words
    ``all``, ``best`` and ``best-on-test``, in the order typed.

    Raises:
        ValueError: a part is none of these, a range runs backwards, or a part is there twice.
    """
    typed = given if isinstance(given, list | tuple) else [given]
    parts: list[int | str] = []
    for each in typed:
        pieces = each.split(",") if isinstance(each, str) else [each]
        parts.extend(_parse_part(piece) for piece in pieces)
    if len(set(parts)) != len(parts):
        raise ValueError("the same value twice")
    return parts


EpochList = Annotated[list[int | str], BeforeValidator(parse_epochs), Field(min_length=1)]


def _parse_part(piece: Any) -> int | str:
    text = str(piece).strip()
    if text in WORDS:
        return text
    numbers = parse_range(text)
    if isinstance(piece, bool) or not isinstance(piece, int | str) or numbers is None:
        raise ValueError(
            f"{piece!r} names no expert epochs; write 13, 4-10, 0-40:4, all, best or a list of them"
        )
    if "-" not in text:
        return numbers.start
    step = f":{numbers.step}" if numbers.step > 1 else ""
    return f"{numbers.start}-{numbers.stop - 1}{step}"


def is_epochs(text: str) -> bool:
    """Whether a text names epochs (and not, say, an expert)."""
    return text in WORDS or parse_range(text) is not None


def choose_epochs(
    parts: Sequence[int | str],
    there: Sequence[int],
    *,
    best: Callable[[str], int],
    dump_command: Callable[[list[int]], str],
) -> list[int]:
    """The epochs that ``parts`` mean among those that are ``there``: ascending, each once.

    Args:
        parts: as :func:`parse_epochs` returns them.
        there: complete epochs of the labels.
        best: the epoch that a word of ``CHOSEN_BY`` stands for; called only if it is asked for.
        dump_command: the command that writes missing epochs, for the error.

    Raises:
        UsageError: an epoch is not there, or none is.
    """
    wanted: set[int] = set()
    for part in parts:
        if part == "all":
            wanted.update(there)
        elif part in CHOSEN_BY:
            wanted.add(best(str(part)))
        else:
            wanted.update(_numbers(part))
    missing = sorted(wanted - set(there))
    if missing or not wanted:
        many = len(missing) > 1
        which = f"{'s' * many} {', '.join(map(str, missing))} {'are' if many else 'is'}"
        raise UsageError(
            f"expert epoch{which} not in the label store (it has "
            f"{', '.join(map(str, there)) or 'none'}): write {'them' if many else 'it'} with "
            f"`{dump_command(missing)}`"
            if missing
            else "the label store has no complete epoch: write all with "
            f"`{re.sub(' --epochs .*', ' --all-epochs', dump_command([0]))}`"
        )
    return sorted(wanted)


def named_epochs(parts: Sequence[int | str]) -> list[int]:
    """The epochs that numbers and ranges name, whether anybody has them or not: ascending.

    Raises:
        UsageError: one of ``WORDS`` is among them, which only a label store can tell.
    """
    for word in WORDS:
        if word in parts:
            raise UsageError(
                f"expert_epochs: {word} depends on the label store: pass --labels STORE, or name "
                "the epochs, such as --expert-epochs 4,13"
            )
    return sorted({epoch for part in parts for epoch in _numbers(part)})


def _numbers(part: int | str) -> range:
    numbers = parse_range(str(part))
    assert numbers is not None
    return numbers
