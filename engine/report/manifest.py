"""What a report is: its id and its manifest, from the dataset and trials that it is made of."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from engine.records import content_id
from engine.report.gathered import Gathered
from engine.report.sweeps import Results

FORMAT = 2
"""Version of the layout of a report's folder."""


def identity_of(gathered: Gathered) -> str:
    """Hash of what the report is about: its dataset and trials, not where they lie."""
    results, others = gathered.results, _others(gathered)
    return content_id(
        {
            "kind": "report",
            "format": FORMAT,
            "dataset": results.dataset_id,
            "trials": sorted(_trial_ids(results)),
            **({"others": others} if others else {}),
        }
    )


def _trial_ids(results: Results) -> list[str]:
    return [trial.id for trial in results.trials]


def _others(gathered: Gathered) -> list[list[Any]]:
    """Ids and extent of what a report is made from besides trials."""
    evidence = gathered.evidence
    found: list[list[Any]] = [[each.id, sorted(each.seeds)] for each in evidence.evaluated]
    return sorted(found + [[each.id, each.step] for each in evidence.learned], key=repr)


def manifest_of(gathered: Gathered, identity: str) -> dict[str, Any]:
    results, others = gathered.results, _others(gathered)
    try:
        own = version("softlabel-engine")
    except PackageNotFoundError:
        own = "not installed"
    return {
        "kind": "report",
        "id": identity,
        "format": FORMAT,
        "parents": {
            "dataset": results.dataset_id,
            "sweeps": list(results.sweeps),
            "trials": sorted(_trial_ids(results)),
            **({"others": [each[0] for each in others]} if others else {}),
        },
        "versions": {
            "softlabel-engine": own,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "matplotlib", "jinja2")},
        },
    }
