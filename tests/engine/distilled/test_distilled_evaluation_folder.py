"""The folder of an evaluation resumes, grows and is mended; what changes meanwhile is noticed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from distilled_cases import QUICK, evaluate, make_pixels

import engine
from engine.distilled.evaluate import _plan_students
from engine.distilled.evaluation import read_evaluation
from engine.distilled.student_of_set import SetRunnerFactory
from engine.errors import DamageError, MismatchError, UsageError
from engine.training.step import TrainingStep


def test_a_finished_evaluation_trains_nothing_again_and_grows_by_seeds(
    small_data, hard_set, tmp_path
) -> None:
    out = tmp_path / "out"
    first = evaluate(small_data, hard_set, out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("students/*")}
    again = evaluate(small_data, hard_set, out)
    assert (again["status"], again["ran"]) == ("finished already", 0)
    assert again["table"] == first["table"]
    grown = evaluate(small_data, hard_set, out, seeds=[2])
    assert (grown["ran"], grown["students"]) == (1, 1)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert read_evaluation(out).seeds == (0, 1, 2)
    assert read_evaluation(out).missing == 0


def test_another_set_or_student_is_refused(small_data, hard_set, tmp_path) -> None:
    out = tmp_path / "out"
    evaluate(small_data, hard_set, out, seeds=[0])
    with pytest.raises(MismatchError, match=r"student\.lr: 0\.01 → 0\.1.*another --out"):
        evaluate(small_data, hard_set, out, overrides={**QUICK, "student.lr": 0.1})
    pixels = make_pixels(seed=1, per_class=3)
    np.savez(tmp_path / "other.npz", images=pixels.images_nhwc, labels=pixels.classes_n)
    with pytest.raises(MismatchError, match=r"distilled: .* → "):
        evaluate(small_data, tmp_path / "other.npz", out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match=r"found other files \(thesis\.tex\)"):
        evaluate(small_data, hard_set, tmp_path / "full")


def test_a_student_that_fails_is_told_and_run_again(small_data, hard_set, tmp_path, monkeypatch):
    def breaks(self, *arguments, **options):
        raise RuntimeError("the lights went out")

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", breaks)
        result = evaluate(small_data, hard_set, tmp_path / "out", seeds=[0])
    assert (result["failed"], result["errors"]) == (1, ["RuntimeError: the lights went out"])
    assert read_evaluation(tmp_path / "out").missing == 1
    again = evaluate(small_data, hard_set, tmp_path / "out", seeds=[0])
    assert (again["ran"], again["failed"], again["errors"]) == (1, 0, [])


def test_damaged_records_are_found_and_made_anew(small_data, hard_set, tmp_path) -> None:
    out = tmp_path / "out"
    evaluate(small_data, hard_set, out)
    whole = (out / "students/1.json").read_bytes()
    (out / "students/1.json").write_bytes(whole.replace(b'"done"', b'"dune"'))
    answer = engine.verify_evaluation(out)
    assert not answer["ok"]
    assert "1.json is damaged" in answer["problems"][0]
    with pytest.raises(DamageError):
        read_evaluation(out)
    assert evaluate(small_data, hard_set, out)["ran"] == 1
    assert engine.verify_evaluation(out)["ok"]


@pytest.mark.parametrize("damage", ["flipped", "emptied", "deleted"])
def test_a_lost_head_is_written_anew_from_the_students(
    small_data, hard_set, tmp_path, damage
) -> None:
    out = tmp_path / "out"
    evaluate(small_data, hard_set, out)
    head = out / "evaluation.json"
    whole = json.loads(head.read_bytes())
    if damage == "deleted":
        head.unlink()
    else:
        flipped = head.read_bytes().replace(b'"cifar', b'"cigar').replace(b'"kind"', b'"kond"')
        head.write_bytes(b"" if damage == "emptied" else flipped)
    with pytest.raises(MismatchError, match=f"holds evaluation {whole['id']}"):
        evaluate(small_data, hard_set, out, overrides={**QUICK, "student.lr": 0.1})
    again = evaluate(small_data, hard_set, out, seeds=[1])
    assert (again["status"], again["ran"]) == ("finished already", 0)
    assert engine.verify_evaluation(out)["ok"]
    mended = json.loads(head.read_bytes())
    same = ("id", "asked", "precision", "student", "dataset", "distilled")
    assert {name: mended[name] for name in same} == {name: whole[name] for name in same}


def test_a_set_that_changes_meanwhile_is_noticed(small_data, hard_set, tmp_path) -> None:
    factory = SetRunnerFactory(
        data=str(small_data), distilled=str(hard_set), images="auto", label_kind="auto",
        resolution=16, set_id="0" * 16, precision="fp32",
    )  # fmt: skip
    with pytest.raises(MismatchError, match="changed while it was evaluated"):
        factory()


def test_a_dataset_that_changes_meanwhile_is_noticed(small_data, hard_set, dataset) -> None:
    opened = engine.open_distilled(hard_set, dataset=dataset)
    student, *_ = _plan_students("students-paper", QUICK, dataset, opened)
    runner = SetRunnerFactory(
        data=str(small_data), distilled=str(hard_set), images="auto", label_kind="auto",
        resolution=16, set_id=opened.id, precision="fp32",
    )()  # fmt: skip
    another = replace(student, dataset=student.dataset._replace(id="0" * 32))
    record = runner.run(another, lambda *_: None)
    assert record["status"] == "failed"
    assert "changed while the set was evaluated" in record["error"]


LONG = """
import json, sys, engine
engine.evaluate_distilled(
    sys.argv[1], sys.argv[2], sys.argv[3], seeds=range(8), workers=1,
    overrides=json.loads(sys.argv[4]),
)
"""


def test_a_killed_evaluation_resumes_where_it_was(small_data, hard_set, tmp_path) -> None:
    """Killed after some student: none of the finished ones runs again, the result is the same."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(engine.__file__).parents[1]),
        "ENGINE_EAGER": "1",
        "OMP_NUM_THREADS": "1",
    }
    longer = {**QUICK, "student.epochs": 40}
    out = tmp_path / "killed"
    arguments = [str(small_data), str(hard_set), str(out), json.dumps(longer)]
    process = subprocess.Popen([sys.executable, "-c", LONG, *arguments], env=environment)
    deadline = time.monotonic() + 300
    while not any(out.glob("students/*.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = {p: p.stat().st_mtime_ns for p in out.glob("students/*.json")}
    assert 1 <= len(first) < 8
    torch.set_num_threads(1)  # as in the process that was killed; put back after the test
    ran = evaluate(small_data, hard_set, out, seeds=range(8), overrides=longer)
    assert ran["ran"] == 8 - len(first)
    assert {p: p.stat().st_mtime_ns for p in first} == first
    evaluate(small_data, hard_set, tmp_path / "whole", seeds=range(8), overrides=longer)
    killed, whole = (read_evaluation(tmp_path / name) for name in ("killed", "whole"))
    assert killed.accuracies == whole.accuracies
    assert killed.seeds == whole.seeds == tuple(range(8))
