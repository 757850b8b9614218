"""Students of a distilled set: the sweep's protocol, and nothing guessed in silence."""

from __future__ import annotations

import gc
import json
import weakref

import numpy as np
import pytest
import torch
from distilled_cases import QUICK, evaluate, make_pixels, normalised

import beton_builder
import engine
from cli.main import main
from engine.distilled import evaluate as evaluating
from engine.distilled import open_distilled, student_of_set
from engine.distilled.evaluation import read_evaluation
from engine.errors import ConfigurationError, UsageError
from engine.training import StudentTrainer
from engine.training.step import Network


def test_three_accuracies_with_their_spread(small_data, hard_set, tmp_path, dataset) -> None:
    result = evaluate(small_data, hard_set, tmp_path / "out", seeds=[0, 1, 2])
    assert (result["status"], result["students"], result["failed"]) == ("evaluated", 3, 0)
    assert f"{len(dataset.validation_indices)} validation images, real images" in result["message"]
    records = [json.loads((tmp_path / "out/students" / f"{s}.json").read_text()) for s in range(3)]
    assert [row["measure"] for row in result["table"]] == ["final", "selected", "max on test"]
    for row, measure in zip(result["table"], ("final", "selected", "max_on_test"), strict=True):
        values = [record["result"][measure]["test"] for record in records]
        assert row["test"] == pytest.approx(np.mean(values))
        assert row["std"] == pytest.approx(np.std(values))
        half = 4.302652729749464 * np.std(values, ddof=1) / np.sqrt(3)  # Student's t, 2 degrees
        assert row["ci_high"] - row["test"] == pytest.approx(half)
    found = read_evaluation(tmp_path / "out")
    assert (found.name, found.ipc, found.labels, found.seeds) == ("real", 3, "hard", (0, 1, 2))
    assert found.dataset_id == dataset.id
    assert found.accuracies["final"] == tuple(r["result"]["final"]["test"] for r in records)
    assert found.missing == 0
    assert engine.verify_evaluation(tmp_path / "out")["ok"]
    assert engine.evaluation_info(tmp_path / "out")["students_done"] == 3


def test_hard_labels_are_the_sweeps_hard_students(small_data, tmp_path, dataset) -> None:
    """The same real images from a foreign file, trained on as the sweep trains on them."""
    engine.sweep_students(
        small_data, None, tmp_path / "sweep", ipc=[2], seeds=[5], workers=1,
        overrides={**QUICK, "labels": ["hard"], "student.augmentation": "none"},
    )  # fmt: skip
    (path,) = (tmp_path / "sweep").rglob("trials/*/*.json")
    expected = json.loads(path.read_text())
    ids = engine.explain_trial(tmp_path / "sweep", expected["id"], data=small_data)
    ids = np.array(ids["subset"]["sample_ids"])
    split = dataset.split("train")
    images = np.stack([split.image(int(i)) for i in ids])
    np.savez(tmp_path / "set.npz", images=images, labels=np.asarray(split.labels)[ids])
    overrides = {**QUICK, "student.augmentation": "none"}
    evaluate(small_data, tmp_path / "set.npz", tmp_path / "out", seeds=[5], overrides=overrides)
    record = json.loads((tmp_path / "out/students/5.json").read_text())
    assert record["result"] == expected["result"]
    assert record["student"] == expected["student"]


def test_normalised_images_reach_the_network_untouched(small_data, tmp_path, dataset, monkeypatch):
    pixels = make_pixels()
    images = normalised(pixels.images_nhwc, dataset.mean, dataset.std) * 1.7
    torch.save((torch.from_numpy(images), torch.from_numpy(pixels.classes_n)), tmp_path / "a.pt")
    seen = []

    def watch(self, images_bchw, **options):
        if torch.is_grad_enabled():
            seen.append(images_bchw.clone())
        return logits(self, images_bchw, **options)

    logits = Network.logits
    monkeypatch.setattr(Network, "logits", watch)
    overrides = {**QUICK, "student.epochs": 1, "student.augmentation": "none"}
    evaluate(small_data, tmp_path / "a.pt", tmp_path / "out", seeds=[0], overrides=overrides)
    (batch,) = seen
    assert {image.tobytes() for image in batch.contiguous().numpy()} == {
        image.tobytes() for image in images
    }


