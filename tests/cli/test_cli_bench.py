"""bench lists its suites, refuses unknown ones, and prints figures as a table."""

import json
from collections.abc import Callable

import pytest

import benchmarks

FIGURE = {"name": "resident_cifar", "value": 9000.0, "unit": "images/s", "peer": None, "limit": 2e4}


@pytest.fixture(autouse=True)
def _one_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(benchmarks), "SUITES", {"load": None, "build": None})


def test_without_a_suite_it_names_them(engine: Callable) -> None:
    assert json.loads(engine("bench", "--json").stdout)["suites"] == ["load", "build"]


def test_an_unknown_suite_is_refused_with_the_known(engine: Callable) -> None:
    outcome = engine("bench", "lod")
    assert outcome.code == 2
    assert "no suite 'lod'; known: load, build" in outcome.stderr


def test_figures_are_a_table(engine: Callable, returning: Callable) -> None:
    returning(benchmarks, "run_suite", {"suite": "load", "figures": [FIGURE]})
    header, row = engine("bench", "load").stdout.splitlines()[1:3]
    assert header.split() == ["name", "value", "unit", "peer", "limit"]
    assert row.split() == ["resident_cifar", "9000", "images/s", "–", "2e+04"]


def test_dry_run_measures_nothing(engine: Callable, returning: Callable) -> None:
    calls = returning(benchmarks, "run_suite", {})
    outcome = engine("bench", "load", "--dry-run")
    assert (outcome.code, calls) == (0, [])
