"""The commands that question a sweep: their options, their text, their exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import engine as engine_room

CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "results by default": (
        "query_results",
        "results s",
        {"sweep": Path("s"), "sql": None, "where": None, "out": None},
    ),
    "results in full": (
        "query_results",
        "results s --sql q --where w --out f.csv",
        {"sweep": Path("s"), "sql": "q", "where": "w", "out": Path("f.csv")},
    ),
    "status": ("sweep_status", "status s", {"path": Path("s")}),
    "why": (
        "explain_trial",
        "why s 3f",
        {"sweep": Path("s"), "trial": "3f", "data": None, "labels": None},
    ),
    "why a file": (
        "explain_trial",
        "why s/3f.json --data d --labels l",
        {"sweep": Path("s/3f.json"), "trial": None, "data": Path("d"), "labels": Path("l")},
    ),
    "diff": ("diff_trials", "diff s 3f 4e", {"sweep": Path("s"), "a": "3f", "b": "4e"}),
    "diff of files": ("diff_trials", "diff a b", {"sweep": None, "a": "a", "b": "b"}),
}


@pytest.mark.parametrize("case", CASES)
def test_options_reach_the_function(engine: Callable, returning: Callable, case: str) -> None:
    name, line, expected = CASES[case]
    calls = returning(engine_room, name, {"answer": 42})
    outcome = engine(*line.split(), "--json")
    assert (outcome.code, json.loads(outcome.stdout)) == (0, {"answer": 42})
    assert calls == [expected]


@pytest.mark.parametrize("line", ["diff a", "diff a b c d"])
def test_a_wrong_number_of_trials_is_a_usage_error(engine: Callable, line: str) -> None:
    outcome = engine(*line.split())
    assert outcome.code == 2
    assert "SWEEP A B" in outcome.stderr


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    from engine.records import write_record
    from engine.sweep.ledger import Ledger

    head = {"kind": "sweep", "dataset": {"id": "d0", "name": "tiny"}, "experts": []}
    write_record(tmp_path / "sweep" / "sweep.json", head)
    for number in range(2):
        at = {"epoch": 1, "test": 0.25 + number / 2, "validation": None}
        failed = {"status": "failed", "error": "Traceback\nTrainingDiverged: nan"}
        done = {"status": "done", "result": {"final": at, "selected": None, "max_on_test": at}}
        Ledger(tmp_path / "sweep").write(
            {
                "kind": "trial",
                "id": f"{number}f" * 8,
                "cell": {"ipc": 1, "labels": "hard", "expert": None, "expert_epoch": None},
                "seeds": dict.fromkeys(("subset_seed", "init_seed"), number),
                "student": {"epochs": 1},
                "parents": {"dataset": "d0"},
                **(failed if number else done),
            }
        )
    return tmp_path / "sweep"


def test_results_show_each_cell_and_what_failed(engine: Callable, sweep: Path) -> None:
    outcome = engine("results", sweep)
    assert outcome.code == 0
    header, cell, title, _, failure = outcome.stdout.splitlines()[:5]
    assert " ".join(header.split()) == "ipc labels expert epoch n final test max on test"
    assert cell.split() == ["1", "hard", "–", "1", "0.25", "0.25"]
    assert title == "failures:"
    assert failure.split() == ["TrainingDiverged:", "nan", "1", "1f" * 8]
    assert "trials failed  1" in outcome.stdout


def test_a_bad_question_ends_with_2_and_the_columns(engine: Callable, sweep: Path) -> None:
    outcome = engine("results", sweep, "--sql", "select ipcs from trials")
    assert outcome.code == 2
    assert "Columns of trials: id, status, ipc, labels" in outcome.stderr


def test_a_damaged_record_ends_with_1(engine: Callable, sweep: Path) -> None:
    file = next(sweep.glob("trials/0f/*.json"))
    file.write_bytes(file.read_bytes().replace(b"0.25", b"0.95", 1))
    for line in (["results", sweep], ["why", sweep, "0f"]):
        outcome = engine(*line)
        assert outcome.code == 1
        assert str(file) in outcome.stdout + outcome.stderr


def test_why_and_diff_answer_as_text(engine: Callable, sweep: Path) -> None:
    outcome = engine("why", sweep, "0")
    assert outcome.code == 0
    assert "command  " in outcome.stdout or "engine sweep-students --data DATA" in outcome.stdout
    outcome = engine("diff", sweep, "0", "1")
    assert outcome.code == 0
    assert "differ" in outcome.stdout.splitlines()[-1]
    assert engine("why", sweep, "7").code == 2
