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
