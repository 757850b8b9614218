"""A finished sweep that is started again: quick, because it does little."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from plan_cases import SMALL

import engine
from engine.sweep.ledger import Ledger
from engine.training import precision

GRID: dict[str, Any] = SMALL | {"expert_epochs": [0, 3], "student.epochs": 1}

RESTART = """
import json, sys
import engine
data, labels, out, grid = json.loads(sys.argv[1])
answer = engine.sweep_students(data, labels, out, overrides=grid)
print(json.dumps([answer["status"], "torch" in sys.modules, "numba" in sys.modules]))
"""


@pytest.fixture
def finished(small_data: Path, small_store: Path, tmp_path: Path) -> Path:
    out = tmp_path / "sweep"
    assert engine.sweep_students(small_data, small_store, out, overrides=GRID)["ran"] == 2
    return out


def test_that_nothing_is_to_do_is_said_without_torch(
    small_data: Path, small_store: Path, finished: Path
) -> None:
    given = json.dumps([str(small_data), str(small_store), str(finished), GRID])
    done = subprocess.run(
        [sys.executable, "-c", RESTART, given], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == ["finished already", False, False]


def test_every_record_is_read_once(
    small_data: Path, small_store: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    whole = Ledger.read
    monkeypatch.setattr(Ledger, "read", lambda self, name: read.append(name) or whole(self, name))
    again = engine.sweep_students(small_data, small_store, finished, overrides=GRID)
    assert (again["status"], again["trials"]) == ("finished already", 2)
    assert len(read) == len(set(read)) == 2


def test_a_run_in_another_precision_leaves_what_auto_came_to(
    small_data: Path, small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained_in(asked: str, seed: int) -> list[str]:
        grid = GRID | {"student.precision": asked, "seeds": [seed], "expert_epochs": [0]}
        engine.sweep_students(small_data, small_store, tmp_path, workers=1, overrides=grid)
        records = Ledger(tmp_path).records()
        return [r["environment"]["precision"] for r in records if r["seeds"]["init_seed"] == seed]

    monkeypatch.setattr(precision, "bf16_gain", lambda device: 2.0)
    assert trained_in("auto", 0) == ["bf16"]
    assert trained_in("fp32", 1) == ["fp32"]
    monkeypatch.setattr(precision, "bf16_gain", lambda device: 0.5)
    assert trained_in("auto", 2) == ["bf16"]
