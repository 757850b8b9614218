"""The report as a whole: its shape, what becomes of failing checks, and what must not be in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import engine
from engine.doctor import examination
from engine.doctor.examination import CHECKS, Check, carry_out, check_environment, without_home
from engine.doctor.finding import Asked, ok, problem, warning
from engine.errors import MismatchError

CHECKOUT = Path(engine.__file__).parents[1]


def only(monkeypatch, **looks):
    """These checks instead of the real ones; their names begin with must_ where required."""
    checks = [
        Check(name=name, look=look, required=name.startswith("must_"), repair="repair it")
        for name, look in looks.items()
    ]
    monkeypatch.setattr(examination, "CHECKS", tuple(checks))


def raising(error):
    def look(_):
        raise error

    return look


def test_rows_come_in_order_with_what_to_type_where_there_is_something(monkeypatch):
    only(
        monkeypatch,
        one=lambda _: ok("fine"),
        two=lambda _: warning("slow", "hurry"),
        three=lambda _: problem("gone", "fetch"),
    )
    answer = check_environment()
    assert answer["checks"] == [
        {"check": "one", "status": "ok", "found": "fine", "next": None},
        {"check": "two", "status": "warning", "found": "slow", "next": "hurry"},
        {"check": "three", "status": "problem", "found": "gone", "next": "fetch"},
    ]
    assert (answer["warnings"], answer["problems"]) == (["two"], ["three"])
    assert answer["message"] == ("1 problem to solve before the whole path works here; 1 warning.")
    assert json.loads(json.dumps(answer)) == answer


def test_a_check_that_raises_is_a_row_and_the_others_go_on(monkeypatch):
    only(
        monkeypatch,
        broken=raising(KeyError("MemAvailable")),
        must_work=raising(OSError("libcudart.so.13: cannot open")),
        after=lambda _: ok("fine"),
    )
    first, second, third = check_environment()["checks"]
    assert first["status"] == "warning"
    assert "KeyError: 'MemAvailable' (test_doctor_examination.py:" in first["found"]
    assert second["status"] == "problem"
    assert "libcudart" in second["found"]
    assert second["next"] == "repair it"
    assert third["status"] == "ok"


def test_errors_that_are_worded_for_people_are_not_decorated():
    said = "labels are of dataset a, and data is b"
    finding = carry_out(Check(name="labels", look=raising(MismatchError(said))), Asked())
    assert finding.found == said


def test_ctrl_c_is_no_finding(monkeypatch):
    only(monkeypatch, slow=raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        check_environment()


def test_a_missing_package_says_what_installs_it():
    look = raising(ModuleNotFoundError("No module named 'torch'", name="torch"))
    finding = carry_out(Check(name="x", look=look, repair="export X=FOLDER"), Asked())
    assert finding.found == "needs torch: No module named 'torch'"
    assert finding.next == "scripts/setup"


def test_progress_names_the_check_that_is_at_work(monkeypatch):
    heard = []
    only(monkeypatch, label_kernels=lambda _: ok(str(heard[-1])))
    answer = check_environment(progress=lambda *said: heard.append(said))
    assert answer["checks"][0]["found"] == "('check label kernels', 0, 1)"
    assert heard[-1] == ("check label kernels", 1, 1)


def test_the_home_folder_is_not_named(monkeypatch):
    monkeypatch.setenv("HOME", "/home/alice")
    assert without_home("/home/alice/.cache: 3 GB, /home/alice") == "~/.cache: 3 GB, ~"
    assert without_home("/home/alice2/x") == "/home/alice2/x"
    monkeypatch.setenv("HOME", "/")
    assert without_home("/tmp: 3 GB") == "/tmp: 3 GB"


def test_checks_have_names_of_their_own_and_artefacts_are_looked_at_when_named():
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    asked = Asked(data=Path("my data"), labels=Path("labels.zarr"))
    added = examination.checks_of(asked)[len(CHECKS) :]
    assert [check.name for check in added] == ["data", "labels"]
    assert added[0].repair == "engine verify 'my data'"
    assert all(check.required for check in added)


def test_it_is_offered_as_a_function_and_importing_it_imports_nothing_heavy():
    assert engine.check_environment is check_environment
    listing = subprocess.run(
        [sys.executable, "-c", "import engine.doctor, sys; print(*sys.modules)"],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert not {"torch", "numpy", "numba", "zarr", "pyarrow"} & set(listing.split())
