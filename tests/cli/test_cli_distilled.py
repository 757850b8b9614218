"""`engine export` and `engine evaluate`: options, output, and what `verify` and `info` say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import engine as engine_room

CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "export by default": (
        "export_distilled",
        "export --data d --labels l.zarr --ipc 10 --expert-epoch 41 --out o",
        {
            "data": Path("d"),
            "labels": Path("l.zarr"),
            "out": Path("o"),
            "ipc": 10,
            "expert_epoch": 41,
            "format": "parquet",
            "expert": None,
            "view": "plain",
            "codec": None,
            "selection": "random",
            "subset_seed": 0,
            "temperature": 1.0,
            "transform": "soft",
            "resolution": None,
            "force": False,
            "dry_run": False,
        },
    ),
    "export in full": (
        "export_distilled",
        "export --data d --labels l.zarr --ipc 1 --expert-epoch best-on-test --out o"
        " --format webdataset --expert e --view flip --codec topk:5 --selection herding"
        " --subset-seed 3 --temperature 2 --transform shuffle-tail --resolution 64"
        " --force --dry-run",
        {
            "data": Path("d"),
            "labels": Path("l.zarr"),
            "out": Path("o"),
            "ipc": 1,
            "expert_epoch": "best-on-test",
            "format": "webdataset",
            "expert": "e",
            "view": "flip",
            "codec": "topk:5",
            "selection": "herding",
            "subset_seed": 3,
            "temperature": 2.0,
            "transform": "shuffle-tail",
            "resolution": 64,
            "force": True,
            "dry_run": True,
        },
    ),
    "evaluate by default": (
        "evaluate_distilled",
        "evaluate --data d --distilled set.pt --out o",
        {
            "data": Path("d"),
            "distilled": Path("set.pt"),
            "out": Path("o"),
            "config": None,
            "seeds": None,
            "images": "auto",
            "label_kind": "auto",
            "workers": "auto",
            "threads": None,
            "overrides": {},
            "dry_run": False,
            "estimate": True,
        },
    ),
    "evaluate in full": (
        "evaluate_distilled",
        "evaluate --data d --distilled set --out o --config c.yaml --seeds 0-2,7"
        " --images normalised --label-kind logits --workers 2 --threads 1"
        " --set student.epochs=2 --dry-run --no-estimate",
        {
            "data": Path("d"),
            "distilled": Path("set"),
            "out": Path("o"),
            "config": Path("c.yaml"),
            "seeds": [0, 1, 2, 7],
            "images": "normalised",
            "label_kind": "logits",
            "workers": 2,
            "threads": 1,
            "overrides": {"student.epochs": "2"},
            "dry_run": True,
            "estimate": False,
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_option_reaches_its_function(engine: Callable, returning: Callable, case: str):
    name, line, expected = CASES[case]
    calls = returning(engine_room, name, {"status": "done"})
    outcome = engine(*line.split())
    assert outcome.code == 0, outcome.stderr
    assert calls == [expected]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("export --data d --labels l --ipc 0 --expert-epoch 1 --out o", "--ipc"),
        ("export --data d --labels l --ipc 1 --expert-epoch last --out o", "--expert-epoch"),
        ("export --data d --labels l --ipc 1 --expert-epoch 1 --out o --format zip", "parquet"),
        ("evaluate --data d --distilled p --out o --images float", "normalised"),
        ("evaluate --data d --distilled p --out o --label-kind soft", "probabilities"),
        ("evaluate --data d --distilled p", "--out"),
    ],
)
def test_wrong_options_are_refused(engine: Callable, line: str, said: str) -> None:
    outcome = engine(*line.split())
    assert outcome.code == 2
    assert said in outcome.stderr


def test_a_failed_student_ends_with_1(engine: Callable, returning: Callable) -> None:
    returning(engine_room, "evaluate_distilled", {"status": "evaluated", "failed": 1})
    assert engine(*["evaluate", "--data", "d", "--distilled", "p", "--out", "o"]).code == 1


def test_a_malicious_file_ends_with_2_and_a_reason(engine, tmp_path, monkeypatch) -> None:
    import os
    import pickle

    import beton_builder

    class Runs:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'it-ran'}",)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Runs()))
    monkeypatch.setattr(beton_builder, "open_dataset", lambda _: None)
    line = ["evaluate", "--data", "d", "--distilled", tmp_path / "evil.pt", "--out", tmp_path / "o"]
    outcome = engine(*line, "--json")
    assert outcome.code == 2
    assert "was not loaded" in json.loads(outcome.stdout)["error"]["message"]
    assert not (tmp_path / "it-ran").exists()
    assert not (tmp_path / "o").exists()
