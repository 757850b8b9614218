"""Throughput benchmarks against peers and against the machine's own limits: `engine bench`.

In: the name of a suite. Out: one plain dict, ``{"suite", "machine", "figures": [row, …]}``, with
rows as in :func:`benchmarks.suite.figure`. A suite is a module here with
``figures(*, progress, quick) -> list[dict]``, imported only when it is run.
"""

from __future__ import annotations

from typing import Any

from benchmarks.suite import SUITES, Progress

__all__ = ["SUITES", "run_suite"]


def run_suite(
    name: str, *, progress: Progress | None = None, quick: bool = False
) -> dict[str, Any]:
    """Run one suite and return its figures.

    ``progress``: called as (stage, done, total). ``quick``: tiny inputs and one round, to see that
    everything works; such figures mean nothing, and the result says ``"quick": true``.
    Raises UnknownSuite, DataMissing, PeerMissing (each with exit code 2).
    """
    from benchmarks.suite import run

    return run(name, progress=progress, quick=quick)
