"""`engine doctor`: what it prints, how it ends, and that it keeps what isn't its business."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import engine as engine_room

Row = dict[str, Any]
FINE: Row = {"check": "torch", "status": "ok", "found": "torch 2.9.0", "next": None}
SLOW: Row = {
    "check": "open_files",
    "status": "warning",
    "found": "at most 256 a process",
    "next": "ulimit -n 4096",
}
BROKEN: Row = {
    "check": "python",
    "status": "problem",
    "found": "Python 3.9.1",
    "next": "ENGINE_PYTHON=/path/to/python3.11 scripts/setup",
}
SECRET = "tok-5up3r-s3cr3t"
LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
from cli.main import run
run()
"""


def answer(*rows: Row) -> dict[str, Any]:
    return {
        "checks": list(rows),
        "versions": {"python": "3.11.7", "ffcv": None},
        "warnings": [row["check"] for row in rows if row["status"] == "warning"],
        "problems": [row["check"] for row in rows if row["status"] == "problem"],
        "date": "2026-01-02 03:04 UTC",
        "seconds": 1.5,
        "message": "All that is required works.",
    }


@pytest.mark.parametrize(
    ("rows", "code"), [([FINE], 0), ([FINE, SLOW], 0), ([FINE, BROKEN], 2), ([SLOW, BROKEN], 2)]
)
def test_only_problems_end_it_with_2(
    engine: Callable, returning: Callable, rows: list[Row], code: int
) -> None:
    returning(engine_room, "check_environment", answer(*rows))
    assert engine("doctor").code == code
    assert engine("doctor", "--json").code == code


def test_options_reach_the_function(engine: Callable, returning: Callable) -> None:
    calls = returning(engine_room, "check_environment", answer(FINE))
    engine("doctor")
    engine("doctor", "--data", "d", "--labels", "l.zarr", "--out", "o")
    assert calls == [
        {"data": None, "labels": None, "out": None},
        {"data": Path("d"), "labels": Path("l.zarr"), "out": Path("o")},
    ]


def test_text_is_a_table_then_what_to_type_then_the_verdict(
    engine: Callable, returning: Callable
) -> None:
    returning(engine_room, "check_environment", answer(FINE, SLOW, BROKEN))
    outcome = engine("doctor")
    lines = [line.rstrip() for line in outcome.stdout.splitlines()]
    assert lines == [
        "check       status   found",
        "torch       ok       torch 2.9.0",
        "open files  warning  at most 256 a process",
        "python      problem  Python 3.9.1",
        "versions  python 3.11.7, ffcv none",
        "date      2026-01-02 03:04 UTC",
        "seconds   1.5 s",
        "- warning, open files: ulimit -n 4096",
        "- problem, python: ENGINE_PYTHON=/path/to/python3.11 scripts/setup",
        "All that is required works.",
    ]
    assert outcome.stderr == ""


def test_a_command_for_several_defects_is_given_once(engine: Callable, returning: Callable) -> None:
    returning(engine_room, "check_environment", answer(SLOW, SLOW | {"check": "more_files"}))
    lines = engine("doctor").stdout.splitlines()
    assert [line for line in lines if line.startswith("- ")] == [
        "- warning, open files, more files: ulimit -n 4096"
    ]


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from cli.main import run
run()
"""


def test_without_torch_every_check_still_has_its_row(fresh_python: Callable) -> None:
    process = fresh_python(WITHOUT_TORCH, "doctor", "--json")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 2, output + errors
    document = json.loads(output)
    assert document["problems"] == ["torch"]
    statuses = {row["check"]: row["status"] for row in document["checks"]}
    assert statuses["precision"] == "warning"
    assert statuses["shared_memory"] == "ok"
    assert "Traceback" not in output + errors


def test_json_is_the_functions_answer(engine: Callable, returning: Callable) -> None:
    returning(engine_room, "check_environment", answer(FINE, SLOW))
    assert json.loads(engine("doctor", "--json").stdout) == answer(FINE, SLOW)


def test_a_failure_of_the_command_itself_is_reported_as_any(
    engine: Callable, returning: Callable
) -> None:
    returning(engine_room, "check_environment", ValueError("no"))
    outcome = engine("doctor", "--json")
    assert (outcome.code, json.loads(outcome.stdout)["error"]["type"]) == (2, "ValueError")
    assert "Traceback" not in outcome.stderr
    assert engine("doctor", "--debug").stderr.startswith("Traceback")


def test_this_machine_walks_the_main_path_and_keeps_secrets(
    fresh_python: Callable, tmp_path: Path
) -> None:
    home = tmp_path / "home-of-alice"
    home.mkdir()
    secrets = {"AWS_SECRET_ACCESS_KEY": SECRET, "HF_TOKEN": SECRET, "WANDB_API_KEY": SECRET}
    environment = {**secrets, "HOME": str(home), "ENGINE_EAGER": "1", "OMP_NUM_THREADS": "1"}
    process = fresh_python(LIMITED, "doctor", "--json", **environment)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, output + errors
    document = json.loads(output)
    checks = {row["check"]: row for row in document["checks"]}
    assert set(document) == set(answer())
    assert all(set(row) == {"check", "status", "found", "next"} for row in document["checks"])
    assert all((row["status"] == "ok") == (row["next"] is None) for row in document["checks"])
    assert document["problems"] == []
    assert {"compiler", "open_files"} <= set(document["warnings"])
    assert checks["open_files"]["found"].startswith("at most 200 a process")
    assert checks["download_cache"]["found"].startswith("~/.cache/softlabel-engine: ")
    assert SECRET not in output + errors
    assert "home-of-alice" not in output + errors
    named = {name for name in os.environ if re.search(rf"\b{re.escape(name)}\b", output)}
    assert named <= {"ENGINE_EAGER", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "HOME"}
    assert not list(home.iterdir())
