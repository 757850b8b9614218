"""A budget of time, as a person types it."""

from __future__ import annotations

import re

from engine.errors import UsageError

_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,6})?"
_PATTERN = re.compile("".join(rf"(?:({_NUMBER}){unit})?" for unit in _UNITS))


def parse_budget(text: str) -> float:
    """Seconds of a text such as ``2h``, ``90m``, ``1h30m``, ``45s`` or ``1.5d``.

    Raises:
        UsageError: it is none, or no time at all.
    """
    match = _PATTERN.fullmatch("".join(text.lower().split()))
    amounts = match.groups() if match else ()
    seconds = sum(
        float(amount) * unit
        for amount, unit in zip(amounts, _UNITS.values(), strict=False)
        if amount is not None
    )
    if seconds <= 0:
        raise UsageError(
            f"expected a budget of time such as 2h, 90m, 1h30m or 45s, found {text!r}: "
            "days d, hours h, minutes m and seconds s, largest first"
        )
    return seconds
