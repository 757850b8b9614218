"""How the numbers of a report were made, as far as the trials record it."""

from __future__ import annotations

from report_synthetic_sweep import trial, write_sweep

from engine.report.facts import facts
from engine.report.sweeps import read_sweeps


def test_cores_are_told_of_records_that_counted_those_of_the_machine(tmp_path):
    old = trial(1, 13, 0.1, environment={"machine": "AMD EPYC, 1 cores", "threads": 1})
    new = {"machine": "AMD EPYC, 2 cores", "threads": 1, "engine": "0.1.0"}
    sweep = write_sweep(tmp_path / "s", [old, trial(1, 13, 0.1, seed=1, environment=new)])
    found = dict(facts(read_sweeps(sweep), [], {}))
    assert found["Hardware"] == (
        "AMD EPYC, 1 thread (1 trials); AMD EPYC, 2 cores, 1 thread (1 trials)"
    )