@pytest.mark.parametrize("scale", ["unit", "normalised"])
def test_floats_of_real_images_train_as_their_bytes_do(
    small_data, tmp_path, dataset, scale
) -> None:
    """Up to rounding: what is normalised is only normalised elsewhere."""
    pixels = make_pixels(per_class=3)
    images = {
        "bytes": pixels.images_nhwc,
        "unit": (pixels.images_nhwc / 255).astype(np.float32),
        "normalised": normalised(pixels.images_nhwc, dataset.mean, dataset.std),
    }
    losses = {}
    for name in ("bytes", scale):
        np.savez(tmp_path / f"{name}.npz", images=images[name], labels=pixels.soft_nk)
        evaluate(small_data, tmp_path / f"{name}.npz", tmp_path / name, seeds=[0])
        record = json.loads((tmp_path / name / "students/0.json").read_text())
        losses[name] = record["result"]["train_loss"]
    assert losses[scale] == pytest.approx(losses["bytes"], rel=1e-3)
    assert read_evaluation(tmp_path / scale).findings[0]["taken_as"] == scale


def test_cutmix_mixes_floats_as_it_mixes_bytes(small_data, tmp_path) -> None:
    pixels = make_pixels(per_class=3)
    overrides = {**QUICK, "student.augmentation": "cutmix"}
    losses = []
    for name, images in (("bytes", pixels.images_nhwc), ("unit", pixels.images_nhwc / 255)):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=pixels.soft_nk)
        options = {"seeds": [0], "overrides": overrides}
        evaluate(small_data, tmp_path / f"{name}.npz", tmp_path / name, **options)
        record = json.loads((tmp_path / name / "students/0.json").read_text())
        losses.append(record["result"]["train_loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_unit_floats_are_whitened_where_the_dataset_is(small_data, tmp_path) -> None:
    beton_builder.build_beton(
        small_data.parent / "source", tmp_path / "data", normalisation="zca", workers=1
    )
    pixels = make_pixels(per_class=3)
    losses = []
    for name, images in (("bytes", pixels.images_nhwc), ("unit", pixels.images_nhwc / 255)):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=pixels.soft_nk)
        evaluate(tmp_path / "data", tmp_path / f"{name}.npz", tmp_path / name, seeds=[0])
        record = json.loads((tmp_path / name / "students/0.json").read_text())
        assert "whitening" in record["parents"]["normalisation"]
        losses.append(record["result"]["train_loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert read_evaluation(tmp_path / "unit").images == "unit"


def test_a_guess_is_in_the_result_and_in_the_record(small_data, tmp_path) -> None:
    pixels = make_pixels()
    images = (pixels.images_nhwc / 255).astype(np.float32)
    np.savez(tmp_path / "set.npz", images=images, labels=pixels.classes_n)
    plan = evaluate(
        small_data, tmp_path / "set.npz", tmp_path / "out", dry_run=True, estimate=False
    )
    result = evaluate(small_data, tmp_path / "set.npz", tmp_path / "out", seeds=[0])
    (finding,) = result["taken_as"]
    assert (finding["about"], finding["taken_as"]) == ("images", "unit")
    assert "from 0 to 1" in finding["because"]
    assert plan["taken_as"] == result["taken_as"]
    head = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert head["distilled"]["findings"] == [finding]


def test_options_that_mean_nothing_here_are_refused(small_data, hard_set, tmp_path) -> None:
    for key in ("labels", "ipc", "temperature"):
        with pytest.raises(UsageError, match="its own images and labels"):
            evaluate(small_data, hard_set, tmp_path / "out", overrides={key: "[1]"})
    with pytest.raises(ConfigurationError, match="did you mean epochs"):
        evaluate(small_data, hard_set, tmp_path / "out", overrides={"student.epoch": 3})
    overrides = {**QUICK, "student.lr": [0.1, 0.01]}
    with pytest.raises(UsageError, match="2 kinds of students"):
        evaluate(small_data, hard_set, tmp_path / "out", overrides=overrides)
    assert not any(tmp_path.iterdir())


def test_the_plans_learning_rate_of_that_many_images_is_taken(small_data, hard_set, tmp_path):
    """As for Table 7 of the paper, `by_ipc` of a plan speaks for sets of that size."""
    (tmp_path / "plan.yaml").write_text(
        "seeds: [7]\nstudent: {model: convnet-d2-w8, epochs: 4, lr: 0.01, precision: fp32}\n"
        "by_ipc: {3: {lr: 0.05}, 1: {lr: 0.5}}\n"
    )
    plan = engine.evaluate_distilled(
        small_data, hard_set, tmp_path / "out", config=tmp_path / "plan.yaml", dry_run=True,
        estimate=False,
    )  # fmt: skip
    assert plan["student"]["lr"] == 0.05
    assert plan["students"] == 1


def test_the_papers_students_are_the_default(small_data, hard_set, tmp_path) -> None:
    plan = engine.evaluate_distilled(
        small_data, hard_set, tmp_path / "out", dry_run=True, estimate=False
    )
    assert (plan["students"], plan["student"]["epochs"], plan["student"]["lr"]) == (5, 3000, 0.01)
    assert plan["training_images"] == 5 * 3000 * 9
    assert not any(tmp_path.iterdir())


def test_unbalanced_sets_are_evaluated_too(small_data, tmp_path) -> None:
    pixels = make_pixels(per_class=3)
    np.savez(tmp_path / "set.npz", images=pixels.images_nhwc[:7], labels=pixels.classes_n[:7])
    evaluate(small_data, tmp_path / "set.npz", tmp_path / "out", seeds=[0])
    found = read_evaluation(tmp_path / "out")
    assert found.ipc == pytest.approx(7 / 3)
    assert found.num_images == 7


def test_without_a_place_the_evaluation_lies_beside_the_set(small_data, tmp_path, capsys) -> None:
    pixels = make_pixels()
    np.savez(tmp_path / "dm.npz", images=pixels.images_nhwc, labels=pixels.classes_n)
    command = ["evaluate", "--data", str(small_data), "--distilled", str(tmp_path / "dm.npz")]
    command += ["--seeds", "0", "--workers", "1", "--json"]
    settings = [f"--set={key}={value}" for key, value in QUICK.items()]
    assert main([*command, *settings]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["evaluation"] == str(tmp_path / "dm.npz-evaluation")
    assert read_evaluation(tmp_path / "dm.npz-evaluation").seeds == (0,)


def test_images_lie_in_memory_once(small_data, hard_set, tmp_path, dataset, monkeypatch) -> None:
    """Not in the parent while its workers train, nor beside what a worker made of them."""
    opened = []

    def watch(*arguments, **options):
        found = open_distilled(*arguments, **options)
        opened.append(weakref.ref(found))
        return found

    alive = []

    def train(runner, subset, *arguments, **options):
        gc.collect()
        alive.extend(each() for each in opened)
        return taught(runner, subset, *arguments, **options)

    taught = StudentTrainer.train
    monkeypatch.setattr(StudentTrainer, "train", train)
    for room in (evaluating, student_of_set):
        monkeypatch.setattr(room, "open_distilled", watch)
    evaluate(small_data, hard_set, tmp_path / "out", seeds=[0])
    assert alive == [None, None]


def test_workers_of_their_own_give_the_same_results(small_data, hard_set, tmp_path) -> None:
    """Two processes, of one thread each like the one here."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        evaluate(small_data, hard_set, tmp_path / "here")
    finally:
        torch.set_num_threads(threads)
    evaluate(small_data, hard_set, tmp_path / "there", workers=2, threads=1)
    here, there = (
        [
            json.loads((tmp_path / place / f"students/{seed}.json").read_text())["result"]
            for seed in (0, 1)
        ]
        for place in ("here", "there")
    )
    assert here == there
