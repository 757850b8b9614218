"""What `engine reproduce` refuses before it begins, what it survives, and what a dry run counts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

import beton_builder
import engine
from engine.errors import ConfigurationError, MismatchError, TrainingDiverged, UsageError
from engine.records import sole_writer
from engine.reproduction import label_sets, run

TINY: dict[str, Any] = {
    "expert": {"epochs": 1, "seeds": [0]},
    "label_epochs": [0, 1],
    "expert_epoch": {1: 1},
    "seeds": [0],
    "student": {"steps": 2, "model": "convnet-d2-w8", "evaluations": 1},
    "experiments": {"both": {"ipc": [1], "labels": ["soft", "hard"]}},
    "learned": {
        "initial": ["hard", "uniform"],
        "seeds": [0],
        "settings": {
            "steps": 1,
            "inner.horizon": 2,
            "inner.window": 1,
            "outer.batch_size": 8,
            "held_out.every": 0,
        },
    },
    "derived": {"entropies": [0.8], "seeds": [0]},
}


def scale_of(folder: Path, **changes: Any) -> Path:
    file = folder / "scale.yaml"
    file.write_text(yaml.safe_dump({**TINY, **changes}))
    return file


def files_of(folder: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def finished(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reproduction at a tiny scale, which no test changes."""
    folder = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_EAGER", "1")
        engine.reproduce(small_data, folder / "out", scale=scale_of(folder), workers=1)
    return folder / "out"


