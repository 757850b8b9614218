"""verify and info find the kind of an artefact where it is written, or from what lies there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import beton_builder
import engine as engine_room
import labelstore
from cli.artefacts import recognise

RECORDS: dict[str, tuple[str, dict[str, Any], Any, str, str]] = {
    "dataset": (
        "manifest.json",
        {"kind": "dataset"},
        beton_builder,
        "verify_dataset",
        "dataset_info",
    ),
    "expert run": ("manifest.json", {"kind": "expert-run"}, engine_room, "verify_run", "run_info"),
    "label store": (
        "zarr.json",
        {"attributes": {"kind": "label-store"}},
        labelstore,
        "verify_store",
        "store_info",
    ),
    "sweep": ("sweep.json", {"kind": "sweep"}, engine_room, "verify_sweep", "sweep_info"),
    "distilled set": (
        "manifest.json",
        {"kind": "distilled"},
        engine_room,
        "verify_distilled",
        "distilled_info",
    ),
    "evaluation": (
        "evaluation.json",
        {"kind": "evaluation"},
        engine_room,
        "verify_evaluation",
        "evaluation_info",
    ),
    "report": ("manifest.json", {"kind": "report"}, engine_room, "verify_report", "report_info"),
}


@pytest.mark.parametrize("title", RECORDS)
def test_the_kind_that_is_written_decides_who_answers(
    engine: Callable, returning: Callable, tmp_path: Path, title: str
) -> None:
    file, record, room, verifier, describer = RECORDS[title]
    (tmp_path / file).write_text(json.dumps(record))
    returning(room, verifier, {"ok": False, "checked": 1, "problems": ["byte 7"]})
    returning(room, describer, {"id": "3f"})

    verified = engine("verify", tmp_path, "--json")
    assert verified.code == 1
    assert json.loads(verified.stdout)["problems"] == ["byte 7"]
    described = engine("info", tmp_path)
    assert described.code == 0
    assert f"kind  {title}" in described.stdout


@pytest.mark.parametrize(
    ("traces", "title"),
    [
        (["manifest.json", "train.beton"], "dataset"),
        (["manifest.json", "checkpoints/epoch_0000.safetensors"], "expert run"),
        (["zarr.json"], "label store"),
        (["expert/zarr.json"], "label store"),
        (["sweep.json"], "sweep"),
        (["trials/3f/3f01.json"], "sweep"),
        (["manifest.json", "data/train-00000-of-00001.parquet"], "distilled set"),
        (["manifest.json", "data/train.npz"], "distilled set"),
        (["evaluation.json"], "evaluation"),
        (["students/0.json"], "evaluation"),
        (["manifest.json", "index.html"], "report"),
    ],
)
@pytest.mark.parametrize(
    "content", [b"", b"{\xff", b'{"kind": "dat\x00set"}', b'{"kind": "dbtaset"}']
)
def test_a_damaged_record_is_still_recognised_by_its_neighbours(
    tmp_path: Path, traces: list[str], title: str, content: bytes
) -> None:
    for trace in traces:
        (tmp_path / trace).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / trace).write_bytes(content)
    assert recognise(tmp_path).title == title


@pytest.mark.parametrize("command", ["verify", "info"])
def test_an_unknown_folder_is_refused_with_what_was_looked_for(
    engine: Callable, tmp_path: Path, command: str
) -> None:
    (tmp_path / "manifest.json").write_text('{"kind": "cake"}')
    outcome = engine(command, tmp_path)
    assert outcome.code == 2
    for word in (str(tmp_path), "manifest.json", "sweep.json", "zarr.json", "'cake'", "dataset"):
        assert word in outcome.stderr


def test_nothing_and_a_file_are_refused_in_words(engine: Callable, tmp_path: Path) -> None:
    assert "there is nothing at" in engine("info", tmp_path / "x").stderr
    (tmp_path / "train.beton").write_bytes(b"")
    outcome = engine("verify", tmp_path / "train.beton")
    assert outcome.code == 2
    assert f"perhaps {tmp_path} is meant" in outcome.stderr


def test_labels_are_computed_again_where_data_and_expert_are_given(
    engine: Callable, returning: Callable, tmp_path: Path
) -> None:
    (tmp_path / "zarr.json").write_text(json.dumps({"attributes": {"kind": "label-store"}}))
    returning(labelstore, "verify_store", {"ok": True, "checked": 1, "problems": [], "damaged": 0})
    returning(engine_room, "check_labels", {"ok": False, "recomputed": 64, "problems": ["row 3"]})
    assert engine("verify", tmp_path).code == 0
    outcome = engine("verify", tmp_path, "--data", "d", "--expert", "r", "--json")
    assert outcome.code == 1
    assert json.loads(outcome.stdout)["recomputed"] == 64
    only_one = engine("verify", tmp_path, "--data", "d")
    assert only_one.code == 2
    assert "both --data and --expert" in only_one.stderr


@pytest.mark.parametrize(
    ("damaged", "recomputed", "problems", "why_not"),
    [
        (0, 64, ["epochs 3 are not complete", "row 3"], None),
        (0, 0, ["epochs 3 are not complete", "row 3"], "no epoch is complete"),
        (1, 0, ["epochs 3 are not complete"], "damaged bytes"),
    ],
)
def test_an_unfinished_epoch_keeps_no_label_from_being_computed_again(
    engine: Callable,
    returning: Callable,
    tmp_path: Path,
    damaged: int,
    recomputed: int,
    problems: list[str],
    why_not: str | None,
) -> None:
    (tmp_path / "zarr.json").write_text(json.dumps({"attributes": {"kind": "label-store"}}))
    found = {"ok": False, "checked": 1, "problems": problems[:1], "damaged": damaged}
    returning(labelstore, "verify_store", found)
    again = {"ok": False, "recomputed": recomputed, "problems": ["row 3"]}
    returning(engine_room, "check_labels", again)
    outcome = engine("verify", tmp_path, "--data", "d", "--expert", "r", "--json")
    assert outcome.code == 1
    answer = json.loads(outcome.stdout)
    assert (answer["ok"], answer["problems"]) == (False, problems)
    assert answer["recomputed"] == recomputed
    assert (answer.get("not_recomputed") or "").startswith(why_not or "")
    assert ("not_recomputed" in answer) == (why_not is not None)


def test_what_only_a_label_store_can_do_is_refused_for_others(
    engine: Callable, returning: Callable, tmp_path: Path
) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps({"kind": "sweep"}))
    returning(engine_room, "verify_sweep", {"ok": True, "checked": 1, "problems": []})
    returning(engine_room, "sweep_info", {"id": "3f"})
    for line in ("verify --data d --expert r", "info --plot a.png"):
        command, *options = line.split()
        outcome = engine(command, tmp_path, *options)
        assert outcome.code == 2
        assert "label store" in outcome.stderr
