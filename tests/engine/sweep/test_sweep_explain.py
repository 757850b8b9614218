"""Why a result is what it is, the command that repeats it, and what two trials differ in."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_records import trial_record, write_sweep

import beton_builder
import engine
import labelstore
from cli.main import main
from engine.errors import ArtefactError, DamageError, MismatchError, UsageError
from engine.records import read_record
from engine.sweep.answers.rerun import _changes, rerun_arguments
from engine.sweep.ledger import Ledger
from engine.sweep.planning.grid import Grid, load_grids
from engine.training import StudentRecipe
from engine.training.precision import can_compile, machine_name

CHECKOUT = Path(__file__).resolve().parents[3]

STUDENT = {
    "student.model": "convnet-d2-w8",
    "student.epochs": "2",
    "student.evaluations": "2",
    "student.batch_size": "4",
    "student.precision": "fp32",
}


def sweep(data: Path, store: Path | None, out: Path, **settings: Any) -> Path:
    extent: dict[str, Any] = {"ipc": [1], "seeds": [1]}
    if settings.get("labels") != "[hard]":  # whose students ask no expert
        extent["expert_epochs"] = [3]
    extent |= {key: settings.pop(key) for key in list(settings) if key in extent}
    engine.sweep_students(data, store, out, **extent, overrides=STUDENT | settings)
    return out


def records(folder: Path) -> list[dict[str, Any]]:
    return [read_record(file) for file in sorted(folder.glob("trials/*/*.json"))]


def run_again(explained: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The trials of the sweep that the command makes."""
    program, *arguments = shlex.split(explained["command"])
    assert program == "engine"
    assert main(arguments) == 0
    capfd.readouterr()
    return records(Path(arguments[arguments.index("--out") + 1]))


AXES: dict[str, dict[str, Any]] = {
    "several": {"ipc": [1, 2], "expert_epochs": [1, 3], "seeds": [0, 2], "labels": "[soft, hard]"},
    "temperature": {"temperature": "[0.1, 4]", "labels": "[soft]"},
    "one subset": {"subset_seed": "5", "seeds": [0, 1]},
    "other seeds": {"augment_seed": "7", "order_seed": "8", "labels": "[soft]"},
    "student by ipc": {"by_ipc": "{1: {epochs: 3, lr: 1e-3}}", "ipc": [1, 2], "labels": "[hard]"},
    "optimiser": {"student.optimiser": "{kind: adamw}", "student.lr": "1e-05"},
    "schedule": {"student.schedule": "{kind: cosine}", "student.augmentation": "none"},
    "ensembles": {"ensemble": "[[1, 2], null]", "labels": "[soft]"},
    "transforms": {"labels": "['temperature:2.0+hard', 'soft+temperature:3']"},
    "selections": {"selection": "[drop-class:1, 'difficulty:9', 'k-centre@1']", "labels": "[soft]"},
    "scored for hard labels": {"selection": "['stratified@2', 'herding@3']", "labels": "[hard]"},
    "scored by an ensemble": {
        "selection": "[stratified]",
        "ensemble": "[[1, 2]]",
        "labels": "[soft]",
    },
}


