"""`import_labels`: labels made elsewhere become an epoch that students can train on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import beton_builder
import engine
import labelstore
from cli.main import main
from engine.sweep.halving.plan import plan_halving
from engine.sweep.head import sweep_head
from engine.sweep.planning.grid import load_grids
from engine.sweep.planning.plan import plan_trials


@pytest.fixture(scope="module")
def logits(small_data: Path) -> np.ndarray:
    num_samples = beton_builder.open_dataset(small_data).split("train").num_samples
    return np.random.default_rng(0).normal(0, 3, (num_samples, 3)).astype(np.float32)


def test_labels_belong_to_the_dataset_and_its_true_classes(
    small_data: Path, logits: np.ndarray, tmp_path: Path
) -> None:
    np.savez(tmp_path / "labels.npz", logits=logits)
    out = tmp_path / "labels.zarr"
    result = engine.import_labels(
        small_data, tmp_path / "labels.npz", out, expert="resnet", epoch=2, codec="dense"
    )
    dataset = beton_builder.open_dataset(small_data)
    view = labelstore.open_store(out, dataset_id=dataset.id, classes=dataset.classes).view()
    assert (view.expert, view.name, view.epochs) == ("resnet", "plain", (2,))
    assert np.array_equal(view.read(2, range(len(logits))), logits.astype(np.float16))
    with dataset.split("train") as train:
        weights = np.exp(logits.astype(np.float64))
        own = weights[np.arange(len(logits)), train.labels] / weights.sum(axis=1)
    np.testing.assert_allclose(view.cross_entropy(2), -np.log(own), rtol=1e-5, atol=1e-6)
    assert result["status"] == "imported"
    assert result["mean_cross_entropy"] == pytest.approx(-np.log(own).mean(), rel=1e-4)


def test_the_command_plans_imports_and_says_when_it_has(
    small_data: Path, logits: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "labels.npz", teacher=logits[::-1], place=np.arange(len(logits))[::-1])
    line = [
        *("import-labels", "--data", small_data, "--source", tmp_path / "labels.npz"),
        *("--out", tmp_path / "labels.zarr", "--expert", "resnet", "--epoch", 4, "--values"),
        *("logits", "--column", "teacher", "--index-column", "place", "--json"),
    ]

    def run(*more: str) -> dict:
        assert main([*map(str, line), *more]) == 0
        return json.loads(capsys.readouterr().out)

    assert run("--dry-run")["epochs_missing"] == [4]
    assert not (tmp_path / "labels.zarr").exists()
    assert run()["source"]["values"] == "logits"
    view = labelstore.open_store(tmp_path / "labels.zarr").view()
    assert np.array_equal(view.read(4, [7, 0]), logits[[7, 0]].astype(np.float16))
    assert run()["status"] == "finished already"
    assert run("--dry-run")["epochs_missing"] == []


def test_labels_of_another_dataset_are_a_usage_error_that_says_so(
    small_data: Path, logits: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "labels.npz", logits=logits[1:])
    line = ["import-labels", "--data", small_data, "--source", tmp_path / "labels.npz"]
    line += ["--out", tmp_path / "labels.zarr", "--expert", "resnet"]
    assert main([str(each) for each in line]) == 2
    assert f"each of the {len(logits)} samples" in capsys.readouterr().err
    assert not (tmp_path / "labels.zarr").exists()


def test_a_sweep_tells_two_teachers_of_one_store_apart(
    small_data: Path, logits: np.ndarray, tmp_path: Path
) -> None:
    """Halving chooses each teacher's epoch by its own students, and the head names both."""
    out = tmp_path / "labels.zarr"
    for expert, scale in (("resnet", 1), ("vit", 2)):
        for epoch in (1, 2):
            np.savez(tmp_path / "labels.npz", logits=logits * scale * epoch)
            engine.import_labels(
                small_data, tmp_path / "labels.npz", out, expert=expert, epoch=epoch
            )
    dataset, store = beton_builder.open_dataset(small_data), labelstore.open_store(out)
    axes = {"ipc": [1], "expert": ["resnet", "vit"], "expert_epochs": [1, 2], "seeds": [0]}
    grids = load_grids(None, {**axes, "labels": ["soft"], "student.epochs": 90})
    trials = plan_trials(grids, dataset, store)
    taught = {
        q.candidates[0].trials[0].cell["expert"]: len(q.candidates)
        for q in plan_halving(trials, num_validation=9).questions
    }
    assert taught == {"resnet": 2, "vit": 2}
    head = sweep_head({}, grids, dataset, store)
    assert [expert["name"] for expert in head["experts"]] == ["resnet", "vit"]