@pytest.fixture
def no_expert(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test once an expert's training would begin."""

    def begun(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("an expert was trained")

    monkeypatch.setattr(run, "train_expert", begun)


@pytest.mark.usefixtures("no_expert")
@pytest.mark.parametrize(
    ("changes", "error", "complaint"),
    [
        (
            {"student": {"steps": 2, "lr": "fast"}},
            ConfigurationError,
            r"grids\[0\] of this scale's plan does not fit: .*student\.lr",
        ),
        ({"student": {"steps": 2, "model": "convnet-x"}}, UsageError, "convnet-x"),
        (
            {"learned": {"settings": {"inner.horizn": 3}}},
            ConfigurationError,
            "unknown key inner.horizn; did you mean horizon",
        ),
        ({"experiments": {"a": {"ipc": [99]}}}, UsageError, "no experiment of this scale fits"),
    ],
)
def test_what_a_later_stage_would_refuse_is_refused_before_an_expert_is_trained(
    small_data: Path, tmp_path: Path, changes: dict[str, Any], error: type, complaint: str
) -> None:
    file = scale_of(tmp_path, **changes)
    for dry_run in (False, True):
        with pytest.raises(error, match=complaint):
            engine.reproduce(small_data, tmp_path / "out", scale=file, dry_run=dry_run)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_expert")
def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(
    small_data: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_bytes(b"a cat")
    with pytest.raises(UsageError, match=r"at .*photos, found other files.*another --out"):
        engine.reproduce(small_data, photos, scale=scale_of(tmp_path))
    assert [file.name for file in photos.iterdir()] == ["cat.jpg"]


def test_what_another_command_writes_inside_it_is_left_alone(
    small_data: Path, tmp_path: Path
) -> None:
    """An expert that is trained by hand has begun there, and has a manifest half written."""
    run = tmp_path / "out" / "experts" / "seed-0"
    with sole_writer(run):
        (run / ".manifest.json.x1.partial").write_text("{")
        with pytest.raises(UsageError, match=r"another process is writing .*seed-0"):
            engine.reproduce(small_data, tmp_path / "out", scale=scale_of(tmp_path), workers=1)
        assert (run / ".manifest.json.x1.partial").read_text() == "{"


@pytest.mark.usefixtures("no_expert")
def test_another_dataset_is_refused_with_both_ids(
    finished: Path, small_data: Path, tmp_path: Path
) -> None:
    for name in ("ant", "bee", "cat"):
        (tmp_path / "source" / name).mkdir(parents=True)
        for number in range(12):
            image = Image.new("RGB", (16, 16), (number, 9 * len(name), 0))
            image.save(tmp_path / "source" / name / f"{number}.png")
    beton_builder.build_beton(tmp_path / "source", tmp_path / "data", workers=1)
    before = files_of(finished)
    ids = [beton_builder.open_dataset(each).id for each in (small_data, tmp_path / "data")]
    with pytest.raises(MismatchError, match=f"{ids[0]}.*{ids[1]}.*choose another --out"):
        engine.reproduce(tmp_path / "data", finished, scale=scale_of(tmp_path))
    assert files_of(finished) == before


@pytest.mark.usefixtures("no_expert")
@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"student": {"steps": 2, "model": "convnet-d2-w16", "evaluations": 1}},
            r"experts/seed-0 is expert run .* \(model: convnet-d2-w8 → convnet-d2-w16\)",
        ),
        (
            {"expert": {**TINY["expert"], "recipe": "expert-cifar10"}},
            r"experts/seed-0 is expert run .* \(lr: 0\.01 → 0\.0005\); choose another --out",
        ),
        (
            {"learned": {**TINY["learned"], "settings": {"inner.horizon": 3, "inner.window": 1}}},
            r"learned/ipc-1-hard are learned labels .*inner\.horizon: 2 → 3",
        ),
        (
            {"student": {"steps": 3, "model": "convnet-d2-w8", "evaluations": 1}},
            r"learned/ipc-1-hard-students are other students \(epochs: 2 → 3\)",
        ),
    ],
)
def test_a_scale_that_cannot_extend_what_is_there_is_refused_before_it_begins(
    finished: Path, small_data: Path, tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    before = files_of(finished)
    with pytest.raises(MismatchError, match=complaint):
        engine.reproduce(small_data, finished, scale=scale_of(tmp_path, **changes))
    assert files_of(finished) == before


@pytest.mark.usefixtures("no_expert")
def test_files_of_the_user_in_its_report_are_noticed_before_it_begins(
    finished: Path, small_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    (out / "report" / "thoughts.md").write_text("mine")
    with pytest.raises(UsageError, match=r"thoughts\.md"):
        engine.reproduce(small_data, out, scale=scale_of(tmp_path))
    assert (out / "report" / "thoughts.md").read_text() == "mine"


def test_it_goes_on_after_a_stop_at_any_stage(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Path
) -> None:
    out, scale = tmp_path / "out", scale_of(tmp_path)

    def stop(*_arguments: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    stages = [
        *((run, name) for name in ("train_expert", "dump_labels", "sweep_students")),
        *((label_sets, name) for name in ("learn_labels", "compare_with_expert")),
        *((label_sets, name) for name in ("derive_labels", "export_distilled")),
        (label_sets, "evaluate_distilled"),
        (run, "write_report"),
    ]
    for module, name in stages:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, stop)
            with pytest.raises(KeyboardInterrupt):
                engine.reproduce(small_data, out, scale=scale, workers=1)
    assert engine.reproduce(small_data, out, scale=scale, workers=1)["failed"] == 0
    trials = [
        sorted(file.name for file in folder.glob("students/trials/*/*.json"))
        for folder in (out, finished)
    ]
    assert trials[0] == trials[1]
    assert engine.verify_report(out / "report")["ok"]


def test_labels_whose_learning_diverges_do_not_cost_the_report(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_arguments: Any, **_options: Any) -> None:
        raise TrainingDiverged("outer step 3: loss nan; lower inner.lr")

    monkeypatch.setattr(label_sets, "learn_labels", diverge)
    result = engine.reproduce(small_data, tmp_path / "out", scale=scale_of(tmp_path), workers=1)
    assert result["failed"] == 2
    assert all("outer step 3" in problem for problem in result["problems"])
    assert Path(result["report"]).is_file()


def test_every_label_set_has_its_own_name_in_the_report(finished: Path) -> None:
    table = (finished / "report" / "tables" / "evaluated.csv").read_text()
    for name in ("learned-from-hard", "learned-from-uniform", "pixels-0.88-nats"):
        assert table.count(name) == 1


def test_labels_from_pixels_are_no_expert_of_the_sweep(finished: Path) -> None:
    head = json.loads((finished / "students" / "sweep.json").read_text())
    assert [each["name"].split("-seed")[0] for each in head["experts"]] == ["convnet-d2-w8"]


def test_a_dry_run_counts_what_is_done(finished: Path, small_data: Path, tmp_path: Path) -> None:
    before = files_of(finished)
    plan = engine.reproduce(small_data, finished, scale=scale_of(tmp_path), dry_run=True)
    assert (plan["students"], plan["students_done"]) == (2, 2)
    assert plan["expert_epochs_done"] == [1]
    assert plan["students_take"] == []
    assert plan["learned_labels"] == ["IPC 1 from hard", "IPC 1 from uniform"]
    assert plan["derived_labels"] == ["IPC 1, 0.88 nats"]
    assert files_of(finished) == before