@pytest.mark.parametrize("name", AXES)
def test_the_command_runs_that_trial_alone_to_the_same_result(
    small_data: Path,
    small_store: Path,
    tmp_path: Path,
    name: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out = sweep(small_data, small_store, tmp_path / "sweep", **AXES[name])
    for record in records(out):
        explained = engine.explain_trial(out, record["id"], data=small_data, labels=small_store)
        assert [e["checkpoint"] for e in explained["experts"]] == record["parents"]["checkpoints"]
        (again,) = run_again(explained, capfd)
        assert again["id"] == record["id"]
        assert again["result"] == record["result"]


def test_the_command_names_a_lossy_codec(
    small_data: Path, small_store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = shutil.copytree(small_store, tmp_path / "l.zarr")
    labelstore.convert_labels(store, "topk:1")
    out = sweep(small_data, store, tmp_path / "sweep", labels="[soft]", codec="topk:1")
    (record,) = records(out)
    (again,) = run_again(
        engine.explain_trial(out, record["id"], data=small_data, labels=store), capfd
    )
    assert (again["id"], again["result"]) == (record["id"], record["result"])


@st.composite
def recipes(draw: st.DrawFn) -> StudentRecipe:
    optimiser = draw(
        st.sampled_from([{"kind": "sgd"}, {"kind": "sgd", "momentum": 0.5}, {"kind": "adamw"}])
    ) | draw(st.sampled_from([{}, {"weight_decay": 1e-05}, {"weight_decay": 0.0}]))
    schedule = draw(
        st.sampled_from(
            [{"kind": "constant"}, {"kind": "step", "factor": 0.5}, {"kind": "cosine"},
             {"kind": "step", "every": 3}, {"kind": "cosine", "horizon": 9}]
        )
    )  # fmt: skip
    recipe = StudentRecipe(
        model=draw(st.sampled_from(["convnet-d3", "resnet18"])),
        epochs=draw(st.integers(1, 5000)),
        lr=draw(st.floats(1e-9, 10)),
        batch_size=draw(st.integers(1, 512)),
        optimiser=optimiser,
        schedule=schedule,
        augmentation=draw(st.sampled_from(["dsa", "none"])),
        resolution=draw(st.integers(4, 300)),
        evaluations=draw(st.integers(1, 30)),
        precision=draw(st.sampled_from(["auto", "fp32", "bf16"])),
    )
    return recipe.model_copy(update={"schedule": recipe.schedule.resolved(recipe.epochs)})


@given(recipe=recipes())
def test_any_student_comes_back_from_its_settings(recipe: StudentRecipe) -> None:
    changes = _changes(
        recipe.model_dump(mode="json"), StudentRecipe().model_dump(mode="json"), "student."
    )
    (grid,) = load_grids(None, {name: json.dumps(value) for name, value in changes})
    assert grid.students_at(1) == [recipe]


def test_a_trial_of_another_version_is_explained_without_a_command(tmp_path: Path) -> None:
    other, earlier = trial_record(1, None, depth=2), trial_record(1, 3)
    del earlier["teacher"]
    assert "depth" not in Grid.model_fields
    folder = write_sweep(tmp_path / "s", [other, earlier])
    for record, reason in ((other, "depth 2 in its cell"), (earlier, "an earlier version")):
        with pytest.raises(UsageError, match=reason):
            rerun_arguments(record, data="d", labels="l", out="o")
        explained = engine.explain_trial(folder, record["id"])
        assert explained["command"] is None
        assert any(reason in note for note in explained["notes"])
        assert explained["cell"] == record["cell"]


def test_the_samples_are_those_that_the_student_saw(
    small_data: Path, small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import engine.sweep.executors.trial_runner as runner

    seen = []
    load = runner.load_resident

    def spy(dataset: Any, split: str, *, indices: Any = None, **options: Any) -> Any:
        if split == "train":
            seen.append(sorted(map(int, indices)))
        return load(dataset, split, indices=indices, **options)

    monkeypatch.setattr(runner, "load_resident", spy)
    out = sweep(small_data, small_store, tmp_path / "sweep", labels="[soft]", ipc=[2], seeds=[4])
    (record,) = records(out)
    subset = engine.explain_trial(out, record["id"], data=small_data)["subset"]
    assert sorted(subset["sample_ids"]) in seen
    assert subset["samples"] == 2 * 3
    dataset = beton_builder.open_dataset(small_data)
    assert sorted(np.asarray(dataset.split("train").labels)[subset["sample_ids"]]) == [
        0,
        0,
        1,
        1,
        2,
        2,
    ]
    assert not set(subset["sample_ids"]) & set(map(int, dataset.validation_indices))


def test_a_trial_says_its_labels_its_environment_and_its_result(
    small_data: Path, small_store: Path, tmp_path: Path
) -> None:
    out = sweep(small_data, small_store, tmp_path / "sweep", labels="[soft]")
    (record,) = records(out)
    explained = engine.explain_trial(out, record["id"][:3], data=small_data, labels=small_store)
    for key in ("cell", "seeds", "student", "parents", "environment", "seconds", "status"):
        assert explained[key] == record[key]
    assert explained["result"]["final"] == record["result"]["final"]
    view = labelstore.open_store(small_store).view()
    assert explained["parents"]["checkpoints"] == [view.checkpoint_id(3)]
    (expert,) = explained["experts"]
    assert (expert["epoch"], expert["checkpoint"]) == (3, view.checkpoint_id(3))
    assert expert["test_accuracy"] == view.about(3)["test_accuracy"]
    assert explained["notes"] == []


def test_the_file_of_a_trial_alone_is_enough(tmp_path: Path) -> None:
    record = trial_record(5, 3, 2)
    folder = write_sweep(tmp_path / "s", [record])
    file = shutil.copy(Ledger(folder).trial_path(record["id"]), tmp_path / "mailed.json")
    explained = engine.explain_trial(file)
    assert (explained["trial"], explained["subset"]) == (record["id"], {})
    assert "--data DATA" in explained["command"]
    assert any("--data DATA" in note for note in explained["notes"])


def test_where_a_sweep_says_its_dataset_it_need_not_be_named(
    small_data: Path, small_store: Path, tmp_path: Path
) -> None:
    from engine.records import write_record

    out = sweep(small_data, small_store, tmp_path / "sweep", labels="[soft]")
    (record,) = records(out)
    sources = {"data": str(small_data), "labels": str(small_store)}
    write_record(out / "sweep.json", {**read_record(out / "sweep.json"), "sources": sources})
    explained = engine.explain_trial(out, record["id"])
    assert explained["subset"]["samples"] == 3
    assert f"--data {small_data} --labels {small_store}" in explained["command"]
    gone = {**sources, "data": str(tmp_path / "gone")}
    write_record(out / "sweep.json", {**read_record(out / "sweep.json"), "sources": gone})
    explained = engine.explain_trial(out, record["id"])
    assert explained["subset"] == {}
    assert "--data DATA" in explained["notes"][0]


def test_another_dataset_than_the_trials_is_refused(small_data: Path, tmp_path: Path) -> None:
    record = trial_record(1, None)
    folder = write_sweep(tmp_path / "s", [record])
    with pytest.raises(MismatchError, match="is of dataset d0"):
        engine.explain_trial(folder, record["id"], data=small_data)


def test_a_failed_trial_says_its_error(tmp_path: Path) -> None:
    record = trial_record(error="Traceback\n …\nTrainingDiverged: the loss was nan")
    explained = engine.explain_trial(write_sweep(tmp_path / "s", [record]), record["id"])
    assert explained["error"] == "TrainingDiverged: the loss was nan"
    assert explained["traceback"] == record["error"]
    assert explained["result"] == {}


def test_what_no_variable_can_make_as_it_was_is_said(tmp_path: Path) -> None:
    record = trial_record(student={"precision": "auto"})
    record["environment"] |= {"torch": "1.0", "compiled": True}
    explained = engine.explain_trial(write_sweep(tmp_path / "s", [record]), record["id"])
    (note,) = (each for each in explained["notes"] if "same bytes" in each)
    assert "compiled True (here False), torch 1.0 (here" in note
    assert "precision fp32 (auto measures which anew)" in note


def test_the_machine_is_another_only_where_it_is(tmp_path: Path) -> None:
    name = machine_name()
    processor = name.rpartition(", ")[0]

    def complaints(engine_too: bool, machine: str) -> list[str]:
        record = trial_record(seed=len(list(tmp_path.iterdir())))
        versions = {"engine": version("softlabel-engine")} if engine_too else {}
        record["environment"] = {**versions, "machine": machine}
        folder = write_sweep(tmp_path / record["id"], [record])
        notes = engine.explain_trial(folder, record["id"])["notes"]
        return [each for each in notes if "same bytes" in each]

    assert complaints(True, name) == []
    assert len(complaints(True, f"{processor}, 9999 cores")) == 1
    # Records without our version counted the cores that a worker was bound to.
    assert complaints(False, f"{processor}, 9999 cores") == []
    assert len(complaints(False, "another processor, 9999 cores")) == 1


def test_the_command_brings_back_threads_and_eager_steps(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    out = sweep(small_data, None, tmp_path / "sweep", labels="[hard]")
    torch.set_num_threads(2)
    monkeypatch.delenv("ENGINE_EAGER")
    (record,) = records(out)
    command = engine.explain_trial(out, record["id"], data=small_data)["command"]
    assert command.startswith("ENGINE_EAGER=1 engine " if can_compile() else "engine ")
    assert command.endswith(" --threads 1")
    python = f"{shlex.quote(sys.executable)} -m cli.main"
    line = command.replace("engine ", f"{python} ", 1)
    subprocess.run(line, shell=True, check=True, cwd=CHECKOUT, capture_output=True)
    (again,) = records(next(tmp_path.glob("sweep-*")))
    for key in ("id", "result", "environment"):
        assert again[key] == record[key]


def trials_by_first_digit() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in range(60):
        record = trial_record(1, 3, seed)
        found.setdefault(record["id"][0], []).append(record)
    return found


def test_an_ambiguous_beginning_lists_the_candidates(tmp_path: Path) -> None:
    some = next(each for each in trials_by_first_digit().values() if len(each) >= 2)
    folder = write_sweep(tmp_path / "s", some)
    with pytest.raises(UsageError) as caught:
        engine.explain_trial(folder, some[0]["id"][0])
    assert all(record["id"] in str(caught.value) for record in some[:8])
    assert "ipc 1" in str(caught.value)
    assert engine.explain_trial(folder, some[0]["id"])["trial"] == some[0]["id"]


@pytest.mark.parametrize("pattern", ["*", "?", "zz", "../x", "[0-9a-f]*"])
def test_an_unknown_trial_names_the_nearest(tmp_path: Path, pattern: str) -> None:
    record = trial_record()
    folder = write_sweep(tmp_path / "s", [record])
    with pytest.raises(UsageError, match=f"the nearest is {record['id']}"):
        engine.explain_trial(folder, pattern)


def test_a_misspelt_id_names_the_one_that_was_meant(tmp_path: Path) -> None:
    many = [trial_record(1, 3, seed) for seed in range(20)]
    folder = write_sweep(tmp_path / "s", many)
    name = many[7]["id"]
    with pytest.raises(UsageError, match=f"the nearest is {name}"):
        engine.explain_trial(folder, name[:7] + name[8:])


def test_a_sweep_alone_and_no_sweep_are_refused(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", [trial_record()])
    with pytest.raises(UsageError, match="say which trial"):
        engine.explain_trial(folder)
    with pytest.raises(ArtefactError, match="is no sweep"):
        engine.explain_trial(tmp_path / "none", "3f")
    with pytest.raises(ArtefactError, match="holds a sweep, expected a trial"):
        engine.explain_trial(folder / "sweep.json")


def test_a_damaged_record_is_damage(tmp_path: Path) -> None:
    record = trial_record()
    folder = write_sweep(tmp_path / "s", [record])
    path = Ledger(folder).trial_path(record["id"])
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.6", 1))
    with pytest.raises(DamageError, match="engine sweep-students"):
        engine.explain_trial(folder, record["id"])


def test_a_difference_names_every_key_and_the_gap_in_accuracy(tmp_path: Path) -> None:
    a = trial_record(1, 3, 0, final=0.5)
    b = trial_record(1, None, 0, final=0.75, student={"lr": 0.1, "optimiser": {"kind": "adamw"}})
    b["environment"]["threads"] = 2
    folder = write_sweep(tmp_path / "s", [a, b])
    answer = engine.diff_trials(folder, a["id"], b["id"])
    found = {(row["part"], row["key"]): (row["a"], row["b"]) for row in answer["differences"]}
    assert found == {
        ("cell", "labels"): ("soft", "hard"),
        ("cell", "expert"): ("e0", None),
        ("cell", "expert_epoch"): (3, None),
        ("cell", "view"): ("plain", None),
        ("cell", "temperature"): (1.0, None),
        ("cell", "transform"): ("soft", None),
        ("student", "lr"): (0.01, 0.1),
        ("student", "optimiser.kind"): ("sgd", "adamw"),
        ("parents", "checkpoints"): ('["c3"]', '["cNone"]'),
        ("environment", "threads"): (1, 2),
    }
    gaps = {row["measure"]: row["b_minus_a"] for row in answer["accuracy"]}
    assert gaps["final_test"] == 0.25
    assert gaps["max_on_test"] == 0.25
    assert gaps["selected_validation"] == 0.25
    assert "cell, student, parents, environment" in answer["message"]


def test_files_of_two_sweeps_are_compared(tmp_path: Path) -> None:
    a, b = trial_record(1, 3, 0), trial_record(1, 3, 1, final=0.5)
    first, second = write_sweep(tmp_path / "s", [a]), write_sweep(tmp_path / "t", [b])
    files = Ledger(first).trial_path(a["id"]), Ledger(second).trial_path(b["id"])
    answer = engine.diff_trials(None, *files)
    assert {row["part"] for row in answer["differences"]} == {"seeds"}
    assert answer["message"] == "Two repeats of one cell: they differ by seeds alone."
    with pytest.raises(ArtefactError, match="no file of a trial"):
        engine.diff_trials(None, a["id"], files[1])


def test_a_failed_trial_has_no_accuracy_to_compare(tmp_path: Path) -> None:
    a, b = trial_record(1, 3, 0), trial_record(1, 3, 1, error="E: x")
    folder = write_sweep(tmp_path / "s", [a, b])
    answer = engine.diff_trials(folder, a["id"], b["id"])
    assert {row["measure"]: row["b"] for row in answer["accuracy"]}["final_test"] is None
    assert ("status", "", "done", "failed") in {tuple(r.values()) for r in answer["differences"]}


def test_a_trial_equals_itself(tmp_path: Path) -> None:
    a = trial_record()
    folder = write_sweep(tmp_path / "s", [a])
    answer = engine.diff_trials(folder, a["id"], Ledger(folder).trial_path(a["id"]))
    assert answer["differences"] == []
    assert answer["message"] == "The same trial, with equal results."
