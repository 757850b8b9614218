"""0 done, 1 damage or failed trials, 2 refused, each with a message and never a bare traceback."""

import errno
import json
from collections.abc import Callable
from typing import Any

import pytest

import beton_builder
from cli.failures import explain

BUILD = ("build-beton", "--source", "s", "--out", "d")


class RefusedByRoomError(Exception):
    """Stands for any class of the rooms' exception trees."""

    exit_code = 2


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ({}, 0),
        ({"ok": True, "checked": 3, "problems": []}, 0),
        ({"ok": False, "checked": 3, "problems": ["train.beton: byte 7 differs"]}, 1),
        ({"trials": 6, "failed": 0}, 0),
        ({"trials": 6, "failed": 2}, 1),
        ({"trials": 6, "failed": []}, 0),
        ({"trials": 6, "failed": ["3f01"]}, 1),
    ],
)
def test_the_result_decides_between_0_and_1(
    engine: Callable, returning: Callable, result: dict[str, Any], code: int
) -> None:
    returning(beton_builder, "build_beton", result)
    assert engine(*BUILD).code == code
    assert engine(*BUILD, "--json").code == code


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            RefusedByRoomError("labels are of dataset a, data is b"),
            "labels are of dataset a, data is b",
        ),
        (
            ModuleNotFoundError("No module named 'zarr'", name="zarr.core"),
            "the Python package 'zarr.core' is needed for this and isn't installed. "
            "Run scripts/setup",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "out/train.beton"),
            "no space left on the disk for out/train.beton",
        ),
        (
            ValueError("shapes (3,)\n  and (4,)"),
            "ValueError: shapes (3,) and (4,) (run again with --debug for the traceback)",
        ),
        (KeyError(), "KeyError (run again with --debug for the traceback)"),
    ],
)
def test_errors_are_one_message_and_2(
    engine: Callable, returning: Callable, error: Exception, message: str
) -> None:
    returning(beton_builder, "build_beton", error)
    outcome = engine(*BUILD)
    assert outcome.code == 2
    assert outcome.stdout == ""
    assert outcome.stderr.startswith(f"Error: {message}")
    assert "Traceback" not in outcome.stderr


def test_debug_shows_the_traceback_before_the_message(
    engine: Callable, returning: Callable
) -> None:
    returning(beton_builder, "build_beton", RefusedByRoomError("no"))
    outcome = engine(*BUILD, "--debug")
    assert outcome.code == 2
    assert outcome.stderr.startswith("Traceback")
    assert outcome.stderr.endswith("Error: no\n")


def test_a_missing_module_of_the_project_itself_is_no_missing_package() -> None:
    error = ModuleNotFoundError("No module named 'engine.sweep'", name="engine.sweep")
    assert "ModuleNotFoundError" in explain(error).message


def test_a_very_long_message_is_cut() -> None:
    assert len(explain(ValueError("x" * 10_000)).message) < 700


def test_json_has_the_failure_as_its_document(engine: Callable, returning: Callable) -> None:
    returning(beton_builder, "build_beton", RefusedByRoomError("no"))
    outcome = engine(*BUILD, "--json")
    assert outcome.code == 2
    assert json.loads(outcome.stdout) == {
        "error": {"type": "RefusedByRoomError", "message": "no", "exit_code": 2}
    }
    assert outcome.stderr == "Error: no\n"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("bild-beton", "Did you mean 'build-beton'?"),
        ("build-beton --source s", "Missing option '--out'"),
        ("build-beton --source s --out d --workers 0", "--workers"),
        ("train-expert --data d --out r --epochs many", "--epochs"),
        ("train-expert --data d --out r --epoch 3", "--epochs"),
        ("report --out r", "SWEEP"),
    ],
)
def test_usage_errors_are_2_and_name_the_option(
    engine: Callable, line: str, complaint: str
) -> None:
    outcome = engine(*line.split())
    assert outcome.code == 2
    assert outcome.stdout == ""
    assert "Usage: engine" in outcome.stderr
    assert complaint in outcome.stderr


def test_usage_errors_too_are_a_document_with_json(engine: Callable) -> None:
    outcome = engine("build-beton", "--json")
    assert outcome.code == 2
    assert json.loads(outcome.stdout)["error"]["exit_code"] == 2
