"""`engine recommend`: its options, its answer for a person and for a program, its refusals."""

import json
from collections.abc import Callable
from pathlib import Path

import engine as engine_room
from engine.errors import MismatchError

ANSWER = {
    "ipc": 10,
    "expert_epoch": 36,
    "forms": [{"form": "moving optimum", "held_out_error": 0.8, "parameters": {"a": {"mean": 1}}}],
    "notes": ["one", "two"],
    "message": "Expert epoch 36.",
}


def test_options_reach_the_function(engine: Callable, returning: Callable) -> None:
    calls = returning(engine_room, "recommend", ANSWER)
    assert engine("recommend", "--data", "d", "--ipc", "10").code == 0
    line = "recommend --data d --ipc 1 --budget 2h --sweep s1 --sweep s2 --students 5 --set a.b=c"
    assert engine(*line.split()).code == 0
    assert calls == [
        {
            "data": Path("d"),
            "ipc": 10,
            "budget": None,
            "sweeps": (),
            "students": 3,
            "overrides": {},
        },
        {
            "data": Path("d"),
            "ipc": 1,
            "budget": "2h",
            "sweeps": (Path("s1"), Path("s2")),
            "students": 5,
            "overrides": {"a.b": "c"},
        },
    ]


def test_answer_is_a_table_of_forms_and_a_sentence(engine: Callable, returning: Callable) -> None:
    returning(engine_room, "recommend", ANSWER)
    outcome = engine("recommend", "--data", "d", "--ipc", "10")
    assert "moving optimum" in outcome.stdout
    assert outcome.stdout.splitlines()[-3:] == ["Expert epoch 36.", "Note: one", "Note: two"]


def test_json_is_the_answer_alone(engine: Callable, returning: Callable) -> None:
    returning(engine_room, "recommend", ANSWER)
    outcome = engine("recommend", "--data", "d", "--ipc", "10", "--json")
    assert json.loads(outcome.stdout) == ANSWER
    assert outcome.stderr == ""


def test_a_refusal_is_one_message_and_exit_code_2(engine: Callable, returning: Callable) -> None:
    returning(engine_room, "recommend", MismatchError("expected sweeps of dataset a, found b"))
    outcome = engine("recommend", "--data", "d", "--ipc", "10", "--sweep", "s")
    assert outcome.code == 2
    assert outcome.stderr == "Error: expected sweeps of dataset a, found b\n"
    assert outcome.stdout == ""


def test_no_images_per_class_is_a_usage_error(engine: Callable) -> None:
    outcome = engine("recommend", "--data", "d", "--ipc", "0")
    assert outcome.code == 2
    assert "--ipc" in outcome.stderr


def test_a_folder_that_is_no_dataset_is_refused(engine: Callable, tmp_path: Path) -> None:
    outcome = engine("recommend", "--data", tmp_path, "--ipc", "1")
    assert outcome.code == 2
    assert "build-beton" in outcome.stderr
